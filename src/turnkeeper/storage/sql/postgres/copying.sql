-- Differs: a database is copied into, never from. What stands in braces is put in by name.

-- name: be_patient
-- The transaction may take hours, but not outlive a client that is gone without a word (seconds).
select
  set_config('statement_timeout', '0', true), set_config('idle_in_transaction_session_timeout', '0', true),
  set_config('tcp_keepalives_idle', '30', true), set_config('tcp_keepalives_interval', '10', true),
  set_config('tcp_keepalives_count', '3', true);

-- name: columns
-- The columns of a table, the type of each, and whether it counts by itself.
select attname, typname, attidentity <> ''
from pg_attribute join pg_type on pg_type.oid = atttypid
where attrelid = to_regclass(:table) and attnum > 0 and not attisdropped
order by attnum;

-- name: lock_tables
-- Nobody else looks at these tables until the transaction ends.
lock table {tables} in access exclusive mode;

-- name: has_rows
-- Whether a table has any row.
select exists (select from {table});

-- name: has_assistants
-- Whether there are assistants but those a server makes when it starts.
select exists (
  select from assistants where version > 1 or json_document(metadata) <> jsonb_build_object('created_by', 'system')
);

-- name: clear_tables
-- Let tables start anew, without what a copy that was broken off has left in their files.
truncate {tables};

-- name: stop_triggers
-- Rows come in as they are, with what triggers have made of them where they come from.
alter table {table} disable trigger user;

-- name: start_triggers
-- Rows are looked after again.
alter table {table} enable trigger user;

-- name: copy_in
-- Take in rows. They need not be looked at a second time to see that they count.
copy {table} ({columns}) from stdin with (format binary, freeze);

-- name: count_rows
-- How many rows a table has.
select count(*) from {table};

-- name: count_on
-- A column that counts by itself goes on after the highest number.
select setval(pg_get_serial_sequence(:table, :column), max({column})) from {table};

-- name: analyze_tables
-- Let the database know what there is, as it plans by that.
analyze {tables};

-- name: make_copies
-- Where it stands of which files the database is a copy.
create table if not exists turnkeeper_copies (
  fingerprint text primary key,
  copied_at timestamptz not null default now()
);

-- name: find_copy
-- When a file was copied, as it is now.
select copied_at from turnkeeper_copies where fingerprint = :fingerprint;

-- name: note_copy
-- A file was copied.
insert into turnkeeper_copies (fingerprint) values (:fingerprint);
