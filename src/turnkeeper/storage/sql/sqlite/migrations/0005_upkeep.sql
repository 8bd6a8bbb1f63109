create index idempotency_keys_made on idempotency_keys (created_at);

-- How the run ended that left the newest state; it outlives the run's row and edits of the state.
alter table threads add column last_status text;

update threads set last_status = (select status from runs where run_id = threads.last_run);
