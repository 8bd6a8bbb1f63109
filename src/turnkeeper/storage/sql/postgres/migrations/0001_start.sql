-- Texts that are sorted compare by code point: the order must not depend on the database's locale.
create table assistants (
  assistant_id text collate "C" primary key,
  graph_id text collate "C" not null,
  name text collate "C" not null,
  description text,
  config text not null,
  context text not null,
  metadata text not null,
  version integer not null,
  created_at text collate "C" not null,
  updated_at text collate "C" not null
);

create table assistant_versions (
  assistant_id text collate "C" not null references assistants on delete cascade,
  version integer not null,
  graph_id text collate "C" not null,
  name text collate "C" not null,
  description text,
  config text not null,
  context text not null,
  metadata text not null,
  created_at text collate "C" not null,
  primary key (assistant_id, version)
);

-- `ready_at`: when the thread's next run may start; null while one runs or none waits. It stands in the row that every
-- move locks, so that whoever locks a thread to claim from it sees whether it still is ready.
create table threads (
  thread_id text collate "C" primary key,
  metadata text not null default '{}',
  config text not null default '{}',
  state_values text,
  interrupts text not null default '{}',
  error text,
  rest text collate "C" not null default 'idle' check (rest in ('idle', 'interrupted', 'error')),
  last_run text,
  last_status text,
  temporary boolean not null default false,
  ttl text,
  ready_at double precision,
  created_at text collate "C" not null,
  updated_at text collate "C" not null,
  state_updated_at text collate "C" not null
);

create index threads_updated on threads (updated_at);

create index threads_ready on threads (ready_at, thread_id) where ready_at is not null;

create table runs (
  seq bigint generated always as identity primary key,
  run_id text collate "C" not null unique,
  thread_id text collate "C" not null references threads on delete cascade,
  assistant_id text not null,
  graph_id text not null,
  status text not null check (status in ('pending', 'running', 'success', 'error', 'timeout', 'interrupted')),
  attempt integer not null default 0,
  multitask_strategy text not null check (multitask_strategy in ('reject', 'enqueue', 'interrupt', 'rollback')),
  metadata text not null,
  kwargs text not null,
  due_at double precision not null,
  cancel_action text check (cancel_action in ('interrupt', 'rollback')),
  cancel_reason text,
  carry boolean not null default false,
  checkpoint_id text collate "C",
  error text,
  worker_id text,
  lease_until double precision,
  created_at text collate "C" not null,
  updated_at text collate "C" not null
);

create unique index runs_one_running on runs (thread_id) where status = 'running';

create index runs_waiting on runs (thread_id, due_at) where status = 'pending';

create index runs_active on runs (thread_id, seq) where status in ('pending', 'running');

create index runs_of_thread on runs (thread_id, seq);

create index runs_of_worker on runs (worker_id) where status = 'running';

create index runs_carried on runs (thread_id, seq) where carry;

create table idempotency_keys (
  scope text not null,
  key text not null,
  fingerprint text not null,
  run_id text not null,
  created_at text collate "C" not null,
  primary key (scope, key)
);

create index idempotency_keys_made on idempotency_keys (created_at);

create table journal (
  seq bigint generated always as identity primary key,
  thread_id text collate "C" not null,
  run_id text not null,
  event text not null check (event in ('created', 'started', 'superseded_by', 'cancel_requested', 'released', 'ended', 'tombstone')),
  attempt integer not null,
  detail text,
  at text collate "C" not null
);

create index journal_of_thread on journal (thread_id, seq);

-- A JSON text as something to look into. The one character a PostgreSQL text cannot hold is left out.
create function json_document(document text) returns jsonb language sql immutable parallel safe
return cast(
  case
    when strpos(document, '\u0000') = 0 then document
    else regexp_replace(document, '(?<!\\)((?:\\\\)*)\\u0000', '\1', 'g')
  end as jsonb
);

-- Whether a JSON document holds all of a filter: objects by subset at any depth, everything else by equality. The filter
-- comes as the list of its nodes: the path of each, and its value unless it is an object.
create function json_contains(document text, nodes text) returns boolean language sql immutable parallel safe
return document is not null and not exists (
  select
  from
    (select json_document(document) as root offset 0) as parsed,
    jsonb_array_elements(cast(nodes as jsonb)) as node,
    lateral (select root #> array(select jsonb_array_elements_text(node -> 'path')) as found offset 0) as there
  where
    case when node ? 'value' then found = node -> 'value' else jsonb_typeof(found) = 'object' end is not true
);
