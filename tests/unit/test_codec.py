"""Whatever a graph puts into its state becomes JSON: near to what it is, always valid, never an exception."""

import dataclasses
import enum
import json
import math
import uuid
from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import MagicMock

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.types import Command, Interrupt, Send

from turnkeeper.codec import decode, encode, raw, text

BIG = 2**70
SURROGATE = "a\ud800z"


class Point(NamedTuple):
    x: int
    y: Any


Pair = namedtuple("Pair", "a b")  # noqa: PYI024  # pyright: ignore[reportUntypedNamedTuple] - this kind exists, too


@dataclasses.dataclass
class Data:
    said: Any
    _private: int = 1


@dataclasses.dataclass
class Unset:
    here: int
    missing: int = dataclasses.field(init=False)


@dataclasses.dataclass(slots=True)
class Slotted:
    said: Any


class Struct(msgspec.Struct):
    said: Any


class Model(pydantic.BaseModel):
    said: Any = None


class Tree(pydantic.BaseModel):
    branches: "list[Tree]" = []


class Color(enum.Enum):
    RED = "red"


class Word(enum.StrEnum):
    RED = "red"


class OldWord(str, enum.Enum):  # noqa: UP042 - what people write
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


class LegacyModel:
    def dict(self) -> Any:
        return {"said": "legacy"}


class Endless:
    def dict(self) -> Any:
        return {"again": self}


class Restless:
    def dict(self) -> Any:
        return Restless()


class Plain:
    pass


class Rude:
    """Misbehaves in every way a codec may touch an object."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


class HalfMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


class MyString(str):
    __slots__ = ()


class MyDict(dict[str, Any]):
    pass


def cycle_of_lists() -> Any:
    one: list[Any] = []
    one += [one, one, one]
    return one


def cycle_of_dicts() -> Any:
    parent: dict[str, Any] = {"name": "parent"}
    parent["children"] = [{"name": str(n), "parent": parent} for n in range(3)]
    return parent


def cycle_through_dataclass() -> Any:
    data = Data(None)
    data.said = [data, data]
    return data


def cycle_through_struct() -> Any:
    struct = Struct(None)
    struct.said = [struct, struct]
    return struct


def cycle_of_models() -> Any:
    tree = Tree()
    tree.branches += [tree, tree]
    return tree


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for level in range(levels):
        value = [value] if level % 2 else {"in": value}
    return value


def generator() -> Iterator[int]:
    yield 1


class Strange(NamedTuple):
    name: str
    make: Callable[[], Any]


STRANGE = [
    Strange("big", lambda: BIG),
    Strange("very big", lambda: 10**5000),
    Strange("big negative", lambda: -BIG),
    Strange("nan", lambda: math.nan),
    Strange("inf", lambda: math.inf),
    Strange("surrogate", lambda: SURROGATE),
    Strange("surrogate key", lambda: {SURROGATE: 1}),
    Strange("bytes", lambda: b"\xff\x00"),
    Strange("bytearray", lambda: bytearray(b"\xff")),
    Strange("memoryview", lambda: memoryview(b"\xff")),
    Strange("set", lambda: {1}),
    Strange("frozenset", lambda: frozenset({"a"})),
    Strange("tuple", lambda: (1, (2,))),
    Strange("deque", lambda: deque([1, 2])),
    Strange("range", lambda: range(3)),
    Strange("complex", lambda: 1j),
    Strange("decimal", lambda: Decimal("1.10")),
    Strange("datetime", lambda: datetime(2027, 1, 2, tzinfo=UTC)),
    Strange("date", lambda: date(2027, 1, 2)),
    Strange("timedelta", lambda: timedelta(seconds=1)),
    Strange("uuid", lambda: uuid.UUID(int=1)),
    Strange("path", lambda: Path("/a")),
    Strange("ellipsis", lambda: ...),
    Strange("class", lambda: Plain),
    Strange("pydantic class", lambda: Model),
    Strange("dataclass class", lambda: Data),
    Strange("namedtuple class", lambda: Point),
    Strange("function", lambda: generator),
    Strange("generator", generator),
    Strange("module", lambda: json),
    Strange("exception", lambda: ValueError("no", Plain())),
    Strange("object", Plain),
    Strange("rude", Rude),
    Strange("rude key", lambda: {Rude(): 1}),
    Strange("half mapping", HalfMapping),
    Strange("mock", MagicMock),
    Strange("namespace", lambda: SimpleNamespace(a=1)),
    Strange("ordered dict", lambda: OrderedDict(a=1)),
    Strange("user dict", lambda: UserDict(a=1)),
    Strange("mapping proxy", lambda: MappingProxyType({"a": 1})),
    Strange("dict subclass", lambda: MyDict(a=1)),
    Strange("str subclass", lambda: MyString("a")),
    Strange("enum", lambda: Color.RED),
    Strange("namedtuple", lambda: Point(1, b"\xff")),
    Strange("untyped namedtuple", lambda: Pair(1, 2)),
    Strange("dataclass", lambda: Data({1})),
    Strange("unset field", lambda: Unset(1)),
    Strange("slots", lambda: Slotted(b"\xff")),
    Strange("struct", lambda: Struct({1})),
    Strange("struct of objects", lambda: Struct(Plain())),
    Strange("model", lambda: Model(said=b"\xff")),
    Strange("model of objects", lambda: Model(said=Plain())),
    Strange("legacy model", LegacyModel),
    Strange("endless", Endless),
    Strange("restless", Restless),
    Strange("odd keys", lambda: {1: 1, 1.5: 1, None: 1, False: 1, (1, 2): 1, b"k": 1, Color.RED: 1, Plain(): 1}),
    Strange("cycle of lists", cycle_of_lists),
    Strange("cycle of dicts", cycle_of_dicts),
    Strange("cycle through dataclass", cycle_through_dataclass),
    Strange("cycle through struct", cycle_through_struct),
    Strange("cycle of models", cycle_of_models),
    Strange("deep", lambda: deep(100_000)),
    Strange("message", lambda: AIMessage("hi", tool_calls=[{"name": "t", "args": {"b": 1}, "id": "1"}])),
    Strange("message of surrogates", lambda: HumanMessage(SURROGATE)),
    Strange("tool message of objects", lambda: ToolMessage("hi", tool_call_id="1", artifact=Plain())),
    Strange("document", lambda: Document("hi", metadata={"b": b"\xff"})),
    Strange("interrupt", lambda: Interrupt(value={1}, id="i")),
    Strange("command", lambda: Command(goto=Send("node", {1}))),
]


@pytest.mark.parametrize("make", [strange.make for strange in STRANGE], ids=[strange.name for strange in STRANGE])
@pytest.mark.parametrize("beside", [1, BIG, SURROGATE], ids=["usual", "big neighbour", "surrogate neighbour"])
def test_every_value_becomes_json(make: Callable[[], Any], beside: Any) -> None:
    """Also next to a value that forces the slow way."""
    for value in (make(), [make(), beside], {"deep": [{"in": make()}], "beside": beside}):
        encoded = encode(value)

        json.loads(encoded.decode("utf-8"), parse_constant=pytest.fail)
        msgspec.json.decode(encoded)


@pytest.mark.parametrize("beside", [1, BIG], ids=["usual", "slow"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (BIG, BIG),
        (-BIG, -BIG),
        (2**64 - 1, 2**64 - 1),
        (math.nan, None),
        (-math.inf, None),
        (SURROGATE, "a?z"),
        (b"\xff\x00", "/wA="),
        (bytearray(b"\xff\x00"), "/wA="),
        (memoryview(b"\xff\x00"), "/wA="),
        ({1}, [1]),
        ((1, (2,)), [1, [2]]),
        (Color.RED, "red"),
        ([Word.RED, OldWord.RED, Number.ONE, MyString("a")], ["red", "red", 1, "a"]),
        (MyDict(a={1}), {"a": [1]}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (Data("x"), {"said": "x"}),
        (Slotted("x"), {"said": "x"}),
        (Struct({1}), {"said": [1]}),
        (Model(said={"a": (1,)}), {"said": {"a": [1]}}),
        (LegacyModel(), {"said": "legacy"}),
        (ValueError("no"), "ValueError('no')"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime(2027, 1, 2, tzinfo=UTC), "2027-01-02T00:00:00+00:00"),
        (Decimal("1.10"), "1.10"),
        ({None: 1, True: 2, 3: 4}, {"null": 1, "true": 2, "3": 4}),
    ],
)
def test_a_value_is_said_as_near_as_json_can(value: Any, expected: Any, beside: Any) -> None:
    assert json.loads(encode([value, beside])) == [expected, beside]


def test_a_datetime_says_the_same_both_ways() -> None:
    moment = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)

    read = {datetime.fromisoformat(json.loads(encode([moment, beside]))[0]) for beside in (1, BIG)}

    assert read == {moment}


def test_a_cycle_ends_where_it_begins() -> None:
    assert json.loads(encode(cycle_of_lists())) == ["...", "...", "..."]
    said = json.loads(encode(cycle_of_dicts()))
    assert said["name"] == "parent"
    assert said["children"][2] == {"name": "2", "parent": "..."}


def test_a_value_that_is_there_twice_is_said_twice() -> None:
    shared = {"a": [1]}

    assert json.loads(encode([shared, shared, BIG])) == [{"a": [1]}, {"a": [1]}, BIG]


def test_deep_values_are_cut_but_usual_depths_are_not() -> None:
    assert json.loads(encode(deep(150))) == deep(150)
    assert b'"..."' in encode(deep(1000))


def test_messages_keep_what_clients_read() -> None:
    message = AIMessage("hi", id="m", tool_calls=[{"name": "t", "args": {"b": 1}, "id": "1"}])

    for said in (json.loads(encode(message)), json.loads(encode([message, BIG]))[0]):
        assert (said["type"], said["content"], said["id"]) == ("ai", "hi", "m")
        assert said["tool_calls"][0]["args"] == {"b": 1}


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_json_comes_back_as_it_went(value: Any) -> None:
    assert decode(encode(value)) == value
    assert decode(text(value)) == value
    assert decode(raw(value)) == value


@given(plain)
def test_both_ways_of_encoding_say_the_same(value: Any) -> None:
    assert json.loads(encode([value, BIG]))[0] == json.loads(encode(value))


odd_text = st.text(st.characters(exclude_categories=()))
odd_keys = odd_text | st.integers() | st.binary() | st.none() | st.booleans()
odd = st.one_of(
    plain,
    st.binary(),
    st.integers(),
    st.floats(),
    odd_text,
    st.sets(st.integers()),
    st.datetimes(timezones=st.just(UTC)),
    st.decimals(),
    st.uuids(),
    st.builds(Data, st.binary()),
    st.builds(Model, said=st.floats()),
    st.builds(Point, st.integers(), st.binary()),
)


@given(st.recursive(odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(odd_keys, inner, max_size=3)))
def test_no_mixture_of_odd_values_is_too_odd(value: Any) -> None:
    json.loads(encode(value), parse_constant=pytest.fail)
