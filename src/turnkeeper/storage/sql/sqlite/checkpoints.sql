-- name: put_checkpoint
-- Store a checkpoint, over an earlier one of the same id, and say its place in the order of writing.
insert into checkpoints (
  thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, versions, inline, type, body, metadata
)
values (
  :thread_id, :checkpoint_ns, :checkpoint_id, :parent_checkpoint_id, :run_id, :versions, :inline, :type, :body, :metadata
)
on conflict (thread_id, checkpoint_ns, checkpoint_id) do update set
  parent_checkpoint_id = excluded.parent_checkpoint_id,
  run_id = excluded.run_id,
  versions = excluded.versions,
  inline = excluded.inline,
  type = excluded.type,
  body = excluded.body,
  metadata = excluded.metadata
returning seq;

-- name: put_channel
-- Store one version of a channel; `born` is the checkpoint it came with.
insert or replace into checkpoint_channels (thread_id, checkpoint_ns, channel, version, born, type, value, high)
values (:thread_id, :checkpoint_ns, :channel, :version, :born, :type, :value, :high);

-- name: list_tail
-- Say where new elements of a list channel go, and whether the version they build on is still stored.
select
  coalesce((
    select max(seq) + 1 from checkpoint_elements
    where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and channel = :channel
  ), 0),
  exists (
    select 1 from checkpoint_channels
    where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and channel = :channel and version = :base
  );

-- name: put_element
-- Store one element of a list channel.
insert into checkpoint_elements (thread_id, checkpoint_ns, channel, seq, value)
values (:thread_id, :checkpoint_ns, :channel, :seq, :value);

-- name: put_write
-- Store a task's write to a channel; within one run the first to come stays.
insert or ignore into checkpoint_writes (
  thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, value
)
values (
  :thread_id, :checkpoint_ns, :checkpoint_id, :task_id, :idx, :run_id, :task_path, :channel, :type, :value
);

-- name: put_special_write
-- Store a task's error, interrupt or resume; within one run the last to come stays.
insert or replace into checkpoint_writes (
  thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, value
)
values (
  :thread_id, :checkpoint_ns, :checkpoint_id, :task_id, :idx, :run_id, :task_path, :channel, :type, :value
);

-- name: get_checkpoint
-- Read one checkpoint by its id.
select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, versions, inline, type, body, metadata
from checkpoints
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and checkpoint_id = :checkpoint_id;

-- name: get_latest_checkpoint
-- Read the newest checkpoint of a namespace.
select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, versions, inline, type, body, metadata
from checkpoints
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns
order by checkpoint_id desc
limit 1;

-- name: get_checkpoint_at
-- Read one checkpoint by its place in the order of writing.
select seq, thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, versions, inline, type, body, metadata
from checkpoints
where seq = :seq;

-- name: list_thread
-- Find the checkpoints of a thread, newest first.
select seq
from checkpoints
where
  thread_id = :thread_id
  and (:checkpoint_id is null or checkpoint_id = :checkpoint_id)
  and (:before is null or checkpoint_id < :before)
order by checkpoint_id desc;

-- name: list_namespace
-- Find the checkpoints of one namespace of a thread, newest first; the index gives them in order.
select seq
from checkpoints
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and (:checkpoint_id is null or checkpoint_id = :checkpoint_id)
  and (:before is null or checkpoint_id < :before)
order by checkpoint_id desc;

-- name: list_everything
-- Find the checkpoints of all threads, newest first.
select seq
from checkpoints
where :before is null or checkpoint_id < :before
order by checkpoint_id desc;

-- name: channels_at
-- Read the stored channel values a checkpoint's versions name.
select c.channel, c.version, c.type, c.value
from json_each(:versions) as v
cross join checkpoint_channels as c
where
  c.thread_id = :thread_id
  and c.checkpoint_ns = :checkpoint_ns
  and c.channel = v.key
  and c.version = v.value;

-- name: stored_channels
-- Of some channels, find those a checkpoint has a stored value for.
select w.value
from json_each(:channels) as w
where
  w.value in (select value from json_each(:inline))
  or exists (
    select 1
    from json_each(:versions) as v
    cross join checkpoint_channels as c
    where
      v.key = w.value
      and c.thread_id = :thread_id
      and c.checkpoint_ns = :checkpoint_ns
      and c.channel = v.key
      and c.version = v.value
  );

-- name: delta_channels
-- Name the channels whose updates since their last snapshot a namespace has ever counted.
select distinct counter.key
from checkpoints as c, json_each(c.metadata, '$.counters_since_delta_snapshot') as counter
where c.thread_id = :thread_id and c.checkpoint_ns = :checkpoint_ns;

-- name: channel_at
-- Read the stored value of one channel version.
select type, value
from checkpoint_channels
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and channel = :channel and version = :version;

-- name: elements
-- Read a run of a list channel's elements, in order.
select value
from checkpoint_elements
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and channel = :channel
  and seq >= :start
  and seq < :stop
order by seq;

-- name: writes_at
-- Read everything tasks wrote on a checkpoint, in the order it came.
select task_id, idx, run_id, task_path, channel, type, value
from checkpoint_writes
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and checkpoint_id = :checkpoint_id
order by seq;

-- name: ancestors
-- Read the next checkpoints on the way to the root, nearest first.
with recursive path (depth, id) as (
  select 0, :checkpoint_id
  union all
  select path.depth + 1, c.parent_checkpoint_id
  from path
  join checkpoints as c
    on c.thread_id = :thread_id and c.checkpoint_ns = :checkpoint_ns and c.checkpoint_id = path.id
  where path.depth + 1 < :count and c.parent_checkpoint_id is not null
)
select
  c.seq, c.thread_id, c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.versions, c.inline, c.type, c.body, c.metadata
from path
cross join checkpoints as c
where c.thread_id = :thread_id and c.checkpoint_ns = :checkpoint_ns and c.checkpoint_id = path.id
order by path.depth;

-- name: checkpoints_of_runs
-- Find what runs put.
select seq, thread_id, checkpoint_ns, versions
from checkpoints
where run_id in (select value from json_each(:run_ids));

-- name: delete_writes_of_runs
-- Take back what runs wrote, on whichever checkpoint.
delete from checkpoint_writes
where run_id in (select value from json_each(:run_ids)) and run_id <> '';

-- name: delete_writes_at
-- Delete what anyone wrote on some checkpoints.
delete from checkpoint_writes
where seq in (
  select w.seq
  from json_each(:seqs) as s
  cross join checkpoints as c on c.seq = s.value
  cross join checkpoint_writes as w
    on w.thread_id = c.thread_id and w.checkpoint_ns = c.checkpoint_ns and w.checkpoint_id = c.checkpoint_id
);

-- name: delete_checkpoints
-- Delete some checkpoints.
delete from checkpoints
where seq in (select value from json_each(:seqs));

-- name: orphans
-- Of the channel versions deleted checkpoints named, find those whose first checkpoint is gone.
select c.channel, c.version, c.born
from json_each(:released) as r
cross join checkpoint_channels as c
where
  c.thread_id = :thread_id
  and c.checkpoint_ns = :checkpoint_ns
  and c.channel = r.value ->> 0
  and c.version = r.value ->> 1
  and not exists (select 1 from checkpoints where seq = c.born);

-- name: versions_needed
-- Find the channel versions that the checkpoints written after one of them still name.
select distinct v.key, v.value
from checkpoints as c, json_each(c.versions) as v
where c.thread_id = :thread_id and c.checkpoint_ns = :checkpoint_ns and c.seq > :born;

-- name: delete_channel
-- Delete one version of a channel.
delete from checkpoint_channels
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and channel = :channel and version = :version
returning type, value;

-- name: newest_list
-- Read which elements the newest stored version of a list channel is made of.
select value
from checkpoint_channels
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns and channel = :channel and type = 'list'
order by version desc
limit 1;

-- name: lists_beyond
-- Read the element spans of every stored version of a list channel that reaches past a place.
select value
from checkpoint_channels
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and channel = :channel
  and high > :low;

-- name: delete_elements
-- Delete a run of a list channel's elements.
delete from checkpoint_elements
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and channel = :channel
  and seq >= :start
  and seq < :stop;

-- name: namespaces
-- Name the namespaces of a thread.
select distinct checkpoint_ns from checkpoints where thread_id = :thread_id;

-- name: namespace_checkpoints
-- Find the checkpoints of one namespace.
select seq from checkpoints where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns;

-- name: list_channels
-- Name the list channels of one namespace that have elements, and how far these reach.
select channel, max(seq) + 1
from checkpoint_elements
where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns
group by channel;

-- name: sweep_writes
-- Delete the writes of one namespace whose checkpoint is gone.
delete from checkpoint_writes
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and checkpoint_id not in (
    select checkpoint_id from checkpoints where thread_id = :thread_id and checkpoint_ns = :checkpoint_ns
  );

-- name: sweep_channels
-- Delete the channel versions of one namespace that no checkpoint names.
delete from checkpoint_channels
where
  thread_id = :thread_id
  and checkpoint_ns = :checkpoint_ns
  and (channel, version) not in (
    select v.key, v.value
    from checkpoints as c, json_each(c.versions) as v
    where c.thread_id = :thread_id and c.checkpoint_ns = :checkpoint_ns
  );

-- name: delete_thread_checkpoints
-- Delete a thread's checkpoints.
delete from checkpoints where thread_id = :thread_id;

-- name: delete_thread_channels
-- Delete a thread's channel versions.
delete from checkpoint_channels where thread_id = :thread_id;

-- name: delete_thread_elements
-- Delete a thread's list elements.
delete from checkpoint_elements where thread_id = :thread_id;

-- name: delete_thread_writes
-- Delete a thread's pending writes.
delete from checkpoint_writes where thread_id = :thread_id;

-- name: has_checkpoints
-- Say whether a thread has any checkpoint.
select exists (select 1 from checkpoints where thread_id = :thread_id);

-- name: copy_checkpoints
-- Copy checkpoints in the order they were written; a copy is no run's, so that a rollback leaves it alone.
insert into checkpoints (
  thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, run_id, versions, inline, type, body, metadata
)
select :target, checkpoint_ns, checkpoint_id, parent_checkpoint_id, null, versions, inline, type, body, metadata
from checkpoints
where thread_id = :source
order by seq;

-- name: copy_channels
-- Copy channel versions; each is born with the copy of its checkpoint.
insert into checkpoint_channels (thread_id, checkpoint_ns, channel, version, born, type, value, high)
select :target, c.checkpoint_ns, c.channel, c.version, new.seq, c.type, c.value, c.high
from checkpoint_channels as c
left join checkpoints as old on old.seq = c.born
left join checkpoints as new
  on new.thread_id = :target and new.checkpoint_ns = old.checkpoint_ns and new.checkpoint_id = old.checkpoint_id
where c.thread_id = :source;

-- name: copy_elements
-- Copy list elements.
insert into checkpoint_elements (thread_id, checkpoint_ns, channel, seq, value)
select :target, checkpoint_ns, channel, seq, value
from checkpoint_elements
where thread_id = :source;

-- name: copy_writes
-- Copy pending writes in the order they came, with run ids that still differ but that no rollback takes back.
insert into checkpoint_writes (
  thread_id, checkpoint_ns, checkpoint_id, task_id, idx, run_id, task_path, channel, type, value
)
select :target, checkpoint_ns, checkpoint_id, task_id, idx, 'copy of ' || run_id, task_path, channel, type, value
from checkpoint_writes
where thread_id = :source
order by seq;

-- name: delete_commands
-- Take back what a run's command wrote, if the run never put a checkpoint.
delete from checkpoint_writes
where run_id = :run_id and run_id <> '' and task_id = :task_id
  and not exists (select 1 from checkpoints where checkpoints.run_id = :run_id);
