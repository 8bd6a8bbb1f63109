-- Differs: a file is copied from, never into. What stands in braces is put in by name.

-- name: tables
-- The tables of the file.
select name from sqlite_schema where type = 'table' and name not like 'sqlite\_%' escape '\' order by name;

-- name: columns
-- The columns of a table.
select name from pragma_table_info(:table) order by cid;

-- name: count_rows
-- How many rows a table has.
select count(*) from {table};

-- name: all_rows
-- The rows of a table as they were written.
select * from {table};

-- name: all_checkpoints
-- `all_rows` of the checkpoints, those of each namespace together.
select * from checkpoints indexed by checkpoints_of_thread order by thread_id, checkpoint_ns, checkpoint_id;

-- name: heads
-- Begin and version of a namespace's stored values that may be a snapshot of a delta channel: those go by a type of their own.
select channel, version, substr(value, 1, 6)
from checkpoint_channels
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and type = 'msgpack'
  and substr(value, 1, 1) between x'c7' and x'd8';

-- name: newest_changes
-- What is different after anything has been served from the file.
select
  (select max(seq) from journal), (select max(at) from journal where seq = (select max(seq) from journal)),
  (select max(updated_at) from threads), (select max(updated_at) from assistants), (select max(updated_at) from crons),
  (select max(next_run_date) from crons), (select max(seq) from items),
  (select max(expires_at) from items), (select max(seq) from events), (select max(seq) from checkpoints);
