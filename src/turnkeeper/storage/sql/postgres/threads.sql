-- name: get_thread
-- One thread; its status is derived from its runs and its state.
select thread_id, created_at, updated_at, state_updated_at, metadata, rest, config, state_values, interrupts, error,
  exists (select from runs where runs.thread_id = threads.thread_id and runs.status in ('pending', 'running')) as busy
from threads
where thread_id = :thread_id;

-- name: insert_thread
-- Make a thread; no row when the id is taken.
insert into threads (thread_id, metadata, temporary, ttl, created_at, updated_at, state_updated_at)
values (:thread_id, :metadata, :temporary, :ttl, :now, :now, :now)
on conflict (thread_id) do nothing
returning thread_id;

-- name: thread_head
-- What admitting or finishing a run needs to know of its thread.
select metadata, temporary, last_status,
  not exists (select from checkpoints where checkpoints.thread_id = threads.thread_id and checkpoint_ns = ''),
  rest, interrupts <> '{}',
  exists (select from runs where runs.thread_id = threads.thread_id and carry)
from threads
where thread_id = :thread_id;

-- name: update_thread
-- Replace a thread's metadata (already merged) and, when given, its time to live.
update threads
set metadata = :metadata, ttl = coalesce(:ttl, ttl), updated_at = :now
where thread_id = :thread_id;

-- name: set_state
-- A run ended: the newest state as clients see it.
update threads
set state_values = coalesce(:values, state_values), interrupts = :interrupts, rest = :rest, error = :error,
    last_run = :last_run, last_status = :last_status, updated_at = :now, state_updated_at = :now
where thread_id = :thread_id
returning thread_id;

-- name: publish_state
-- Show a state that was read outside a run, unless it is not the newest any more or a run is about to write a newer one.
-- It is not what the last run left; how that ended still matters for what comes next.
update threads
set state_values = :values, interrupts = :interrupts, rest = :rest, error = null, last_run = null, updated_at = :now,
    state_updated_at = :now
where thread_id = :thread_id
  and not exists (
    select from runs where runs.thread_id = threads.thread_id and runs.status in ('pending', 'running')
  )
  and :checkpoint_id is not distinct from (
    select max(checkpoint_id) from checkpoints where checkpoints.thread_id = threads.thread_id and checkpoint_ns = ''
  );

-- name: delete_thread
-- Remove a thread; its runs go with it.
delete from threads where thread_id = :thread_id returning thread_id;

-- name: journal
-- What happened to the runs of a thread, oldest first.
select run_id, event, attempt, detail, at from journal where thread_id = :thread_id order by seq;

-- name: copy_thread
-- A new thread with another's state; its runs stay behind.
insert into threads (thread_id, metadata, config, state_values, interrupts, error, rest, last_status, created_at, updated_at, state_updated_at)
select :copy_id, metadata, config, state_values, interrupts, error, rest, last_status, :now, :now, :now
from threads
where thread_id = :thread_id
returning thread_id;

-- name: search_threads
-- Threads that match, sorted; the last column counts all that match. Temporary threads of stateless runs are not shown.
with matching as (
  select thread_id, created_at, updated_at, state_updated_at, metadata, rest, config, state_values, interrupts, error,
    exists (select from runs where runs.thread_id = threads.thread_id and runs.status in ('pending', 'running')) as busy
  from threads
  where not temporary
    and (cast(:ids as text) is null or thread_id in (select jsonb_array_elements_text(cast(:ids as jsonb))))
    and (cast(:metadata as text) is null or json_contains(metadata, :metadata))
    and (cast(:values as text) is null or json_contains(state_values, :values))
)
select *, count(*) over ()
from matching
where cast(:status as text) is null or case when busy then 'busy' else rest end = :status
order by
  case when :descending then case :sort_by
    when 'thread_id' then thread_id when 'status' then case when busy then 'busy' else rest end
    when 'created_at' then created_at when 'state_updated_at' then state_updated_at else updated_at end end desc,
  case when not :descending then case :sort_by
    when 'thread_id' then thread_id when 'status' then case when busy then 'busy' else rest end
    when 'created_at' then created_at when 'state_updated_at' then state_updated_at else updated_at end end asc,
  thread_id desc
limit :limit offset :offset;

-- name: count_threads
-- How many threads match.
select count(*)
from threads
where not temporary
  and (cast(:ids as text) is null or thread_id in (select jsonb_array_elements_text(cast(:ids as jsonb))))
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata))
  and (cast(:values as text) is null or json_contains(state_values, :values))
  and (cast(:status as text) is null or :status = case
    when exists (select from runs where runs.thread_id = threads.thread_id and runs.status in ('pending', 'running')) then 'busy'
    else rest end);
