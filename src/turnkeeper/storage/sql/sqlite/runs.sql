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
where thread_id = :thread_id and (:status is null or status = :status)
order by seq desc
limit :limit offset :offset;

-- name: runs_of_thread
-- The pending and running runs of a thread in admission order, found without looking at those that have ended.
select run_id, thread_id, status, attempt
from runs indexed by runs_active
where thread_id = :thread_id and status in ('pending', 'running')
order by seq;

-- name: insert_run
-- Differs: part of `admit_run` elsewhere. Admit a run: it waits in the queue of its thread, or starts at once. `seq` is the order of admission.
insert into runs (run_id, thread_id, assistant_id, graph_id, status, attempt, multitask_strategy, metadata, kwargs, due_at, delayed, priority, fairness_key, concurrency_key, created_at, updated_at)
values (:run_id, :thread_id, :assistant_id, :graph_id, :status, :attempt, :multitask_strategy, :metadata, :kwargs, :due_at, :delayed, :priority, :fairness_key, :concurrency_key, :created_at, :updated_at);

-- name: let_join
-- Differs: part of `claim_run` elsewhere. Delayed runs whose time has come wait for their turn from now on.
update runs
set delayed = 0
where seq in (
  select seq from runs indexed by runs_delayed
  where status = 'pending' and delayed = 1 and due_at <= :due
  order by due_at
  limit :most
);

-- name: claim_run
-- Hand a due run to one attempt: of the ready thread whose turn it is, the run admitted first.
-- The unique index `runs_one_running` backs this up.
update runs
set status = 'running', attempt = attempt + 1, updated_at = :now
where seq = (select head from ready where lane = '' order by priority desc, turn, head limit 1)
returning run_id, thread_id, assistant_id, graph_id, attempt, kwargs, metadata, cancel_action;

-- name: next_due
-- Differs: part of `claim_run` elsewhere. When the first delayed run is due: the worker sleeps until then.
select min(due_at) from runs indexed by runs_delayed where status = 'pending' and delayed = 1;

-- name: owned_run
-- The run if this attempt still owns it: the fence of invariant I7.
select thread_id, cancel_action, cancel_reason
from runs
where run_id = :run_id and attempt = :attempt and status = 'running';

-- name: finish_run
-- End an attempt; no row when the attempt no longer owns the run. Says whether it had a slot that others may wait for.
update runs
set status = :status, cancel_reason = coalesce(cancel_reason, :reason), checkpoint_id = :checkpoint_id, error = :error, updated_at = :now
where run_id = :run_id and attempt = :attempt and status = 'running'
returning concurrency_key is not null;

-- name: release_run
-- Give a run back to the queue, to be taken up again from its last checkpoint.
update runs
set status = 'pending', updated_at = :now
where run_id = :run_id and attempt = :attempt and status = 'running'
returning thread_id;

-- name: seal_run
-- The next attempt begins although nothing executes it: what the one before still writes is refused.
update runs set attempt = attempt + 1 where run_id = :run_id and status = 'running' returning attempt;

-- name: recover_runs
-- After a crash nobody executes anything: every running run waits again.
update runs
set status = 'pending', updated_at = :now
where status = 'running'
returning thread_id, run_id, attempt;

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
    carry = case when 'rollback' in (:action, cancel_action) then 0 else max(carry, :carry) end,
    updated_at = :now
where run_id = :run_id and status in ('pending', 'running');

-- name: delete_run
-- Remove a run's row; its journal stays. Says whether it may have had a slot that others wait for.
delete from runs where run_id = :run_id and thread_id = :thread_id returning attempt, concurrency_key is not null;

-- name: runs_by_ids
-- Those of the named runs that belong to the thread. The plus keeps it from looking through all runs of the thread.
select run_id, thread_id, status, attempt
from runs
where run_id in (select value from json_each(:run_ids)) and +thread_id = :thread_id
order by seq;

-- name: runs_by_status
-- Active runs of every thread, by status.
select run_id, thread_id, status, attempt
from runs indexed by runs_active
where status in ('pending', 'running') and (:status = 'all' or status = :status)
order by seq;

-- name: carried_runs
-- Superseded runs whose input has to be put into the state ahead of the next run's, and whether it is there already:
-- a checkpoint of theirs that is past the input says so. One that only kept what an earlier run had finished names no run.
select run_id, kwargs,
  exists (
    select 1 from checkpoints
    where checkpoints.run_id = runs.run_id and checkpoint_ns = ''
      and json_extract(checkpoints.metadata, '$.source') <> 'input'
      and (json_extract(checkpoints.metadata, '$.source') <> 'update' or json_extract(checkpoints.metadata, '$.run_id') is not null)
  )
from runs
where thread_id = :thread_id and carry = 1
order by seq;

-- name: carried
-- The input of a superseded run is in the state: it need not be carried any further.
update runs set carry = 0 where run_id = :run_id;

-- name: count_waiting
-- How many runs wait on a thread, up to a limit.
select count(*) from (select 1 from runs indexed by runs_waiting where thread_id = :thread_id and status = 'pending' limit :limit);

-- name: find_key
-- The run that was made with an idempotency key, and of what body.
select run_id, fingerprint from idempotency_keys where scope = :scope and key = :key;

-- name: insert_key
-- Differs: part of `remember` elsewhere. Remember an idempotency key.
insert into idempotency_keys (scope, key, fingerprint, run_id, created_at)
values (:scope, :key, :fingerprint, :run_id, :now);

-- name: run_exists
-- Whether an id is taken.
select 1 from runs where run_id = :run_id;

-- name: run_end
-- What is known of a run's end. The thread's row has what its newest run left; an earlier one left its last checkpoint.
select runs.run_id, runs.thread_id, runs.status, runs.cancel_reason,
  coalesce(runs.checkpoint_id, (
    select max(checkpoint_id) from checkpoints indexed by checkpoints_of_run
    where checkpoints.run_id = runs.run_id and checkpoints.thread_id = runs.thread_id and checkpoint_ns = ''
  )),
  case when threads.last_run = runs.run_id then threads.state_values end,
  case when threads.last_run = runs.run_id then threads.interrupts end,
  runs.error
from runs join threads on threads.thread_id = runs.thread_id
where runs.run_id = :run_id and runs.thread_id = :thread_id;

-- name: inactive
-- Those of the named runs that have ended or are gone.
select value
from json_each(:run_ids)
where not exists (select 1 from runs where run_id = value and status in ('pending', 'running'));

-- name: count_crashes
-- Differs: part of `claim_run` elsewhere. How often a server went down with a run, without having let go of it.
select count(*) from journal
where thread_id = :thread_id and run_id = :run_id and event = 'released' and detail = :detail;

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
