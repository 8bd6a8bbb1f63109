"""Assistants and their versions."""

import json
from typing import Any

import msgspec
import pytest

from tests.conformance.conftest import ASSISTANT, Kit, assistant
from turnkeeper.contracts import Storage
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.types import Assistant, NewThread, Select, uuid7


def js(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


async def make(storage: Storage, **fields: Any) -> Assistant:
    metadata = js(fields.pop("metadata", {}))
    return await storage.assistants.create(assistant(uuid7(), metadata=metadata, **fields), exist_ok=False)


async def found(storage: Storage, select: Select | None = None, **filters: Any) -> list[str]:
    """The names a search finds; a filter that is not a string is sent as JSON."""
    sent = {name: given if isinstance(given, str) else json.dumps(given) for name, given in filters.items()}
    page = await storage.assistants.search(sent, select or Select(limit=100, sort_by="name", descending=False))
    assert page.total == await storage.assistants.count(sent)
    return [each.name for each in page.items]


async def test_a_new_assistant_is_stored_as_it_was_given(storage: Storage) -> None:
    given = assistant(name="Ada", description="helps", config=js({"tags": ["x"]}), context=js({"k": 1}))

    made = await storage.assistants.create(given, exist_ok=False)

    assert made == await storage.assistants.get(given.assistant_id)
    times = {"created_at": made.created_at, "updated_at": made.created_at}
    assert made == msgspec.structs.replace(given, **times)
    assert (made.version, made.created_at) == (1, made.updated_at)


async def test_an_id_is_taken_once(storage: Storage) -> None:
    first = await make(storage, name="Ada")
    second = assistant(first.assistant_id, name="Bob")

    with pytest.raises(Conflict, match=first.assistant_id):
        await storage.assistants.create(second, exist_ok=False)

    assert await storage.assistants.create(second, exist_ok=True) == first
    assert await storage.assistants.get(first.assistant_id) == first


async def test_an_update_makes_a_version_and_keeps_what_it_does_not_name(storage: Storage) -> None:
    made = await make(storage, name="Ada", description="helps", metadata={"kept": 1, "replaced": {"old": 1}})

    changes = {"name": "Grace", "metadata": {"replaced": {"new": 1}}, "config": '{"tags":["x"]}'}
    updated = await storage.assistants.update(made.assistant_id, changes)

    assert (updated.version, updated.name, updated.description) == (2, "Grace", "helps")
    assert json.loads(bytes(updated.metadata)) == {"kept": 1, "replaced": {"new": 1}}
    assert json.loads(bytes(updated.config)) == {"tags": ["x"]}
    assert updated == await storage.assistants.get(made.assistant_id)


async def test_versions_are_counted(storage: Storage) -> None:
    made = await make(storage)

    versions = [(await storage.assistants.update(made.assistant_id, {"name": name})).version for name in "abc"]

    assert versions == [2, 3, 4]


async def test_a_description_can_be_taken_away(storage: Storage) -> None:
    made = await make(storage, description="helps")

    assert (await storage.assistants.update(made.assistant_id, {"description": None})).description is None


async def test_a_deleted_assistant_is_gone_and_can_be_made_anew(storage: Storage) -> None:
    made = await make(storage)
    await storage.assistants.update(made.assistant_id, {"name": "Ada"})

    await storage.assistants.delete(made.assistant_id)

    assert await found(storage) == []
    again = await storage.assistants.create(assistant(made.assistant_id), exist_ok=False)
    assert again.version == 1


async def test_an_unknown_assistant_is_not_found_by_any_verb(storage: Storage) -> None:
    assistants, assistant_id = storage.assistants, uuid7()

    with pytest.raises(NotFound):
        await assistants.get(assistant_id)
    with pytest.raises(NotFound):
        await assistants.update(assistant_id, {"name": "Ada"})
    with pytest.raises(NotFound):
        await assistants.delete(assistant_id)


async def test_the_threads_of_an_assistant_are_those_that_name_it(storage: Storage) -> None:
    mine, other = uuid7(), uuid7()
    await storage.threads.create(NewThread(mine, {"assistant_id": "a", "graph_id": "agent"}), exist_ok=False)
    await storage.threads.create(NewThread(other, {"assistant_id": "b"}), exist_ok=False)
    await storage.threads.create(NewThread(uuid7(), {}), exist_ok=False)

    assert await storage.assistants.threads("a") == [mine]
    assert await storage.assistants.threads("c") == []


async def test_assistants_are_found_by_graph_name_and_metadata(storage: Storage) -> None:
    await make(storage, name="Ada Lovelace", graph_id="agent", metadata={"team": {"id": 1}})
    await make(storage, name="Grace", graph_id="agent", metadata={"team": {"id": True}})
    await make(storage, name="Linus", graph_id="other")

    assert await found(storage) == ["Ada Lovelace", "Grace", "Linus"]
    assert await found(storage, graph_id="agent") == ["Ada Lovelace", "Grace"]
    assert await found(storage, graph_id="age") == []
    assert await found(storage, name="LOVE") == ["Ada Lovelace"]
    assert await found(storage, name="%") == []
    assert await found(storage, metadata={"team": {"id": 1}}) == ["Ada Lovelace"]
    assert await found(storage, metadata={"team": {"id": True}}) == ["Grace"]
    assert await found(storage, metadata={"team": {}}, graph_id="other") == []


async def test_pages_add_up_to_everything(storage: Storage) -> None:
    for name in "abcde":
        await make(storage, name=name)

    pages = [
        await storage.assistants.search({}, Select(limit=2, offset=offset, sort_by="name")) for offset in range(0, 8, 2)
    ]

    assert [each.name for page in pages for each in page.items] == list("edcba")
    assert {page.total for page in pages} == {5}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort_by", ["assistant_id", "graph_id", "name", "created_at", "updated_at"])
async def test_assistants_are_sorted_by_what_was_asked_for(kit: Kit, sort_by: str, descending: bool) -> None:
    assistants = kit.storage.assistants
    await assistants.delete(ASSISTANT)
    made: list[Assistant] = []
    for name, graph_id in zip("bca", "zxy", strict=True):
        kit.clock.now += 1
        made.append(await make(kit.storage, name=name, graph_id=graph_id))
    kit.clock.now += 1
    await assistants.update(made[1].assistant_id, {})

    page = await assistants.search({}, Select(sort_by=sort_by, descending=descending))

    keys = [getattr(each, sort_by) for each in page.items]
    assert len(set(keys)) == 3
    assert keys == sorted(keys, reverse=descending)
