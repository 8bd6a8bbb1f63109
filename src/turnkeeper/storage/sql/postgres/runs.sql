-- name: get_run
-- One run of a thread.
select run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, multitask_strategy, cancel_reason
from runs
where run_id = :run_id and thread_id = :thread_id;

-- name: run_by_id
-- One run, whatever its thread.
select run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, multitask_strategy, cancel_reason
from runs
where run_id = :run_id;

-- name: list_runs
-- The runs of a thread, newest first.
select run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, multitask_strategy, cancel_reason
from runs
where thread_id = :thread_id and (cast(:status as text) is null or status = :status)
order by seq desc
limit :limit offset :offset;

-- name: lock_thread
-- Differs: only here. From here to the end of the transaction nobody else makes a move of the thread. Statements that follow see what others
-- have done before.
select thread_id from threads where thread_id = :thread_id for update;

-- name: lock_thread_of_run
-- Differs: only here. `lock_thread`, for who knows the run only.
select thread_id from threads where thread_id = (select thread_id from runs where run_id = :run_id) for update;

-- name: lock_threads
-- Differs: only here. `lock_thread`, for several. Always in the same order, so that no two wait for each other.
select thread_id from threads where thread_id = any(:thread_ids) order by thread_id for update;

-- name: lock_threads_with
-- Differs: only here. `lock_thread`, for all with runs in a status, or active. Others may get some meanwhile: what follows
-- must keep to these.
select thread_id
from threads
where exists (
  select from runs
  where runs.thread_id = threads.thread_id
    and status in ('pending', 'running') and (:status = 'all' or status = :status)
)
order by thread_id
for update;

-- name: remember
-- Differs: one statement. Put down the idempotency key of a run, unless it is known, and make the thread the run brings along,
-- unless that is there or the key is known. Who comes second with a key waits here for the first one's end. Says whether the
-- key is new.
with new_key as (
  insert into idempotency_keys (scope, key, fingerprint, run_id, created_at)
  select :scope, :key, :fingerprint, :run_id, :now
  where cast(:key as text) is not null
  on conflict (scope, key) do nothing
  returning key
), new_thread as (
  insert into threads (thread_id, metadata, temporary, ttl, created_at, updated_at, state_updated_at)
  select :thread_id, :thread_metadata, :temporary, :ttl, :now, :now, :now
  where :brings and (cast(:key as text) is null or exists (select from new_key))
  on conflict (thread_id) do nothing
)
select exists (select from new_key);

-- name: runs_of_thread
-- Differs: takes a limit, as rows come all at once. The pending and running runs of a thread in admission order.
select run_id, thread_id, status, attempt
from runs
where thread_id = :thread_id and status in ('pending', 'running')
order by seq
limit :limit;

-- name: admit_run
-- Differs: one statement instead of three. Admit a run: it waits in the queue of its thread, or starts at once; the thread carries the graph and assistant it last
-- ran with. `seq` is the order of admission: the thread is locked when it is given out.
with run as (
  insert into runs (run_id, thread_id, assistant_id, graph_id, status, attempt, multitask_strategy, metadata, kwargs, due_at, delayed, priority, fairness_key, concurrency_key, worker_id, lease_until, created_at, updated_at)
  values (:run_id, :thread_id, :assistant_id, :graph_id, :status, :attempt, :multitask_strategy, :metadata, :kwargs, :due_at, :delayed, :priority, :fairness_key, :concurrency_key, :worker_id, :lease_until, :now, :now)
), thread as (
  update threads set metadata = :thread_metadata, updated_at = :now where thread_id = :thread_id
)
insert into journal (thread_id, run_id, event, attempt, detail, at)
select :thread_id, :run_id, event, attempt, detail, :now
from (values ('created', 0, cast(:multitask_strategy as text)), ('started', 1, null)) as moves (event, attempt, detail)
where attempt <= :attempt
order by attempt;

-- name: claim_run
-- Differs: takes many at once. Hand due runs to their attempts: of each of the threads whose turn it is, the run admitted
-- first. A thread somebody else is making a move of is passed over; one that has another place by the time it gets its lock is
-- looked at once more by the database, one that has none any more is left out, as its place is locked, too. A thread without a
-- run among the rows got a move after this statement began: ask again. So it is where delayed runs, whose time has come, have
-- joined the others: nothing is claimed then. The last columns, also of a row without a thread, say how many that were, and when
-- the next delayed run is due.
with late as materialized (
  select thread_id
  from threads
  where thread_id in (
    select thread_id from runs where status = 'pending' and delayed and due_at <= :due order by due_at limit :most
  )
  for update skip locked
), joined as (
  update runs
  set delayed = false
  from late
  where runs.thread_id = late.thread_id and status = 'pending' and delayed and due_at <= :due
  returning seq
), ready as materialized (
  select ready.thread_id, head, priority, turn, metadata, temporary, last_status
  from ready join threads on threads.thread_id = ready.thread_id
  where lane = '' and not exists (select from late)
  order by priority desc, turn, head
  limit :limit
  for update of ready, threads skip locked
), claimed as (
  update runs
  set status = 'running', attempt = attempt + 1, worker_id = :worker_id, lease_until = :lease_until, updated_at = :now
  from ready
  where runs.seq = ready.head and status = 'pending'
  returning runs.*
), noted as (
  insert into journal (thread_id, run_id, event, attempt, detail, at)
  select thread_id, run_id, 'started', attempt, null, :now from claimed order by seq
)
select
  claimed.run_id, ready.thread_id, claimed.assistant_id, claimed.graph_id, claimed.attempt, claimed.kwargs, claimed.metadata,
  claimed.cancel_action,
  ready.metadata, ready.temporary, ready.last_status,
  not exists (select from checkpoints where checkpoints.thread_id = ready.thread_id and checkpoint_ns = ''),
  (
    select json_agg(json_build_array(superseded.run_id, superseded.kwargs, superseded.arrived) order by superseded.seq)
    from (
      select runs.seq, runs.run_id, kwargs,
        exists (
          select from checkpoints
          where checkpoints.run_id = runs.run_id and checkpoint_ns = ''
            and checkpoints.metadata ->> 'source' <> 'input'
            and (checkpoints.metadata ->> 'source' <> 'update' or checkpoints.metadata ->> 'run_id' is not null)
        ) as arrived
      from runs
      where runs.thread_id = ready.thread_id and carry
    ) as superseded
  ),
  case when claimed.attempt > 1 then (
    select count(*) from journal
    where journal.thread_id = ready.thread_id and journal.run_id = claimed.run_id and event = 'released' and detail = any(:crashed)
  ) else 0 end,
  (select count(*) from joined),
  later.due_at
from (select min(due_at) as due_at from runs where status = 'pending' and delayed and due_at > :due) as later
  left join ready on true
  left join claimed on claimed.thread_id = ready.thread_id
order by ready.priority desc, ready.turn, ready.head;

-- name: owned_run
-- Differs: waits for the puts of the attempt that are under way, which hold on to the run, so that what follows sees what they
-- have written. The run if this attempt still owns it: the fence of invariant I7.
select thread_id, cancel_action, cancel_reason
from runs
where run_id = :run_id and attempt = :attempt and status = 'running'
for update;

-- name: end_run
-- Differs: only here. The usual end, in one statement: nobody asked the run to stop, and its thread stays. No row where that is not so, or where
-- the attempt no longer owns the run. Says whether others may wait for it.
with ended as (
  update runs
  set status = :status, cancel_reason = :reason, checkpoint_id = :checkpoint_id, error = :error, updated_at = :now
  where run_id = :run_id and attempt = :attempt and status = 'running' and cancel_action is null
    and not exists (select from threads where threads.thread_id = runs.thread_id and temporary)
  returning thread_id, concurrency_key
), state as (
  update threads
  set state_values = coalesce(:values, state_values), interrupts = :interrupts, rest = :rest, error = :error,
      last_run = :run_id, last_status = :status, updated_at = :now, state_updated_at = :now
  from ended
  where threads.thread_id = ended.thread_id
), noted as (
  insert into journal (thread_id, run_id, event, attempt, detail, at)
  select thread_id, :run_id, 'ended', :attempt, :status, :now from ended
)
select thread_id,
  concurrency_key is not null
    or exists (select from runs where runs.thread_id = ended.thread_id and runs.status = 'pending')
from ended;

-- name: finish_run
-- End an attempt; no row when the attempt no longer owns the run. Says whether it had a slot that others may wait for.
update runs
set status = :status, cancel_reason = coalesce(cancel_reason, :reason), checkpoint_id = :checkpoint_id, error = :error, updated_at = :now
where run_id = :run_id and attempt = :attempt and status = 'running'
returning concurrency_key is not null;

-- name: release_run
-- Give a run back to the queue, to be taken up again from its last checkpoint.
update runs
set status = 'pending', worker_id = null, lease_until = null, updated_at = :now
where run_id = :run_id and attempt = :attempt and status = 'running'
returning thread_id;

-- name: seal_run
-- The next attempt begins although nothing executes it: what the one before still writes is refused.
update runs set attempt = attempt + 1 where run_id = :run_id and status = 'running' returning attempt;

-- name: recover_runs
-- Differs: of the threads that are locked only. After a crash nobody executes anything: every running run waits again.
update runs
set status = 'pending', worker_id = null, lease_until = null, updated_at = :now
where thread_id = any(:thread_ids) and status = 'running'
returning thread_id, run_id, attempt;

-- name: after_moves
-- Differs: only here. After moves of locked threads: which are those of stateless runs, and which have active runs.
select thread_id, temporary,
  exists (select from runs where runs.thread_id = threads.thread_id and runs.status in ('pending', 'running'))
from threads
where thread_id = any(:thread_ids);

-- name: interrupt_pending
-- Stop a run that never started.
update runs
set status = 'interrupted', cancel_action = 'interrupt', cancel_reason = :reason, carry = :carry, updated_at = :now
where run_id = :run_id and status = 'pending'
returning thread_id;

-- name: request_cancel
-- Write down that a run is to stop. A rollback asked for is never weakened to an interrupt; of several interrupts the
-- first is the reason, and what one of them keeps is kept.
update runs
set cancel_action = case when cancel_action = 'rollback' then 'rollback' else :action end,
    cancel_reason = case when cancel_action in ('rollback', :action) then cancel_reason else :reason end,
    carry = case when :action = 'rollback' or cancel_action = 'rollback' then false else carry or :carry end,
    updated_at = :now
where run_id = :run_id and status in ('pending', 'running');

-- name: delete_run
-- Remove a run's row; its journal stays. Says whether it may have had a slot that others wait for.
delete from runs where run_id = :run_id and thread_id = :thread_id returning attempt, concurrency_key is not null;

-- name: runs_by_ids
-- Those of the named runs that belong to the thread.
select run_id, thread_id, status, attempt
from runs
where run_id = any(:run_ids) and thread_id = :thread_id
order by seq;

-- name: runs_by_status
-- Differs: of the threads that are locked only. Active runs, by status.
select run_id, thread_id, status, attempt
from runs
where thread_id = any(:thread_ids) and status in ('pending', 'running') and (:status = 'all' or status = :status)
order by seq;

-- name: carried_runs
-- Superseded runs whose input has to be put into the state ahead of the next run's, and whether it is there already:
-- a checkpoint of theirs that is past the input says so. One that only kept what an earlier run had finished names no run.
select run_id, kwargs,
  exists (
    select from checkpoints
    where checkpoints.run_id = runs.run_id and checkpoint_ns = ''
      and checkpoints.metadata ->> 'source' <> 'input'
      and (checkpoints.metadata ->> 'source' <> 'update' or checkpoints.metadata ->> 'run_id' is not null)
  )
from runs
where thread_id = :thread_id and carry
order by seq;

-- name: carried
-- Differs: takes many at once. The inputs of superseded runs are in the state: they need not be carried any further.
update runs set carry = false where run_id = any(:run_ids);

-- name: count_waiting
-- How many runs wait on a thread, up to a limit.
select count(*) from (select from runs where thread_id = :thread_id and status = 'pending' limit :limit) as waiting;

-- name: find_key
-- The run that was made with an idempotency key, and of what body.
select run_id, fingerprint from idempotency_keys where scope = :scope and key = :key;

-- name: run_exists
-- Whether an id is taken.
select 1 from runs where run_id = :run_id;

-- name: run_end
-- What is known of a run's end. The thread's row has what its newest run left; an earlier one left its last checkpoint.
select runs.run_id, runs.thread_id, runs.status, runs.cancel_reason,
  coalesce(runs.checkpoint_id, (
    select max(checkpoint_id) from checkpoints
    where checkpoints.run_id = runs.run_id and checkpoints.thread_id = runs.thread_id and checkpoint_ns = ''
  )),
  case when threads.last_run = runs.run_id then threads.state_values end,
  case when threads.last_run = runs.run_id then threads.interrupts end,
  runs.error
from runs join threads on threads.thread_id = runs.thread_id
where runs.run_id = :run_id and runs.thread_id = :thread_id;

-- name: inactive
-- Those of the named runs that have ended or are gone.
select run_id
from unnest(cast(:run_ids as text[])) as named (run_id)
where not exists (select from runs where runs.run_id = named.run_id and status in ('pending', 'running'));

-- name: newest_change
-- The newest thing that happened to the runs of a thread, and its newest checkpoint.
select
  (select max(seq) from journal where thread_id = :thread_id),
  (select max(checkpoint_id) from checkpoints where thread_id = :thread_id and checkpoint_ns = '');

-- name: waiting
-- How many threads wait for a worker, for a slot of their concurrency key, and for the end of a run.
select
  (select count(*) from ready where lane = ''),
  (select count(*) from ready where lane > ''),
  (select count(*) from runs where status = 'running');

-- name: note
-- Append to the journal.
insert into journal (thread_id, run_id, event, attempt, detail, at)
values (:thread_id, :run_id, :event, :attempt, :detail, :now);

-- name: hold_run
-- Differs: only here. Whether an attempt owns its run, which cannot be taken from it before the transaction ends.
select 1 from runs where run_id = :run_id and attempt = :attempt and status = 'running' for share;

-- name: heartbeat
-- Differs: only here. A worker is alive: its runs are its own for longer. Those somebody is changing right now are passed over
-- until the next time. Says which runs it has, and which of them are to stop.
with alive as (
  update runs
  set lease_until = :lease_until
  where seq in (
    select seq from runs where worker_id = :worker_id and status = 'running' for update skip locked
  )
)
select run_id, attempt, cancel_action from runs where worker_id = :worker_id and status = 'running';

-- name: end_standing
-- Differs: only here. End transactions of servers that stand still in the middle of one (paused, or cut off): the locks they hold
-- keep their runs from being taken up. Not all of these are `idle in transaction`, for which there is a timeout: a server may
-- have sent a part of what it sends at once.
select pg_terminate_backend(pid)
from pg_stat_activity
where datname = current_database() and application_name = :name and wait_event = 'ClientRead'
  and xact_start < clock_timestamp() - make_interval(secs => :longest);

-- name: lock_threads_expired
-- Differs: only here. Lock threads whose running run belongs to a worker that has not been heard of for too long, but those
-- somebody else is busy with.
select thread_id
from threads
where thread_id in (select thread_id from runs where status = 'running' and lease_until < :due)
order by thread_id
limit :limit
for update skip locked;

-- name: expire_runs
-- Differs: only here. Runs of locked threads wait again if their worker still has not been heard of.
update runs
set status = 'pending', worker_id = null, lease_until = null, updated_at = :now
where thread_id = any(:thread_ids) and status = 'running' and lease_until < :due
returning thread_id, run_id, attempt;
