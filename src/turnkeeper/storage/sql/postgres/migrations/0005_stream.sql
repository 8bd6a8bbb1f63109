-- What processes tell each other, by LISTEN and NOTIFY: a notification says that there is news, the news are rows. Nothing of
-- it is the truth: a database that crashed has it empty, which `stream_life` tells.

-- Lately told, in one order for all: 0 a frame of a run stream, 1 of the event protocol, 2 an end (`data`), 3 a gap.
-- `batch` names what was sent together, `began` is the number of its first item: it is known again when it is sent again.
create unlogged table stream_told (
  seq bigint primary key,
  thread_id text collate "C" not null,
  run_id text collate "C" not null,
  kind smallint not null check (kind between 0 and 3),
  event text not null,
  data bytea not null,
  namespace text not null,
  node text,
  batch bigint not null,
  began bigint not null
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.5);

alter table stream_told alter data set storage external;

create index stream_told_of_thread on stream_told (thread_id, seq);

create index stream_told_ends on stream_told (seq) where kind = 2;

create index stream_told_end_of_run on stream_told (thread_id, run_id) where kind = 2;

-- Which process has listeners for the frames of which thread, in which dialect (the kinds 0 and 1).
create unlogged table stream_readers (
  thread_id text collate "C" not null,
  kind smallint not null,
  process text collate "C" not null,
  primary key (thread_id, kind, process)
);

create index stream_readers_of_process on stream_readers (process);

create unlogged table stream_processes (process text collate "C" primary key, seen timestamptz not null);

-- One row: another `life` says that everything above was lost since.
create unlogged table stream_life (life uuid not null, swept timestamptz not null);

-- The number given last. A sequence, as a row that changes a thousand times a second would slow down with every old
-- transaction that keeps its versions.
create sequence stream_clock;

create function stream_now() returns bigint language sql volatile
return cast(extract(epoch from clock_timestamp()) * 1000000 as bigint);

create function stream_channel() returns text language sql stable
return 'turnkeeper:' || current_schema();

-- One teller at a time: who has his turn sees all that was told before, so that the order of the numbers is that of commits.
create function stream_take_turn() returns void language sql volatile
return pg_advisory_xact_lock(8391739299399560300);

-- The first of some numbers above `above` and all given before: the time in microseconds, or one more than the last.
create function stream_number(above bigint, count integer) returns bigint language plpgsql as $$
declare
  given bigint;
begin
  select greatest(last_value + 1, above + 1, stream_now()) into given from stream_clock;
  perform setval('stream_clock', given + count - 1);
  return given;
end $$;

-- Begin to listen. Answers which life of the tables this is, and the number all later ones are above.
create function stream_begin(_process text, _above bigint) returns table (life uuid, newest bigint, now bigint)
language plpgsql as $$
begin
  perform stream_take_turn();
  insert into stream_life select gen_random_uuid(), clock_timestamp() where not exists (select from stream_life);
  insert into stream_processes values (_process, clock_timestamp())
  on conflict (process) do update set seen = excluded.seen;
  return query select stream_life.life, stream_number(_above, 1), stream_now() from stream_life;
end $$;

-- Carry out a batch of items in their order, all or nothing, and once however often it arrives (`_again`). Durable frames
-- are kept in `events`, too. Kinds beside those of `stream_told`: 4 a run was rolled back, remove what it told from both;
-- 5 a run was deleted, remove its end too (of all runs of the thread, if `_runs` has '').
-- `_news`: JSON, whom it concerns, or null if that is too long. `_said`: notifications for anybody.
-- Answers the number of the first item, the others follow.
create function stream_tell(
  _above bigint, _batch bigint, _again boolean,
  _threads text[], _runs text[], _kinds smallint[], _events text[], _data bytea[], _namespaces text[], _nodes text[],
  _durable boolean[], _news text, _said text[]
) returns table (began bigint, now bigint) language plpgsql as $$
declare
  _began bigint;
  _gone record;
begin
  perform stream_take_turn();
  if _again then
    select told.began into _began from stream_told as told where seq > _above and batch = _batch limit 1;
  end if;
  if _began is null then
    if cardinality(_kinds) > 0 then
      _began := stream_number(_above, cardinality(_kinds));
      insert into stream_told
      select
        _began + item.place - 1, item.thread_id, item.run_id, item.kind, item.event, item.data, item.namespace, item.node,
        _batch, _began
      from unnest(_threads, _runs, _kinds, _events, _data, _namespaces, _nodes)
        with ordinality as item (thread_id, run_id, kind, event, data, namespace, node, place)
      where item.kind < 4;
      if true = any(_durable) then
        insert into events (seq, thread_id, run_id, event, data, namespace, node, protocol)
        select
          _began + item.place - 1, item.thread_id, item.run_id, item.event, item.data, item.namespace, item.node,
          item.kind = 1
        from unnest(_threads, _runs, _kinds, _events, _data, _namespaces, _nodes, _durable)
          with ordinality as item (thread_id, run_id, kind, event, data, namespace, node, durable, place)
        where item.durable
        on conflict (seq) do nothing;
      end if;
      for _gone in
        select _began + item.place - 1 as seq, item.thread_id, item.run_id, item.kind
        from unnest(_threads, _runs, _kinds) with ordinality as item (thread_id, run_id, kind, place)
        where item.kind > 3
      loop
        delete from stream_told as told
        where told.thread_id = _gone.thread_id and told.seq < _gone.seq
          and _gone.run_id in ('', told.run_id) and (_gone.kind = 5 or told.kind <> 2);
        if _gone.run_id = '' then
          delete from events where events.thread_id = _gone.thread_id and events.seq < _gone.seq;
        else
          delete from events where events.run_id = _gone.run_id and events.seq < _gone.seq;
        end if;
      end loop;
      perform pg_notify(
        stream_channel(),
        json_build_array('told', _began + cardinality(_kinds) - 1, cast(_news as json))::text
      );
    end if;
  end if;
  perform pg_notify(stream_channel(), said) from unnest(_said) as said;
  return query select _began, stream_now();
end $$;

-- Begin to listen to feeds: what is known of each after a number, and how its run ended. Those who execute runs hear that
-- somebody listens to their threads. `_kinds`: null for who waits for the end only; `_runs`: '' for a whole thread.
-- Answers for place 0 the number all later ones are above, for each feed by its place the rows, oldest first. What no run
-- says is not found again.
create function stream_look(
  _process text, _above bigint, _threads text[], _kinds smallint[], _runs text[], _after bigint[]
) returns table (
  place bigint, seq bigint, thread_id text, run_id text, kind smallint, event text, data bytea, namespace text, node text
) language plpgsql as $$
declare
  _newest bigint;
  _fresh record;
  _feed record;
begin
  perform stream_take_turn();
  select greatest(last_value, _above) into _newest from stream_clock;
  perform setval('stream_clock', _newest);
  for _fresh in
    insert into stream_readers
    select distinct feed.thread_id, feed.kind, _process
    from unnest(_threads, _kinds) as feed (thread_id, kind)
    where feed.kind is not null
    on conflict do nothing
    returning stream_readers.thread_id, stream_readers.kind
  loop
    perform pg_notify(stream_channel(), json_build_array('wanted', _fresh.thread_id, _fresh.kind)::text);
  end loop;
  return query select cast(0 as bigint), _newest, '', '', cast(0 as smallint), '', cast('' as bytea), '', '';
  for _feed in  -- one after the other: joined, all that was told would be read
    select *
    from unnest(_threads, _kinds, _runs, _after) with ordinality as feed (thread_id, kind, run_id, after, place)
  loop
    return query
    select
      _feed.place, told.seq, told.thread_id, told.run_id, told.kind, told.event, told.data, told.namespace, told.node
    from stream_told as told
    where told.thread_id = _feed.thread_id and told.seq > _feed.after and told.kind = _feed.kind
      and told.run_id <> '' and _feed.run_id in ('', told.run_id)
    order by told.seq;
    return query
    select
      _feed.place, told.seq, told.thread_id, told.run_id, told.kind, told.event, told.data, told.namespace, told.node
    from stream_told as told
    where told.thread_id = _feed.thread_id and told.run_id = _feed.run_id and told.kind = 2
    order by told.seq;
  end loop;
end $$;
