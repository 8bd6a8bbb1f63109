-- name: get_cron
-- One cron as it is now.
select cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, next_run_date, enabled, on_run_completed, metadata, payload, created_at, updated_at
from crons
where cron_id = :cron_id;

-- name: insert_cron
-- Make a cron.
insert into crons (cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, next_run_date, enabled, on_run_completed, metadata, payload, created_at, updated_at)
values (:cron_id, :assistant_id, :thread_id, :user_id, :schedule, :timezone, :end_time, :next_run_date, :enabled, :on_run_completed, :metadata, :payload, :created_at, :updated_at);

-- name: update_cron
-- Replace what can change of a cron.
update crons
set schedule = :schedule, timezone = :timezone, end_time = :end_time, next_run_date = :next_run_date, enabled = :enabled,
    on_run_completed = :on_run_completed, metadata = :metadata, payload = :payload, updated_at = :now
where cron_id = :cron_id;

-- name: delete_cron
-- Remove a cron.
delete from crons where cron_id = :cron_id returning cron_id;

-- name: search_crons
-- Crons that match, sorted; the last column counts all that match.
select cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, next_run_date, enabled, on_run_completed, metadata, payload, created_at, updated_at, count(*) over ()
from crons
where (cast(:assistant_id as text) is null or assistant_id = :assistant_id)
  and (cast(:thread_id as text) is null or thread_id = :thread_id)
  and (cast(:enabled as boolean) is null or enabled = :enabled)
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata))
order by
  case when :descending then case :sort_by
    when 'cron_id' then cron_id when 'assistant_id' then assistant_id when 'thread_id' then thread_id
    when 'next_run_date' then next_run_date when 'end_time' then end_time when 'updated_at' then updated_at
    else created_at end end desc nulls last,
  case when not :descending then case :sort_by
    when 'cron_id' then cron_id when 'assistant_id' then assistant_id when 'thread_id' then thread_id
    when 'next_run_date' then next_run_date when 'end_time' then end_time when 'updated_at' then updated_at
    else created_at end end asc nulls last,
  cron_id desc
limit :limit offset :offset;

-- name: count_crons
-- How many crons match.
select count(*)
from crons
where (cast(:assistant_id as text) is null or assistant_id = :assistant_id)
  and (cast(:thread_id as text) is null or thread_id = :thread_id)
  and (cast(:enabled as boolean) is null or enabled = :enabled)
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata));

-- name: due_crons
-- The first crons whose tick has come, found by the index.
select cron_id, assistant_id, thread_id, user_id, schedule, timezone, end_time, next_run_date, enabled, on_run_completed, metadata, payload, created_at, updated_at
from crons
where next_run_date <= :now
order by next_run_date
limit :limit;

-- name: next_tick
-- The earliest tick of all crons.
select min(next_run_date) from crons where next_run_date is not null;

-- name: advance_cron
-- Name the next tick of a cron, unless that was done, or it was changed, or is gone; no row then.
update crons
set next_run_date = :upcoming
where cron_id = :cron_id and next_run_date = :tick and updated_at = :updated_at
returning cron_id;

-- name: keep_assistant
-- Differs: only here. Until the end of the transaction nobody removes the assistant.
select assistant_id from assistants where assistant_id = :assistant_id for key share;

-- name: keep_thread
-- Differs: only here. Until the end of the transaction nobody removes the thread.
select thread_id from threads where thread_id = :thread_id for key share;

-- name: lock_cron
-- Differs: only here. From here to the end of the transaction nobody else changes the cron.
select cron_id from crons where cron_id = :cron_id for update;
