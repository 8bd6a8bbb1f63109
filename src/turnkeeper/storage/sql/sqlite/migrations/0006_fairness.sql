alter table runs add column priority integer not null default 0 check (priority between -100 and 100);

alter table runs add column fairness_key text;

alter table runs add column concurrency_key text;

-- Whether the run still waits for its time. That it has come is written down, not compared: the clock may be set back.
alter table runs add column delayed integer not null default 0 check (delayed in (0, 1));

drop trigger runs_queued;
drop trigger runs_started;
drop trigger runs_claimed;
drop trigger runs_ended;
drop trigger runs_deleted;
drop table ready;
drop index runs_waiting;

create index runs_waiting on runs (thread_id, delayed, priority) where status = 'pending';

create index runs_due on runs (thread_id, seq) where status = 'pending' and delayed = 0;

create index runs_delayed on runs (due_at) where status = 'pending' and delayed = 1;

create index runs_slots on runs (concurrency_key) where status = 'running' and concurrency_key is not null;

-- How many runs of a key may run at once; the empty key stands for all that are not named.
create table concurrency_limits (
  concurrency_key text primary key,
  most integer not null check (most > 0)
) without rowid;

-- Threads whose next run (`head`) may start, in the order in which they do: by priority, then by turn. A turn is a round in
-- which every fairness key comes once. The lane is empty, or the key whose slots are all taken: nobody looks there until
-- one is free. A thread with a key that stands in the empty lane has its slot already. Kept by triggers, so that no move can
-- forget it.
create table ready (
  thread_id text primary key,
  lane text not null,
  priority integer not null,
  turn integer not null,
  head integer not null,
  fairness_key text,
  concurrency_key text
) without rowid;

create index ready_order on ready (lane, priority desc, turn, head);

create index ready_fair on ready (lane, priority, fairness_key, turn) where fairness_key is not null;

create index ready_slots on ready (concurrency_key) where lane = '' and concurrency_key is not null;

-- These two views are procedures: to insert into one is to call it.
create view queueing as select '' as thread_id;

create view settling as select '' as concurrency_key;

-- Give a thread the place its runs have a right to, or none. It keeps what it has as long as that is right. Who comes new is
-- in the next round, or where several have its fairness key in the one after the last of them; a run that is taken up
-- again has had its turn.
create trigger queue_thread instead of insert on queueing begin
  delete from ready
  where thread_id = new.thread_id and (
    exists (select 1 from runs where thread_id = new.thread_id and status = 'running')
    or not exists (select 1 from runs where thread_id = new.thread_id and status = 'pending' and delayed = 0)
  );
  insert into ready (thread_id, lane, priority, turn, head, fairness_key, concurrency_key)
  select thread_id, lane, priority,
    max(
      coalesce((
        select min(turn) + (found.attempt = 0) from ready where lane = found.lane and priority = found.priority
      ), 0),
      coalesce((
        select max(turn) + 1 from ready
        where lane = found.lane and priority = found.priority and fairness_key = found.fairness_key and found.attempt = 0
      ), 0)
    ),
    seq, fairness_key, concurrency_key
  from (
    select seq, thread_id, attempt, fairness_key, concurrency_key,
      coalesce((
        select lane from ready where ready.thread_id = runs.thread_id and ready.concurrency_key is runs.concurrency_key
      ), concurrency_key, '') as lane,
      (
        select max(priority) from runs as queue
        where queue.thread_id = new.thread_id and queue.status = 'pending' and queue.delayed = 0
      ) as priority
    from runs
    where seq = (
      select seq from runs where thread_id = new.thread_id and status = 'pending' and delayed = 0 order by seq limit 1
    ) and not exists (select 1 from runs where thread_id = new.thread_id and status = 'running')
  ) as found
  where true
  on conflict (thread_id) do update set
    lane = excluded.lane, priority = excluded.priority, head = excluded.head, fairness_key = excluded.fairness_key,
    concurrency_key = excluded.concurrency_key,
    turn = case
      when lane = excluded.lane and priority = excluded.priority and fairness_key is excluded.fairness_key then turn
      else excluded.turn end;
end;

-- Give the next thread in the lane of a key a slot, if one is free.
create trigger settle instead of insert on settling when new.concurrency_key is not null begin
  update ready
  set lane = '',
    turn = max(
      coalesce((select min(turn) + 1 from ready as other where other.lane = '' and other.priority = ready.priority), 0),
      coalesce((
        select max(turn) + 1 from ready as other
        where other.lane = '' and other.priority = ready.priority and other.fairness_key = ready.fairness_key
      ), 0)
    )
  where thread_id = (
    select thread_id from ready where lane = new.concurrency_key order by priority desc, turn, head limit 1
  ) and (
    select count(*) from runs where concurrency_key = new.concurrency_key and status = 'running'
  ) + (
    select count(*) from ready where concurrency_key = new.concurrency_key and lane = ''
  ) < coalesce(
    (select most from concurrency_limits where concurrency_key = new.concurrency_key),
    (select most from concurrency_limits where concurrency_key = ''),
    9e18
  );
end;

create trigger ready_entered after insert on ready when new.concurrency_key is not null begin
  insert into settling values (new.concurrency_key);
end;

create trigger ready_changed after update of concurrency_key on ready
when old.concurrency_key is not new.concurrency_key begin
  insert into settling values (old.concurrency_key);
  insert into settling values (new.concurrency_key);
end;

create trigger ready_left after delete on ready when old.concurrency_key is not null begin
  insert into settling values (old.concurrency_key);
end;

create trigger runs_queued after insert on runs when new.status = 'pending' and new.delayed = 0 begin
  insert into queueing values (new.thread_id);
end;

create trigger runs_joined after update of delayed on runs when new.status = 'pending' begin
  insert into queueing values (new.thread_id);
end;

create trigger runs_started after insert on runs when new.status = 'running' begin
  delete from ready where thread_id = new.thread_id;
end;

create trigger runs_claimed after update of status on runs when new.status = 'running' begin
  delete from ready where thread_id = new.thread_id;
end;

create trigger runs_ended after update of status on runs
when new.status <> 'running' and (
  old.status = 'pending'
  or old.concurrency_key is not null
  or exists (select 1 from runs where thread_id = new.thread_id and status = 'pending' and delayed = 0)
)
begin
  insert into queueing values (new.thread_id);
  insert into settling select old.concurrency_key where old.status = 'running';
end;

create trigger runs_deleted after delete on runs when old.status in ('pending', 'running') begin
  insert into queueing values (old.thread_id);
  insert into settling select old.concurrency_key where old.status = 'running';
end;

-- The next claim finds out which of them are due, and lets them join.
update runs set delayed = 1 where status = 'pending';
