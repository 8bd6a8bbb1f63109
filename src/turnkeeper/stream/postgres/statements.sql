-- name: configure
-- A connection of the bus: what it writes need not survive a power cut, no answer is waited for longer than `patience`
-- (milliseconds), and each statement sees what was committed while it waited for its turn. Answers the channel.
select stream_channel()
from
  (select
    set_config('synchronous_commit', 'off', false),
    set_config('default_transaction_isolation', 'read committed', false),
    set_config('statement_timeout', %(patience)s, false),
    set_config('lock_timeout', %(patience)s, false)
  offset 0) as configured;

-- name: begin
select life, newest, now from stream_begin(%(process)s, %(above)s);

-- name: tell
select began, now from stream_tell(
  %(above)s, %(batch)s, %(again)s,
  %(threads)s, %(runs)s, cast(%(kinds)s as smallint[]), %(events)s, %(data)b, %(namespaces)s, %(nodes)s,
  %(durable)s, %(news)s, %(said)s);

-- name: say
select pg_notify(stream_channel(), said) from unnest(cast(%(said)s as text[])) as said;

-- name: look
select place, seq, thread_id, run_id, kind, event, data, namespace, node
from stream_look(
  %(process)s, %(above)s, %(threads)s, cast(%(kinds)s as smallint[]), %(runs)s, cast(%(after)s as bigint[]));

-- name: ask
-- Which of these threads anybody listens to, in which dialect.
select distinct thread_id, kind from stream_readers where thread_id = any(cast(%(threads)s as text[]));

-- name: announce
-- This process listens to threads, and said so before to a database that may have forgotten it.
insert into stream_readers
select reader.thread_id, reader.kind, %(process)s
from unnest(cast(%(threads)s as text[]), cast(%(kinds)s as smallint[])) as reader (thread_id, kind)
on conflict do nothing;

-- name: leave
-- This process does not listen to threads any more.
delete from stream_readers
using unnest(cast(%(threads)s as text[]), cast(%(kinds)s as smallint[])) as gone (thread_id, kind)
where stream_readers.thread_id = gone.thread_id and stream_readers.kind = gone.kind and process = %(process)s;

-- name: fetch
-- What was told after a number up to another, of some threads (or of all, if null): not more than fits into a mouthful.
select seq, thread_id, run_id, kind, event, data, namespace, node
from (
  select *, sum(octet_length(data)) over (order by seq) - octet_length(data) as before
  from (
    select * from stream_told
    where seq > %(after)s and seq <= %(upto)s
      and (cast(%(threads)s as text[]) is null or thread_id = any(cast(%(threads)s as text[])))
    order by seq
    limit %(most)s
  ) as next
) as told
where before < %(bytes)s
order by seq;

-- name: beat
-- This process is there, and hears what the time is. Says whether it was taken for gone.
insert into stream_processes values (%(process)s, clock_timestamp())
on conflict (process) do update set seen = excluded.seen
returning xmax = 0 as unknown, stream_now() as now;

-- name: part
-- This process ends.
with gone as (delete from stream_processes where process = %(process)s)
delete from stream_readers where process = %(process)s;

-- name: take_broom
-- One process at a time, and not again before `pause` seconds are over.
update stream_life set swept = clock_timestamp()
where swept < clock_timestamp() - make_interval(secs => %(pause)s)
returning true;

-- name: sweep_processes
-- Those that are silent listen to nothing.
with gone as (
  delete from stream_processes where seen < clock_timestamp() - make_interval(secs => %(silent)s) returning process
)
delete from stream_readers
where process in (select process from gone) or process not in (select process from stream_processes);

-- name: sweep_ended
-- What runs told that ended a while ago.
delete from stream_told
where seq in (
  select told.seq
  from stream_told as ending
    join stream_told as told on told.thread_id = ending.thread_id and told.run_id = ending.run_id and told.seq <= ending.seq
  where ending.kind = 2 and ending.seq < %(ended)s
  order by told.seq
  limit %(most)s
  for update of told skip locked)
returning seq;

-- name: sweep_old
-- What runs told that never ended, or nobody.
delete from stream_told
where seq in (select seq from stream_told where seq < %(old)s order by seq limit %(most)s for update skip locked)
returning seq;

-- name: too_long
-- From which number on a thread keeps its frames, where it told more than is kept; what is new may not have been read yet.
select thread_id, max(seq)
from (
  select thread_id, seq, sum(octet_length(data)) over (partition by thread_id order by seq desc) as size
  from stream_told
  where kind < 2 and thread_id in (
    select thread_id from stream_told where kind < 2 group by thread_id having sum(octet_length(data)) > %(longest)s)
) as told
where size > %(longest)s and seq < %(read)s
group by thread_id;

-- name: trim
delete from stream_told
where seq in (
  select seq from stream_told
  where thread_id = %(thread)s and seq <= %(upto)s and kind < 2
  order by seq
  limit %(most)s
  for update skip locked)
returning seq;
