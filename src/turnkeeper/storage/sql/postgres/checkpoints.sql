-- Differs: the tables are those of langgraph-checkpoint-postgres, which also reads them.

-- name: put_checkpoint
-- Store a checkpoint, over an earlier one of the same id, with the channel values that are not stored yet. With `owner`
-- only if that attempt still owns its run, which then cannot be taken from it before this is done; 0 if it does not.
with fence as materialized (
  select from (
    select from runs where run_id = :owner and attempt = :attempt and status = 'running' for share
  ) as owned
  union all
  select where cast(:owner as text) is null
), blobs as (
  insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
  select :thread_id, :checkpoint_ns, new.channel, new.version, new.type, new.blob
  from fence, unnest(cast(:channels as text[]), cast(:versions as text[]), cast(:types as text[]), cast(:blobs as bytea[]))
    as new (channel, version, type, blob)
  on conflict (thread_id, checkpoint_ns, channel, version) do nothing
), put as (
  insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata, run_id)
  select :thread_id, :checkpoint_ns, :checkpoint_id, :parent_checkpoint_id, cast(:checkpoint as jsonb), cast(:metadata as jsonb), :run_id
  from fence
  on conflict (thread_id, checkpoint_ns, checkpoint_id) do update set
    parent_checkpoint_id = excluded.parent_checkpoint_id,
    checkpoint = excluded.checkpoint,
    metadata = excluded.metadata,
    run_id = excluded.run_id
)
select count(*) from fence;

-- name: put_writes
-- Store a task's writes. Within one run the first to a channel stays, but of an error, an interrupt or a resume value the
-- last. `owner` as for `put_checkpoint`.
with fence as materialized (
  select from (
    select from runs where run_id = :owner and attempt = :attempt and status = 'running' for share
  ) as owned
  union all
  select where cast(:owner as text) is null
), put as (
  insert into task_writes (
    thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, blob
  )
  select :thread_id, :checkpoint_ns, :checkpoint_id, :task_id, new.idx, :run_id, :task_path, new.channel, new.type, new.blob
  from fence, unnest(cast(:idxs as integer[]), cast(:channels as text[]), cast(:types as text[]), cast(:blobs as bytea[]))
    as new (idx, channel, type, blob)
  on conflict (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id) do update set
    seq = excluded.seq,
    task_path = excluded.task_path,
    channel = excluded.channel,
    type = excluded.type,
    blob = excluded.blob
  where task_writes.idx < 0
)
select count(*) from fence;

-- name: delete_writes_of_runs
-- Take back what runs wrote, on anyone's checkpoints.
delete from task_writes where run_id = any(:run_ids) and run_id <> '';

-- name: delete_checkpoints
-- Take back the checkpoints that runs put, and what anybody wrote on them.
with doomed as (
  delete from checkpoints where run_id = any(:run_ids)
  returning thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint -> 'channel_versions' as versions
), writes as (
  delete from task_writes
  using doomed
  where task_writes.thread_id = doomed.thread_id
    and task_writes.checkpoint_ns = doomed.checkpoint_ns
    and task_writes.checkpoint_id = doomed.checkpoint_id
), kept as (
  -- Only who came after the first of them, or was there before it, can share a stored value with them.
  select other.thread_id, other.checkpoint_ns, other.checkpoint -> 'channel_versions' as versions
  from checkpoints as other
  join (
    select thread_id, checkpoint_ns, min(checkpoint_id) as oldest, array_agg(checkpoint_id) as ids,
      array_agg(parent_checkpoint_id) as parents
    from doomed
    group by thread_id, checkpoint_ns
  ) as gone using (thread_id, checkpoint_ns)
  where (other.checkpoint_id > gone.oldest or other.checkpoint_id = any(gone.parents))
    and other.checkpoint_id <> all(gone.ids)
)
delete from checkpoint_blobs
using (
  select distinct thread_id, checkpoint_ns, named.key as channel, named.value as version
  from doomed, jsonb_each_text(versions) as named
  except
  select thread_id, checkpoint_ns, named.key, named.value
  from kept, jsonb_each_text(versions) as named
) as freed
where checkpoint_blobs.thread_id = freed.thread_id
  and checkpoint_blobs.checkpoint_ns = freed.checkpoint_ns
  and checkpoint_blobs.channel = freed.channel
  and checkpoint_blobs.version = freed.version;

-- name: delete_commands
-- Take back what a run's command wrote, if the run never put a checkpoint.
delete from task_writes
where run_id = :run_id and run_id <> '' and task_id = :task_id
  and not exists (select from checkpoints where checkpoints.run_id = :run_id);

-- name: delete_thread_checkpoints
-- Delete a thread's checkpoints.
delete from checkpoints where thread_id = :thread_id;

-- name: delete_thread_blobs
-- Delete a thread's channel values.
delete from checkpoint_blobs where thread_id = :thread_id;

-- name: delete_thread_writes
-- Delete a thread's pending writes.
delete from task_writes where thread_id = :thread_id;

-- name: has_checkpoints
-- Say whether a thread has any checkpoint.
select exists (select from checkpoints where thread_id = :thread_id);

-- name: copy_checkpoints
-- Copy checkpoints; a copy is no run's, so that a rollback leaves it alone.
insert into checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata)
select :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
from checkpoints
where thread_id = :source;

-- name: copy_blobs
-- Copy channel values.
insert into checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
select :target, checkpoint_ns, channel, version, type, blob
from checkpoint_blobs
where thread_id = :source;

-- name: copy_writes
-- Copy pending writes in the order they came, with run ids that still differ but that no rollback takes back.
insert into task_writes (
  thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, blob
)
select :target, checkpoint_ns, checkpoint_id, task_id, idx, 'copy of ' || run_id, task_path, channel, type, blob
from task_writes
where thread_id = :source
order by seq;
