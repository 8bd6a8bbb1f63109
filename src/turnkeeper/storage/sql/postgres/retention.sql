-- name: purge_keys
-- Forget the oldest idempotency keys, not more than `:most` at once.
delete from idempotency_keys
where (scope, key) in (
  select scope, key from idempotency_keys where created_at < :before order by created_at limit :most);

-- name: journal_threads
-- The next threads of the journal after one that was looked at before, found by a hop through the index for each, and
-- whether its rows may go: the thread no longer exists, and the last of them is old enough.
with recursive threads_told (thread_id, place) as (
  select min(thread_id), 1 from journal where thread_id > :after
  union all
  select (select min(thread_id) from journal where journal.thread_id > threads_told.thread_id), place + 1
  from threads_told
  where thread_id is not null and place < :most
)
select thread_id,
  not exists (select from threads where threads.thread_id = threads_told.thread_id)
  and (select at from journal where journal.thread_id = threads_told.thread_id order by seq desc limit 1) < :before
from threads_told
where thread_id is not null;

-- name: purge_journal
-- Remove rows of threads that are gone, not more than `:most` at once.
delete from journal
where seq in (
  select seq from journal
  where thread_id = any(:thread_ids)
    and not exists (select from threads where threads.thread_id = journal.thread_id)
  limit :most);
