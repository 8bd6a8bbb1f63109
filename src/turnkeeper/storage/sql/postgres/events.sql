-- name: keep_event
-- Keep one event. `seq` is unique, so that a repeated write changes nothing.
insert into events (seq, thread_id, run_id, event, data, namespace, node, protocol)
values (:seq, :thread_id, :run_id, :event, :data, :namespace, :node, :protocol)
on conflict (seq) do nothing;

-- name: events_of_run
-- A run's stored events after one the reader knows, oldest first.
select seq, thread_id, run_id, event, data, namespace, node, protocol
from events
where run_id = :run_id and protocol = :protocol and seq > :after and seq <= :upto
order by seq
limit :limit;

-- name: events_of_thread
-- A thread's stored events after one the reader knows, oldest first.
select seq, thread_id, run_id, event, data, namespace, node, protocol
from events
where thread_id = :thread_id and protocol = :protocol and seq > :after and seq <= :upto
order by seq
limit :limit;

-- name: newest_event
-- Where to go on counting.
select coalesce(max(seq), 0) from events;

-- name: delete_events_of_run
-- A run that was rolled back or deleted leaves none.
delete from events where run_id = :run_id;

-- name: delete_events_of_thread
-- A thread's events go with it.
delete from events where thread_id = :thread_id;

-- name: purge_events
-- Forget the oldest events, not more than `:most` at once. Those of a run that goes on may still be asked for.
delete from events
where seq in (
  select seq from events
  where seq < :before
    and not exists (select from runs where runs.run_id = events.run_id and status in ('pending', 'running'))
  order by seq
  limit :most);
