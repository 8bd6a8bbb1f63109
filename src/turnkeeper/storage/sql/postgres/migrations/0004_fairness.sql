-- `delayed`: whether the run still waits for its time. That it has come is written down, not compared: clocks may be set back.
alter table runs
  add column priority smallint not null default 0 check (priority between -100 and 100),
  add column fairness_key text collate "C",
  add column concurrency_key text collate "C",
  add column delayed boolean not null default false;

-- The next claim finds out which of them are due, and lets them join.
update runs set delayed = true where status = 'pending';

alter table threads drop column ready_at;

drop index runs_waiting;

create index runs_waiting on runs (thread_id, delayed, priority) where status = 'pending';

create index runs_due on runs (thread_id, seq) where status = 'pending' and not delayed;

create index runs_delayed on runs (due_at) where status = 'pending' and delayed;

create index runs_slots on runs (concurrency_key) where status = 'running' and concurrency_key is not null;

-- How many runs of a key may run at once; the empty key stands for all that are not named.
create table concurrency_limits (
  concurrency_key text collate "C" primary key,
  most integer not null check (most > 0)
);

-- Threads whose next run (`head`) may start, in the order in which they do: by priority, then by turn. A turn is a round in
-- which every fairness key comes once. The lane is empty, or the key whose slots are all taken: nobody looks there until
-- one is free. A thread with a key that stands in the empty lane has its slot already. Kept by triggers, so that no move can
-- forget it: whoever moves a thread's runs holds the lock on the thread, and changes its row here, which nobody else does
-- but to give it a slot.
create table ready (
  thread_id text collate "C" primary key,
  lane text collate "C" not null,
  priority smallint not null,
  turn bigint not null,
  head bigint not null,
  fairness_key text collate "C",
  concurrency_key text collate "C"
) with (autovacuum_vacuum_scale_factor = 0.05);

create index ready_order on ready (lane, priority desc, turn, head);

create index ready_fair on ready (lane, priority, fairness_key, turn) where fairness_key is not null;

create index ready_slots on ready (concurrency_key) where lane = '' and concurrency_key is not null;

-- The turn of who comes into a lane: in the next round, or where several of its fairness key are there in the one after the
-- last of them. A run that is taken up again has had its turn.
create function next_turn(in_lane text, of_priority smallint, of_key text, again boolean) returns bigint
language sql stable
return greatest(
  0,
  (select min(turn) from ready where lane = in_lane and priority = of_priority) + case when again then 0 else 1 end,
  case when not again then (
    select max(turn) + 1 from ready where lane = in_lane and priority = of_priority and fairness_key = of_key
  ) end
);

-- Give the next thread in the lane of a key a slot, if one is free; whether it did. Who gives or takes slots of a key does it
-- one after the other, and sees what was done before: from here to the end of the transaction.
create function settle(of_key text) returns boolean language plpgsql as $$
declare
  allowed bigint := coalesce(
    (select most from concurrency_limits where concurrency_key = of_key),
    (select most from concurrency_limits where concurrency_key = '')
  );
begin
  perform pg_advisory_xact_lock(x'7475726e'::int, hashtext(of_key));
  update ready
  set lane = '', turn = next_turn('', priority, fairness_key, false)
  where thread_id = (
    select thread_id from ready where lane = of_key
    order by priority desc, turn, head
    limit 1
    for update skip locked
  ) and (
    allowed is null
    or (select count(*) from runs where concurrency_key = of_key and status = 'running')
      + (select count(*) from ready where concurrency_key = of_key and lane = '') < allowed
  );
  return found;
end
$$;

-- Give a thread the place its runs have a right to, or none. It keeps what it has as long as that is right. `freed` is a key
-- of which a run has given its slot back.
create function queue_thread(id text, freed text) returns void language plpgsql as $$
declare
  place ready;
  first record;
  in_lane text;
  highest smallint;
begin
  select * into place from ready where thread_id = id for update;
  select seq, attempt, fairness_key, concurrency_key into first
  from runs
  where thread_id = id and status = 'pending' and not delayed
    and not exists (select from runs as running where running.thread_id = id and running.status = 'running')
  order by seq
  limit 1;
  if first.seq is null then
    delete from ready where thread_id = id;
  else
    select max(priority) into highest from runs where thread_id = id and status = 'pending' and not delayed;
    if place.thread_id is not null and place.concurrency_key is not distinct from first.concurrency_key then
      in_lane := place.lane;
    else
      in_lane := coalesce(first.concurrency_key, '');
    end if;
    if (place.lane, place.priority) is distinct from (in_lane, highest)
      or place.fairness_key is distinct from first.fairness_key
    then
      place.turn := next_turn(in_lane, highest, first.fairness_key, first.attempt > 0);
    end if;
    insert into ready values (id, in_lane, highest, place.turn, first.seq, first.fairness_key, first.concurrency_key)
    on conflict (thread_id) do update
    set lane = excluded.lane, priority = excluded.priority, turn = excluded.turn, head = excluded.head,
        fairness_key = excluded.fairness_key, concurrency_key = excluded.concurrency_key;
  end if;
  if place.concurrency_key is not distinct from first.concurrency_key then
    perform settle(freed) where freed is not null;
  else
    perform settle(key)
    from (
      select distinct key from unnest(array[freed, place.concurrency_key, first.concurrency_key]) as key
      where key is not null order by key
    ) as keys;
  end if;
end
$$;

-- Its plans are made when the tables are still empty, and are to be right when they are not.
create function run_moved() returns trigger language plpgsql set enable_seqscan = off as $$
begin
  if tg_op = 'UPDATE' and new.status = 'running' then
    delete from ready where thread_id = new.thread_id;
  elsif tg_op = 'INSERT' then
    perform queue_thread(new.thread_id, null);
  else
    perform queue_thread(old.thread_id, case when old.status = 'running' then old.concurrency_key end);
  end if;
  return null;
end
$$;

create trigger runs_admitted after insert on runs for each row
when (new.status = 'running' or new.status = 'pending' and not new.delayed)
execute function run_moved();

create trigger runs_moved after update of status, delayed on runs for each row
when ((old.status, old.delayed) is distinct from (new.status, new.delayed))
execute function run_moved();

create trigger runs_deleted after delete on runs for each row
when (old.status in ('pending', 'running'))
execute function run_moved();
