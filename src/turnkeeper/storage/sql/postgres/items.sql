-- Differs: the table is that of LangGraph's own store, which knows its statements itself.

-- name: sweep_items
-- Remove the longest expired items, not more than `:most` at once. The table is that of LangGraph's store.
delete from store
where (prefix, key) in (
  select prefix, key from store where expires_at <= to_timestamp(:now) order by expires_at limit :most);

-- name: has_pgvector
-- Whether vectors can be stored here.
select 1 from pg_available_extensions where name = 'vector';
