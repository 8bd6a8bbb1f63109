-- name: get_item
-- One live item.
select seq, ttl_minutes is not null, namespace, key, created_at, updated_at, value
from items
where namespace = :namespace and key = :key and (expires_at is null or expires_at > :now);

-- name: put_item
-- Make or replace an item. A replaced one keeps its birthday and gets the highest `seq`: it is the last updated.
insert or replace into items (namespace, key, ttl_minutes, expires_at, created_at, updated_at, value)
values (
  :namespace, :key, :ttl_minutes, :now + :ttl_minutes * 60,
  coalesce(
    (select created_at from items
     where namespace = :namespace and key = :key and (expires_at is null or expires_at > :now)), :at),
  :at, :value);

-- name: delete_item
-- Remove an item, if it is there.
delete from items where namespace = :namespace and key = :key;

-- name: search_items
-- The live items of a range of namespaces, last updated first. Only their `seq`, found in the index alone, is sorted,
-- so rows are read one by one and no more than asked for.
select seq, ttl_minutes is not null, namespace, key, created_at, updated_at, value
from items
where seq in (select seq from items where namespace >= :first and namespace < :last)
  and (expires_at is null or expires_at > :now)
order by seq desc
limit :limit offset :offset;

-- name: list_namespaces
-- The namespaces of a range that hold a live item: a hop through the index per namespace, however many items each has.
with recursive spaces (namespace) as (
  select min(namespace) from items where namespace >= :first and namespace < :last
  union all
  select (select min(namespace) from items where namespace > spaces.namespace and namespace < :last)
  from spaces
  where spaces.namespace is not null
)
select namespace
from spaces
where exists (
  select 1 from items where items.namespace = spaces.namespace and (expires_at is null or expires_at > :now));

-- name: refresh_items
-- These items were read: their time to live starts again.
update items
set expires_at = :now + ttl_minutes * 60
where seq in (select value from json_each(:seqs)) and ttl_minutes is not null;

-- name: sweep_items
-- Remove the longest expired items, not more than `:most` at once.
delete from items
where seq in (select seq from items where expires_at <= :now order by expires_at limit :most);
