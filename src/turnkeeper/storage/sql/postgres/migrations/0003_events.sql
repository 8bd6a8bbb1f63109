create table events (
  seq bigint primary key,
  thread_id text collate "C" not null,
  run_id text collate "C" not null,
  event text not null,
  data bytea not null,
  namespace text not null default '',
  node text,
  protocol boolean not null default false
);

create index events_of_thread on events (thread_id, protocol, seq);

create index events_of_run on events (run_id, protocol, seq);
