"""Assistants and their versions."""

import json
from typing import Any

import msgspec
import pytest

from tests.conformance.conftest import ASSISTANT, Kit, assistant
from turnkeeper.contracts import Storage
from turnkeeper.errors import Conflict, NotFound
from turnkeeper.types import Assistant, AssistantVersion, NewThread, Select, uuid7


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


async def listed(storage: Storage, assistant_id: str, **given: Any) -> list[AssistantVersion]:
    given = {"metadata": None, "limit": 100, "offset": 0, **given}
    return await storage.assistants.versions(assistant_id, **given)


async def test_versions_say_what_the_assistant_was(kit: Kit) -> None:
    assistants = kit.storage.assistants
    was = [await make(kit.storage, name="one", description="helps", metadata={"a": 1})]
    for changes in ({"graph_id": "other", "config": '{"tags":["x"]}', "context": '{"k":1}'}, {"metadata": {"b": 2}}):
        kit.clock.now += 1
        was.append(await assistants.update(was[0].assistant_id, changes))

    found = await listed(kit.storage, was[0].assistant_id)

    for version, each in zip(found, reversed(was), strict=True):
        fields = msgspec.structs.asdict(each)
        assert fields.pop("updated_at") == version.created_at
        assert msgspec.structs.asdict(version) == {**fields, "created_at": version.created_at}


async def test_versions_are_found_by_metadata_and_page(storage: Storage) -> None:
    made = await make(storage, metadata={"team": {"id": 1}})
    for number in range(2, 5):
        await storage.assistants.update(made.assistant_id, {"metadata": {"team": {"id": number % 2}}})

    async def numbers(**given: Any) -> list[int]:
        return [each.version for each in await listed(storage, made.assistant_id, **given)]

    assert await numbers() == [4, 3, 2, 1]
    assert await numbers(metadata='{"team":{"id":1}}') == [3, 1]
    assert await numbers(metadata='{"team":{"id":true}}') == []
    assert await numbers(limit=2, offset=1) == [3, 2]
    assert await numbers(offset=9) == []


async def test_an_assistant_can_be_made_what_it_was(kit: Kit) -> None:
    assistants = kit.storage.assistants
    first = await make(kit.storage, name="one", description="helps", graph_id="agent", metadata={"a": 1})
    changes = {
        "graph_id": "other",
        "name": "two",
        "description": None,
        "config": '{"tags":["x"]}',
        "metadata": {"b": 1},
    }
    second = await assistants.update(first.assistant_id, {**changes, "context": '{"k":1}'})
    kit.clock.now += 1

    back = await assistants.restore(first.assistant_id, 1)

    assert back == await assistants.get(first.assistant_id)
    assert back == msgspec.structs.replace(first, updated_at=back.updated_at)
    assert back.updated_at > first.updated_at
    forth = await assistants.restore(first.assistant_id, 2)
    assert forth == msgspec.structs.replace(second, updated_at=forth.updated_at)


async def test_a_version_after_a_return_has_a_number_of_its_own(storage: Storage) -> None:
    made = await make(storage, name="one")
    await storage.assistants.update(made.assistant_id, {"name": "two"})
    await storage.assistants.restore(made.assistant_id, 1)

    third = await storage.assistants.update(made.assistant_id, {"description": "new"})

    assert (third.version, third.name) == (3, "one")
    found = await listed(storage, made.assistant_id)
    assert [(each.version, each.name) for each in found] == [(3, "one"), (2, "two"), (1, "one")]


async def test_a_version_that_never_was_changes_nothing(storage: Storage) -> None:
    made, other = await make(storage), await make(storage)
    await storage.assistants.update(other.assistant_id, {})

    for version in (0, 2, 2**63 - 1):
        with pytest.raises(NotFound, match=f"no version {version}"):
            await storage.assistants.restore(made.assistant_id, version)

    assert await storage.assistants.get(made.assistant_id) == made


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
    with pytest.raises(NotFound, match=assistant_id):
        await assistants.versions(assistant_id, metadata=None, limit=1, offset=0)
    with pytest.raises(NotFound, match=f"{assistant_id} not found"):
        await assistants.restore(assistant_id, 1)


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
