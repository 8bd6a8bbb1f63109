"""The store graphs get: what LangGraph's own `InMemoryStore` does, ours does too, and keeps it on disk."""

import asyncio
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.config import get_store
from langgraph.graph import StateGraph
from langgraph.runtime import Runtime
from langgraph.store import memory
from langgraph.store.base import (
    BaseStore,
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from tests.conformance.conftest import new_file
from turnkeeper.storage.sqlite.database import MEMORY, Database
from turnkeeper.storage.sqlite.items import SQL, SWEEP, SqliteStore
from turnkeeper.storage.sqlite.matching import fits, span

START = 1_800_000_000.0
MINUTE = 60.0


class Time:
    """A clock that stands still until told otherwise."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@contextmanager
def opened(path: str) -> Generator[Database]:
    if path != MEMORY and not Path(path).exists():
        Path(path).write_bytes(new_file())
    database = Database(path)
    database.open()
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "items.db")


@pytest.fixture
def database(file: str) -> Iterator[Database]:
    with opened(file) as database:
        yield database


@pytest.fixture
def sqlite(database: Database, time: Time) -> SqliteStore:
    return SqliteStore(database, time)


@pytest.fixture(params=["file", "memory", "stock"])
def store(request: pytest.FixtureRequest, file: str, time: Time) -> Iterator[BaseStore]:
    """Ours on a file, ours in memory, and the stock one as the judge of both."""
    if request.param == "stock":
        yield InMemoryStore()
        return
    with opened(file if request.param == "file" else MEMORY) as database:
        yield SqliteStore(database, time)


def keys(found: Any) -> list[str]:
    return [item.key for item in found]


# --- what both stores do ----------------------------------------------------------------------------------------------


def test_what_was_put_is_got_back(store: BaseStore) -> None:
    value = {"text": "naïve ☃", "n": [1, 2.5, None, True], "deep": {"er": {}}}

    store.put(("users", "u1"), "prefs", value)

    item = store.get(("users", "u1"), "prefs")
    assert item is not None
    assert (item.namespace, item.key, item.value) == (("users", "u1"), "prefs", value)
    assert item.created_at.tzinfo is not None
    assert item.dict()["updated_at"] == item.updated_at.isoformat()


async def test_what_was_put_is_got_back_without_blocking(store: BaseStore) -> None:
    await store.aput(("users",), "prefs", {"a": 1})

    item = await store.aget(("users",), "prefs")
    found = await store.asearch(("users",))

    assert item is not None
    assert item.value == {"a": 1}
    assert [(one.key, one.score) for one in found] == [("prefs", None)]
    assert await store.alist_namespaces() == [("users",)]
    await store.adelete(("users",), "prefs")
    assert await store.aget(("users",), "prefs") is None


def test_an_item_that_is_not_there_is_none(store: BaseStore) -> None:
    store.put(("a",), "k", {})

    assert store.get(("a",), "other") is None
    assert store.get(("a", "b"), "k") is None
    store.delete(("nowhere",), "k")


def test_a_second_put_replaces_the_value_whole(store: BaseStore) -> None:
    store.put(("a",), "k", {"old": 1})
    store.put(("a",), "k", {"new": 2})

    item = store.get(("a",), "k")
    assert item is not None
    assert item.value == {"new": 2}
    assert len(store.search(("a",))) == 1


def test_a_change_to_a_result_does_not_change_the_store(sqlite: SqliteStore) -> None:
    sqlite.put(("a",), "k", {"list": [1]})
    item = sqlite.get(("a",), "k")
    assert item is not None
    item.value["list"].append(2)

    again = sqlite.get(("a",), "k")
    assert again is not None
    assert again.value == {"list": [1]}


def test_reads_of_a_batch_see_what_was_there_before_its_puts(store: BaseStore) -> None:
    store.put(("a",), "k", {"v": 1})
    ops: list[Op] = [
        PutOp(("a",), "k", {"v": 2}),
        PutOp(("b",), "k", {"v": 3}),
        GetOp(("a",), "k"),
        SearchOp(()),
        ListNamespacesOp(),
        PutOp(("a",), "k", None),
        PutOp(("a",), "k", {"v": 4}),
    ]

    results: list[Any] = store.batch(ops)

    assert results[:2] + results[5:] == [None] * 4
    assert results[2].value == {"v": 1}
    assert [item.value for item in results[3]] == [{"v": 1}]
    assert results[4] == [("a",)]
    assert [item.value for item in store.search(("a",))] == [{"v": 4}]
    assert [item.value for item in store.search(("b",))] == [{"v": 3}]


def test_a_batch_with_something_unknown_changes_nothing(store: BaseStore) -> None:
    unknown: Any = "put"
    with pytest.raises(ValueError, match="Unknown operation"):
        store.batch([PutOp(("a",), "k", {}), unknown])

    assert store.search(()) == []


def test_an_empty_batch_and_a_generator_are_batches(store: BaseStore) -> None:
    assert store.batch([]) == []
    store.batch(PutOp(("a",), key, {}) for key in "xy")
    assert sorted(keys(store.search(("a",)))) == ["x", "y"]


@pytest.mark.parametrize("label", ["a.b", "", 7])
def test_a_label_that_could_be_mistaken_is_refused(store: BaseStore, label: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        store.put((label,), "k", {})
    with pytest.raises(InvalidNamespaceError):
        store.get((label,), "k")


AWKWARD = ["a", "ab", "a\x01", "a-", "a/", "a0", "A", "%", "_", "*", "é", "e\u0301", "\U0010ffff", "a b", '"', "'", "["]


@pytest.mark.parametrize("prefix", AWKWARD)
def test_a_prefix_matches_whole_labels_only(store: BaseStore, prefix: str) -> None:
    for label in AWKWARD:
        store.put((label,), "top", {})
        store.put((label, "b"), "below", {})

    found = store.search((prefix,), limit=100)

    assert sorted((item.namespace, item.key) for item in found) == [((prefix,), "top"), ((prefix, "b"), "below")]
    assert len(store.search((), limit=100)) == 2 * len(AWKWARD)


def test_pages_of_a_search_meet_without_gap_or_overlap(store: BaseStore) -> None:
    for number in range(7):
        store.put(("a",), str(number), {"even": number % 2 == 0})

    def paged(wanted: dict[str, Any] | None) -> list[str]:
        return [
            key for start in range(0, 9, 3) for key in keys(store.search(("a",), filter=wanted, limit=3, offset=start))
        ]

    assert sorted(paged(None)) == list("0123456")
    assert sorted(paged({"even": True})) == list("0246")
    assert store.search(("a",), limit=0) == []
    assert len(store.search(("a",), limit=-2)) == 5


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"n": 5}, "i"),
        ({"n": {"$eq": 5}}, "i"),
        ({"n": {"$ne": 5}}, "jk"),
        ({"n": {"$gt": 5}}, "j"),
        ({"n": {"$gte": 5}}, "ij"),
        ({"n": {"$lt": 7.5}}, "i"),
        ({"n": {"$lte": 7.5, "$gt": 5}}, "j"),
        ({"n": {"$lt": float("inf")}}, "ij"),
        ({"n": {"$gt": "5.5"}}, "j"),
        ({"n": None}, "k"),
        ({"tags": ["x", "y"]}, "i"),
        ({"tags": ("x", "y")}, "i"),
        ({"tags": {"$eq": ["x", "y"]}}, "i"),
        ({"tags": ["x"]}, ""),
        ({"deep": {"er": 1}}, "i"),
        ({"deep": {"er": {"$gte": 1}}}, "ij"),
        ({"deep": {}}, "ij"),
        ({"deep": {"$eq": {"er": 2}}}, "j"),
        ({"n": 5, "tags": ["z"]}, ""),
        ({"$gt": 5}, ""),
        ({}, "ijk"),
        (None, "ijk"),
    ],
)
def test_a_filter_finds(store: BaseStore, wanted: dict[str, Any] | None, expected: str) -> None:
    store.put(("a",), "i", {"n": 5, "tags": ["x", "y"], "deep": {"er": 1, "more": True}})
    store.put(("a",), "j", {"n": 7.5, "deep": {"er": 2}})
    orderings = wanted is not None and any(name in str(wanted) for name in ("$gt", "$lt"))
    if not (orderings and isinstance(store, InMemoryStore)):  # there, what has no order fails
        store.put(("a",), "k", {"text": "n"})

    found = {"i", "j", "k"} & set(keys(store.search(("a",), filter=wanted)))

    assert found == set(expected)


def test_an_operator_there_is_not_is_refused(store: BaseStore) -> None:
    store.put(("a",), "k", {"n": 1})

    with pytest.raises(ValueError, match="Unsupported operator: \\$in"):
        store.search(("a",), filter={"n": {"$in": [1]}})


def test_a_query_without_an_index_is_no_filter(store: BaseStore) -> None:
    store.put(("a",), "k", {"text": "apple"}, index=["text"])

    assert keys(store.search(("a",), query="pear")) == ["k"]


LISTED = [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "b", "d", "i"), ("a", "b", "f"), ("a", "c", "f"), ("ab", "c")]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ({}, LISTED),
        ({"prefix": ("a", "b")}, LISTED[:4]),
        ({"prefix": ("a",), "max_depth": 2}, [("a", "b"), ("a", "c")]),
        ({"prefix": ("a", "b"), "max_depth": 3}, [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]),
        ({"prefix": ("a", "*", "f")}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"prefix": ("*", "c")}, [("a", "c", "f"), ("ab", "c")]),
        ({"suffix": ("f",)}, [("a", "b", "f"), ("a", "c", "f")]),
        ({"suffix": ("d", "*")}, [("a", "b", "d", "e"), ("a", "b", "d", "i")]),
        ({"prefix": ("a", "b"), "suffix": ("f",)}, [("a", "b", "f")]),
        ({"prefix": ("a", "b", "c", "d", "e")}, []),
        ({"limit": 2, "offset": 1}, LISTED[1:3]),
        ({"max_depth": 1, "limit": 1, "offset": 1}, [("ab",)]),
    ],
)
def test_namespaces_are_listed(store: BaseStore, question: dict[str, Any], expected: list[tuple[str, ...]]) -> None:
    for namespace in reversed(LISTED):
        store.put(namespace, "k", {})
        store.put(namespace, "l", {})

    assert store.list_namespaces(**question) == expected


def test_a_match_that_is_no_match_type_is_refused(store: BaseStore) -> None:
    store.put(("a",), "k", {})
    infix: Any = "infix"

    with pytest.raises(ValueError, match="Unsupported match type"):
        store.batch([ListNamespacesOp((MatchCondition(infix, ("a",)),))])


class State(TypedDict):
    seen: int


async def test_a_graph_remembers_across_runs(store: BaseStore) -> None:
    async def count(state: State, runtime: Runtime) -> State:
        assert runtime.store is not None
        before = await runtime.store.aget(("counts",), "runs")
        seen = 1 if before is None else before.value["seen"] + 1
        await runtime.store.aput(("counts",), "runs", {"seen": seen})
        return {"seen": seen}

    def note(state: State) -> None:
        get_store().put(("notes",), str(state["seen"]), dict(state))

    graph = StateGraph(State).add_sequence([count, note]).set_entry_point("count").compile(store=store)

    assert [(await graph.ainvoke({"seen": 0}))["seen"] for _ in range(3)] == [1, 2, 3]
    assert sorted(keys(store.search(("notes",)))) == ["1", "2", "3"]


# --- any sequence of operations ---------------------------------------------------------------------------------------

LABELS = st.sampled_from(["a", "ab", "a\x01", "a/", "*", "é"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
KEYS = st.sampled_from(["k", "K", "k\x00l", ""])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "1", "x", "2024-01-01", "\x00☃"])
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2)
)
VALUES = st.dictionaries(st.sampled_from("xyz"), JSON, max_size=3)
COMPARISONS = st.dictionaries(st.sampled_from(["$eq", "$ne"]), JSON, min_size=1) | st.dictionaries(
    st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 2) | st.floats(allow_nan=False), min_size=1
)
FILTERS = st.none() | st.dictionaries(st.sampled_from("xyz"), JSON | COMPARISONS, max_size=2)
BOUNDS = st.integers(-2, 5)
CONDITIONS = st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PREFIXES)
OPS = st.one_of(
    st.builds(PutOp, NAMESPACES, KEYS, VALUES, st.none(), st.none()),
    st.builds(PutOp, NAMESPACES, KEYS, st.none(), st.none(), st.none()),
    st.builds(GetOp, NAMESPACES, KEYS),
    st.builds(SearchOp, PREFIXES, FILTERS, BOUNDS, BOUNDS, st.none()),
    st.builds(
        ListNamespacesOp,
        st.lists(CONDITIONS, max_size=2).map(tuple),
        st.none() | st.integers(0, 2),
        BOUNDS,
        BOUNDS,
    ),
)


class Judge:
    """The stock store, but it lists the last put first, forgets empty namespaces and finds nothing incomparable."""

    def __init__(self) -> None:
        self._store = InMemoryStore()
        self._puts: list[tuple[tuple[str, ...], str]] = []

    def batch(self, ops: list[Op]) -> list[Any]:
        answers = [self._answer(op) for op in ops]
        self._store.batch(ops)
        latest = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        self._puts = [place for place in self._puts if place not in latest] + list(latest)
        return answers

    def _answer(self, op: Op) -> Any:
        data = self._store._data
        for namespace in [namespace for namespace, items in data.items() if not items]:
            del data[namespace]
        if isinstance(op, PutOp):
            return None
        if not isinstance(op, SearchOp):
            return plain(self._store.batch([op])[0])
        found: Any = self._store.batch([op._replace(limit=10**6, offset=0)])[0]
        found.sort(key=lambda item: self._puts.index((item.namespace, item.key)), reverse=True)
        return plain(found[op.offset : op.offset + op.limit])


def plain(result: Any) -> Any:
    """An answer without its times, which the two stores take from different clocks."""
    if isinstance(result, list):
        return [plain(one) for one in result]
    return (result.namespace, result.key, result.value) if hasattr(result, "value") else result


def forgiving(apply: Callable[..., bool]) -> Callable[..., bool]:
    def applied(*arguments: Any) -> bool:
        with suppress(TypeError, ValueError):
            return apply(*arguments)
        return False

    return applied


@settings(max_examples=60)
@given(st.lists(st.lists(OPS, max_size=6), max_size=8), st.booleans())
def test_any_operations_are_answered_as_by_the_stock_store(batches: list[list[Op]], sync: bool) -> None:
    judge = Judge()
    with opened(MEMORY) as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_apply_operator", forgiving(memory._apply_operator))
        ours = SqliteStore(database, Time())
        for ops in batches:
            answers: list[Any] = ours.batch(ops) if sync else asyncio.run(ours.abatch(ops))
            assert plain(answers) == judge.batch(ops)


@given(JSON, st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), JSON)
def test_no_comparison_fails(value: Any, name: str, operand: Any) -> None:
    assert fits({"x": value}, {"x": {name: operand}}) in (True, False)


# --- what ours does besides -------------------------------------------------------------------------------------------


def test_items_outlive_the_server(file: str, time: Time) -> None:
    with opened(file) as database:
        SqliteStore(database, time).put(("a",), "k", {"v": 1})
    with opened(file) as database:
        item = SqliteStore(database, time).get(("a",), "k")

    assert item is not None
    assert item.value == {"v": 1}
    assert item.created_at == datetime.fromtimestamp(START, UTC)


async def test_items_put_at_the_same_time_are_all_kept(sqlite: SqliteStore) -> None:
    await asyncio.gather(*(sqlite.aput(("a",), str(number), {}) for number in range(200)))

    assert len(await sqlite.asearch(("a",), limit=1000)) == 200


def test_a_replaced_item_keeps_its_birthday(sqlite: SqliteStore, time: Time) -> None:
    sqlite.put(("a",), "k", {})
    time.now += MINUTE
    sqlite.put(("a",), "k", {})

    item = sqlite.get(("a",), "k")
    assert item is not None
    assert item.updated_at - item.created_at == timedelta(minutes=1)


def test_the_last_updated_comes_first(sqlite: SqliteStore) -> None:
    for key in "xyzx":
        sqlite.put(("a", key), key, {"v": 1})
    sqlite.get(("a", "y"), "y")

    assert keys(sqlite.search(("a",))) == ["x", "z", "y"]
    assert keys(sqlite.search((), filter={"v": 1}, limit=2)) == ["x", "z"]


def test_a_namespace_lives_as_long_as_its_items(sqlite: SqliteStore) -> None:
    sqlite.get(("phantom",), "k")
    sqlite.put(("a",), "k", {})
    assert sqlite.list_namespaces() == [("a",)]

    sqlite.delete(("a",), "k")
    assert sqlite.list_namespaces() == []


@pytest.mark.parametrize("op", [PutOp(("a.b",), "k", {}), GetOp(("a", ""), "k"), SearchOp(("a.b",))])
def test_no_door_takes_a_label_that_could_be_mistaken(sqlite: SqliteStore, op: Op) -> None:
    with pytest.raises(InvalidNamespaceError, match="no period"):
        sqlite.batch([op])


def test_half_a_batch_is_never_kept(sqlite: SqliteStore) -> None:
    with pytest.raises(ValueError):  # a key that is no text: half of a character
        sqlite.batch([PutOp(("a",), "k", {}), PutOp(("a",), "\ud800", {})])

    assert sqlite.search(("a",)) == []


def test_reads_of_a_batch_see_one_moment(sqlite: SqliteStore) -> None:
    class Meddling(dict[str, Any]):
        def items(self) -> Any:
            sqlite.put(("a",), "k", {"v": 2})  # from elsewhere, between two reads
            return super().items()

    sqlite.put(("a",), "k", {"v": 1})

    first, found, last = sqlite.batch([GetOp(("a",), "k"), SearchOp((), Meddling(v=2)), GetOp(("a",), "k")])

    assert found == []
    assert plain(first) == plain(last) == (("a",), "k", {"v": 1})
    assert plain(sqlite.get(("a",), "k")) == (("a",), "k", {"v": 2})


@pytest.mark.parametrize("there", [{}, {"d": None}, {"d": []}, {"d": {"x": 1}}, {"d": 20250101}, {"d": True}])
def test_a_date_is_compared_with_dates_only(sqlite: SqliteStore, there: dict[str, Any]) -> None:
    sqlite.put(("a",), "odd", there)
    sqlite.put(("a",), "old", {"d": "2024-12-31"})
    sqlite.put(("a",), "new", {"d": "2025-06-01"})

    assert keys(sqlite.search(("a",), filter={"d": {"$gte": "2025-01-01"}})) == ["new"]


def test_a_filter_finds_what_json_changed(sqlite: SqliteStore) -> None:
    day = datetime(2025, 6, 1, tzinfo=UTC)
    sqlite.put(("a",), "k", {"at": day, "pair": (1, 2)})

    assert keys(sqlite.search(("a",), filter={"at": day, "pair": {"$eq": (1, 2)}})) == ["k"]
    assert keys(sqlite.search(("a",), filter={"at": {"$lt": day}})) == []


# --- items that expire ------------------------------------------------------------------------------------------------


def lives(store: SqliteStore, key: str = "k") -> bool:
    """Whether the item can be seen, and the same through every door, without prolonging its life."""
    seen = [
        store.get(("a",), key, refresh_ttl=False) is not None,
        key in keys(store.search(("a",), refresh_ttl=False)),
        ("a",) in store.list_namespaces(),
    ]
    assert len(set(seen)) == 1
    return seen[0]


def test_an_expired_item_is_gone_at_once(sqlite: SqliteStore, time: Time) -> None:
    sqlite.put(("a",), "k", {}, ttl=1)
    time.now += MINUTE - 1
    assert lives(sqlite)

    time.now += 1
    assert not lives(sqlite)


@pytest.mark.parametrize("read", ["get", "search"])
@pytest.mark.parametrize("refresh", [True, False])
async def test_a_read_prolongs_a_life_unless_told_not_to(
    sqlite: SqliteStore, time: Time, read: str, refresh: bool
) -> None:
    await sqlite.aput(("a",), "k", {}, ttl=1)
    time.now += 40
    if read == "get":
        await sqlite.aget(("a",), "k", refresh_ttl=refresh)
    else:
        await sqlite.asearch(("a",), refresh_ttl=refresh)
    time.now += MINUTE - 1
    assert lives(sqlite) is refresh

    time.now += 1
    assert not lives(sqlite)


def test_only_what_a_search_gave_lives_longer(sqlite: SqliteStore, time: Time) -> None:
    sqlite.put(("a",), "old", {}, ttl=1)
    sqlite.put(("a",), "new", {}, ttl=1)
    time.now += 40
    assert keys(sqlite.search(("a",), limit=1)) == ["new"]
    time.now += 40

    assert keys(sqlite.search(("a",))) == ["new"]


def test_a_read_neither_revives_the_dead_nor_ends_the_immortal(sqlite: SqliteStore, time: Time) -> None:
    sqlite.put(("a",), "mortal", {}, ttl=1)
    sqlite.put(("a",), "immortal", {})
    time.now += 2 * MINUTE

    assert sqlite.get(("a",), "mortal") is None
    assert keys(sqlite.search(("a",))) == ["immortal"]
    time.now += 1e9
    assert keys(sqlite.search(("a",))) == ["immortal"]


def test_a_new_put_decides_anew_when_an_item_ends(sqlite: SqliteStore, time: Time) -> None:
    sqlite.put(("a",), "k", {}, ttl=1)
    time.now += 2 * MINUTE
    sqlite.put(("a",), "k", {})

    item = sqlite.get(("a",), "k")
    assert item is not None
    assert item.created_at == item.updated_at  # born again, not continued
    time.now += 1e9
    assert lives(sqlite)


def test_the_configured_ttl_holds_for_items_put_without_one(database: Database, time: Time) -> None:
    store = SqliteStore(database, time, {"default_ttl": 1, "refresh_on_read": False})
    store.put(("a",), "k", {})
    store.put(("b",), "forever", {}, ttl=None)
    time.now += 40
    assert keys(store.search(("a",))) == ["k"]
    time.now += 40

    assert not lives(store)
    assert keys(store.search(())) == ["forever"]


async def test_a_sweep_removes_what_has_expired_and_nothing_else(
    sqlite: SqliteStore, database: Database, time: Time
) -> None:
    expiring = [PutOp(("a",), str(number), {}, ttl=1) for number in range(SWEEP + 1)]
    await sqlite.abatch([*expiring, PutOp(("a",), "later", {}, ttl=3), PutOp(("a",), "never", {})])

    assert await sqlite.sweep(START) == 0
    assert await sqlite.sweep(START + 2 * MINUTE) == SWEEP + 1
    left = database.read_sync(lambda connection: connection.execute("select key from items").fetchall())
    assert left == [("later",), ("never",)]


def test_a_read_without_a_ttl_does_not_write(
    sqlite: SqliteStore, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite.put(("a",), "k", {})
    monkeypatch.setattr(database, "write_sync", None)

    assert sqlite.get(("a",), "k") is not None
    assert keys(sqlite.search(("a",))) == ["k"]


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        (SQL.get_item, "(namespace=? AND key=?)"),
        (SQL.search_items, "(namespace>? AND namespace<?)"),
        (SQL.list_namespaces, "(namespace>? AND namespace<?)"),
        (SQL.sweep_items, "items_expiring (expires_at<?)"),
        (SQL.refresh_items, "USING INTEGER PRIMARY KEY"),
    ],
)
def test_no_statement_reads_or_sorts_the_whole_table(database: Database, statement: str, step: str) -> None:
    first, last = span(("a",))
    parameters = {"namespace": "a.", "key": "k", "first": first, "last": last, "now": START, "seqs": "[]"}
    parameters |= {"limit": 10, "offset": 0, "most": 10}

    plan = database.read_sync(
        lambda connection: connection.execute(f"explain query plan {statement}", parameters).fetchall()
    )

    steps = [row[-1] for row in plan]
    assert any(step in line for line in steps), steps
    assert not any(line.startswith(("SCAN items", "USE TEMP B-TREE")) for line in steps), steps
