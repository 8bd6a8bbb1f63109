create table checkpoints (
  seq integer primary key,
  thread_id text not null,
  checkpoint_ns text not null,
  checkpoint_id text not null,
  parent_checkpoint_id text,
  run_id text,
  versions text not null,
  inline text not null,
  type text not null,
  body blob not null,
  metadata text not null
);

create unique index checkpoints_of_thread on checkpoints (thread_id, checkpoint_ns, checkpoint_id);

create index checkpoints_of_run on checkpoints (run_id) where run_id is not null;

create table checkpoint_channels (
  thread_id text not null,
  checkpoint_ns text not null,
  channel text not null,
  version not null,
  born integer,
  type text not null,
  value blob not null,
  high integer check ((type = 'list') = (high is not null)),
  primary key (thread_id, checkpoint_ns, channel, version)
);

create table checkpoint_elements (
  thread_id text not null,
  checkpoint_ns text not null,
  channel text not null,
  seq integer not null,
  value blob not null,
  primary key (thread_id, checkpoint_ns, channel, seq)
) without rowid;

create table checkpoint_writes (
  seq integer primary key,
  thread_id text not null,
  checkpoint_ns text not null,
  checkpoint_id text not null,
  task_id text not null,
  idx integer not null,
  run_id text not null,
  task_path text not null,
  channel text not null,
  type text not null,
  value blob not null,
  unique (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id)
);

create index checkpoint_writes_of_run on checkpoint_writes (run_id) where run_id <> '';
