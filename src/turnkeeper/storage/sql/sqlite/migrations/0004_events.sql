create table events (
  seq integer primary key,
  thread_id text not null,
  run_id text not null,
  event text not null,
  data blob not null,
  namespace text not null default '',
  node text,
  protocol integer not null default 0 check (protocol in (0, 1))
);

create index events_of_thread on events (thread_id, protocol, seq);

create index events_of_run on events (run_id, protocol, seq);
