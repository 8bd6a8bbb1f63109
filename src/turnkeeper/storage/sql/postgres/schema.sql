-- name: take_turn
-- Whose turn it is to migrate; the lock goes with the connection. Asked again and again instead of waited for: an index that
-- is built concurrently waits for every statement under way.
select pg_try_advisory_lock(:lock);

-- name: give_turn
-- The next server may migrate.
select pg_advisory_unlock(:lock);

-- name: make_schema
-- Where the versions stand that were applied, each with the oldest one whose servers can go on with it.
create table if not exists turnkeeper_schema (
  version integer primary key,
  oldest integer not null,
  applied_at timestamptz not null default now()
);

-- name: schema_version
-- The newest version that was applied, and the oldest one whose servers can go on with it.
select coalesce(max(version), 0), coalesce(max(oldest), 0) from turnkeeper_schema;

-- name: applied
-- A version was applied.
insert into turnkeeper_schema (version, oldest) values (:version, :oldest);

-- name: limit_lock
-- How long (milliseconds) a change of a table waits for its turn: whoever comes after it waits, too.
select set_config('lock_timeout', :longest, false);

-- name: limit_waiting
-- How long (milliseconds) this connection waits for a lock, and others for a transaction in which nothing happens: a server
-- may be paused in the middle of one, and must not hold up the others.
select set_config('lock_timeout', :longest, false), set_config('idle_in_transaction_session_timeout', :longest, false);

-- name: time
-- The time, in seconds since the epoch.
select cast(extract(epoch from clock_timestamp()) as double precision);
