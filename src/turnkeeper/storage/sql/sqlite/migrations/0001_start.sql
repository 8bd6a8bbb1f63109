create table assistants (
  assistant_id text primary key,
  graph_id text not null,
  name text not null,
  description text,
  config text not null,
  context text not null,
  metadata text not null,
  version integer not null,
  created_at text not null,
  updated_at text not null
);

create table assistant_versions (
  assistant_id text not null references assistants on delete cascade,
  version integer not null,
  graph_id text not null,
  name text not null,
  description text,
  config text not null,
  context text not null,
  metadata text not null,
  created_at text not null,
  primary key (assistant_id, version)
) without rowid;

create table threads (
  thread_id text primary key,
  metadata text not null default '{}',
  config text not null default '{}',
  state_values text,
  interrupts text not null default '{}',
  error text,
  rest text not null default 'idle' check (rest in ('idle', 'interrupted', 'error')),
  last_run text,
  temporary integer not null default 0,
  ttl text,
  created_at text not null,
  updated_at text not null,
  state_updated_at text not null
);

create index threads_updated on threads (updated_at);

create table runs (
  seq integer primary key autoincrement,
  run_id text not null unique,
  thread_id text not null references threads on delete cascade,
  assistant_id text not null,
  graph_id text not null,
  status text not null check (status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
  attempt integer not null default 0,
  multitask_strategy text not null check (multitask_strategy in ('reject', 'enqueue', 'interrupt', 'rollback')),
  metadata text not null,
  kwargs text not null,
  due_at real not null,
  cancel_action text check (cancel_action in ('interrupt', 'rollback')),
  cancel_reason text,
  carry integer not null default 0 check (carry in (0, 1)),
  checkpoint_id text,
  error text,
  created_at text not null,
  updated_at text not null
);

create unique index runs_one_running on runs (thread_id) where status = 'running';

create index runs_waiting on runs (thread_id, due_at) where status = 'pending';

create index runs_active on runs (thread_id, seq) where status in ('pending', 'running');

create index runs_of_thread on runs (thread_id, seq);

create index runs_carried on runs (thread_id, seq) where carry = 1;

create table idempotency_keys (
  scope text not null,
  key text not null,
  fingerprint text not null,
  run_id text not null,
  created_at text not null,
  primary key (scope, key)
) without rowid;

-- Threads whose next run may start, and from when on. Kept by triggers, so that no move can forget it; with it a claim
-- need not look through the queues behind running runs.
create table ready (
  thread_id text primary key,
  due_at real not null
) without rowid;

create index ready_due on ready (due_at);

create trigger runs_queued after insert on runs when new.status = 'pending' begin
  insert into ready
  select new.thread_id, new.due_at
  where not exists (select 1 from runs where thread_id = new.thread_id and status = 'running')
  on conflict (thread_id) do update set due_at = min(due_at, excluded.due_at);
end;

create trigger runs_started after insert on runs when new.status = 'running' begin
  delete from ready where thread_id = new.thread_id;
end;

create trigger runs_claimed after update of status on runs when new.status = 'running' begin
  delete from ready where thread_id = new.thread_id;
end;

-- `due_at` is named so that the index of waiting runs is used: the ended ones may be thousands.
create trigger runs_ended after update of status on runs
when new.status <> 'running' and (
  old.status = 'pending'
  or exists (select 1 from runs where thread_id = new.thread_id and status = 'pending' and due_at > -1e300)
)
begin
  delete from ready where thread_id = new.thread_id;
  insert into ready
  select thread_id, due_at from runs
  where status = 'pending' and thread_id = (
    select new.thread_id where not exists (select 1 from runs where thread_id = new.thread_id and status = 'running')
  )
  order by due_at
  limit 1;
end;

create trigger runs_deleted after delete on runs when old.status in ('pending', 'running') begin
  delete from ready where thread_id = old.thread_id;
  insert into ready
  select thread_id, due_at from runs
  where status = 'pending' and thread_id = (
    select old.thread_id where not exists (select 1 from runs where thread_id = old.thread_id and status = 'running')
  )
  order by due_at
  limit 1;
end;

create table journal (
  seq integer primary key,
  thread_id text not null,
  run_id text not null,
  event text not null check (event in ('created', 'started', 'superseded_by', 'cancel_requested', 'released', 'ended', 'tombstone')),
  attempt integer not null,
  detail text,
  at text not null
);

create index journal_of_thread on journal (thread_id, seq);
