-- name: get_assistant
-- One assistant as it is now.
select assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at
from assistants
where assistant_id = :assistant_id;

-- name: insert_assistant
-- Make an assistant; no row when the id is taken.
insert into assistants (assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at)
values (:assistant_id, :graph_id, :name, :description, :config, :context, :metadata, 1, :now, :now)
on conflict (assistant_id) do nothing
returning assistant_id;

-- name: update_assistant
-- Replace an assistant's content with that of a new version.
update assistants
set graph_id = :graph_id, name = :name, description = :description, config = :config, context = :context,
    metadata = :metadata, version = :version, updated_at = :now
where assistant_id = :assistant_id;

-- name: next_version
-- The number after the highest this assistant ever had.
select coalesce(max(version), 0) + 1 from assistant_versions where assistant_id = :assistant_id;

-- name: insert_version
-- Keep what an assistant is at this version.
insert into assistant_versions (assistant_id, version, graph_id, name, description, config, context, metadata, created_at)
select assistant_id, version, graph_id, name, description, config, context, metadata, updated_at
from assistants
where assistant_id = :assistant_id;

-- name: list_versions
-- What an assistant was at each of its versions, newest first.
select assistant_id, graph_id, name, description, config, context, metadata, version, created_at
from assistant_versions
where assistant_id = :assistant_id
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata))
order by version desc
limit :limit offset :offset;

-- name: restore_version
-- Make an assistant what it was at a version; no row when it never was.
update assistants
set graph_id = old.graph_id, name = old.name, description = old.description, config = old.config,
    context = old.context, metadata = old.metadata, version = old.version, updated_at = :now
from assistant_versions as old
where assistants.assistant_id = :assistant_id
  and old.assistant_id = :assistant_id
  and old.version = :version
returning assistants.assistant_id;

-- name: delete_assistant
-- Remove an assistant and its versions.
delete from assistants where assistant_id = :assistant_id returning assistant_id;

-- name: search_assistants
-- Assistants that match, sorted; the last column counts all that match.
select assistant_id, graph_id, name, description, config, context, metadata, version, created_at, updated_at, count(*) over ()
from assistants
where (cast(:graph_id as text) is null or graph_id = :graph_id)
  and (cast(:name as text) is null or strpos(lower(name), lower(:name)) > 0)
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata))
order by
  case when :descending then case :sort_by
    when 'assistant_id' then assistant_id when 'graph_id' then graph_id when 'name' then name
    when 'updated_at' then updated_at else created_at end end desc,
  case when not :descending then case :sort_by
    when 'assistant_id' then assistant_id when 'graph_id' then graph_id when 'name' then name
    when 'updated_at' then updated_at else created_at end end asc,
  assistant_id desc
limit :limit offset :offset;

-- name: count_assistants
-- How many assistants match.
select count(*)
from assistants
where (cast(:graph_id as text) is null or graph_id = :graph_id)
  and (cast(:name as text) is null or strpos(lower(name), lower(:name)) > 0)
  and (cast(:metadata as text) is null or json_contains(metadata, :metadata));

-- name: threads_of_assistant
-- The threads that say they belong to an assistant.
select thread_id from threads where json_document(metadata) ->> 'assistant_id' = :assistant_id;

-- name: lock_assistant
-- Differs: only here. From here to the end of the transaction nobody else changes the assistant.
select assistant_id from assistants where assistant_id = :assistant_id for update;
