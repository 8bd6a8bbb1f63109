"""Reading requests: what is refused, and whether the refusal says what would have been right."""

import json
import uuid
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.requests import Request

from turnkeeper.errors import Impossible, Invalid, TooLarge
from turnkeeper.http import requests
from turnkeeper.http.requests import DEEPEST, as_uuid, body, choice, flag, nesting, number, path_id, words

LIMIT = 10_000


class Inner(msgspec.Struct):
    color: Literal["red", "blue"] | None = None
    colors: list[Literal["red", "blue"]] | None = None


class Body(msgspec.Struct):
    """The shapes that bodies are made of."""

    mode: Literal["a", "b"] | list[Literal["a", "b"]] | None = None
    status: Literal["on", "off"] | None = None
    inner: Inner | None = None
    inners: list[Inner] | None = None
    later: "Later | None" = None
    count: int | None = None
    free: msgspec.Raw = msgspec.Raw(b"null")
    text: str | None = None


class Later(msgspec.Struct):
    size: Literal["s", "m"]


def asked(
    content: bytes | Iterable[bytes] = b"",
    *,
    query: str = "",
    path: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Request:
    """A request as Starlette hands it over."""
    chunks = [content] if isinstance(content, bytes) else list(content)
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    waiting = iter([*messages, {"type": "http.request", "body": b""}])

    async def receive() -> Any:
        return next(waiting)

    scope = {
        "type": "http",
        "method": "POST",
        "query_string": query.encode(),
        "path_params": path or {},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in (headers or {}).items()],
        "app": SimpleNamespace(state=SimpleNamespace(settings=SimpleNamespace(max_body=LIMIT))),
    }
    return Request(scope, receive)


async def read(content: bytes | Iterable[bytes], kind: Any = Body, *, content_length: str | None = None) -> Any:
    headers = {} if content_length is None else {"content_length": content_length}
    return await body(asked(content, headers=headers), kind)


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_no_body_is_an_empty_one() -> None:
    assert await read(b"") == Body()


async def test_a_body_in_pieces_is_put_together() -> None:
    assert (await read([b'{"cou', b'nt": ', b"7}"])).count == 7


async def test_fields_nobody_knows_are_passed_over() -> None:
    assert await read(b'{"unknown": 1}') == Body()


@pytest.mark.parametrize(
    "content",
    [b"{", b"nope", b"{} {}", b"{'a': 1}", b"\xff", b'{"text": "\xff"}', b'{"free": [1,]}', b'{"free": NaN}', b"\x00"],
)
async def test_what_is_not_json_is_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        await read(content)


@pytest.mark.parametrize("content", [b'{"free": 1e999}', b'{"free": -1E+400}', b'{"free": "\\ud800"}'])
async def test_values_that_nobody_could_read_later_are_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        await read(content)


@pytest.mark.parametrize(
    "content",
    [
        b'{"free": 1e300, "text": "1e000 e999"}',
        b'{"free": "\\ud83d\\ude00"}',
        b'{"free": 12345678901234567890123}',
        b'{"text": "' + b"7" * 400 + b'"}',
    ],
)
async def test_values_that_only_look_unreadable_are_taken(content: bytes) -> None:
    assert await read(content) == msgspec.json.decode(content, type=Body)


async def test_a_wrong_type_is_told_with_its_place() -> None:
    with pytest.raises(Invalid, match=r"count"):
        await read(b'{"count": "seven"}')
    with pytest.raises(Invalid, match=r"object"):
        await read(b"[]")


# --- the limit --------------------------------------------------------------------------------------------------------


async def test_a_body_may_be_as_long_as_the_limit() -> None:
    content = json.dumps({"text": "x" * (LIMIT - len('{"text": ""}'))}).encode()
    assert len(content) == LIMIT

    assert len((await read(content, content_length=str(LIMIT))).text) == LIMIT - len('{"text": ""}')


async def test_an_announced_body_that_is_too_long_is_not_even_read() -> None:
    request = asked(b"")

    async def never() -> AsyncIterator[bytes]:
        pytest.fail("the body was read")
        yield b""

    request.stream = never  # pyright: ignore[reportAttributeAccessIssue]
    request.scope["headers"] = [(b"content-length", str(LIMIT + 1).encode())]

    with pytest.raises(TooLarge, match="max_body"):
        await body(request, Body)


async def test_a_body_that_grows_too_long_is_dropped_on_the_way() -> None:
    taken: list[int] = []

    def chunks() -> Iterable[bytes]:
        for count in range(100):
            taken.append(count)
            yield b" " * (LIMIT // 4)

    request = asked(b"")
    source = iter(chunks())

    async def stream() -> AsyncIterator[bytes]:
        for chunk in source:
            yield chunk

    request.stream = stream  # pyright: ignore[reportAttributeAccessIssue]

    with pytest.raises(TooLarge, match=str(LIMIT)):
        await body(request, Body)
    assert len(taken) == 5


@pytest.mark.parametrize("announced", ["-1", "abc", "", "1e9", "²"])
async def test_a_senseless_announcement_changes_nothing(announced: str) -> None:
    request = asked(b'{"count": 1}')
    request.scope["headers"] = [(b"content-length", announced.encode("latin-1"))]

    assert (await body(request, Body)).count == 1


# --- NUL --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "string",
    [r'"\u0000"', r'"a\u0000b"', r'"\\\u0000"', r'"\\\\\u0000"', r'"\u0000\\u0000"', r'"\\u0000\u0000"'],
)
@pytest.mark.parametrize("where", ['{"free": %s}', '{"text": %s}', '{"free": {%s: 1}}', '{"free": [[%s]]}'])
async def test_the_nul_character_is_refused_wherever_it_hides(string: str, where: str) -> None:
    """Databases and C libraries take it for the end of the text."""
    with pytest.raises(Invalid, match="NUL"):
        await read((where % string).encode())


@pytest.mark.parametrize(
    "string", [r'"\\u0000"', r'"\\\\u0000"', r'"u0000"', r'"\\\\\\u0000"', r'"\u0001"', r'"\\\u0001"']
)
async def test_what_only_looks_like_nul_is_taken(string: str) -> None:
    read_back = await read(f'{{"text": {string}}}'.encode())

    assert read_back.text == json.loads(string)


# --- depth ------------------------------------------------------------------------------------------------------------


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * levels + closing * levels


async def test_a_body_may_be_as_deep_as_the_limit() -> None:
    content = b'{"free": ' + nested(DEEPEST - 1) + b"}"

    assert bytes((await read(content)).free) == nested(DEEPEST - 1)


@pytest.mark.parametrize(
    "deep",
    [
        nested(DEEPEST),
        nested(4000),
        nested(DEEPEST, b'{"a":', b"}").replace(b":}", b":1}"),
        b"[" + b"[1]," * 500 + nested(DEEPEST) + b"]",
        b'["[", "\\"]", ' + nested(DEEPEST) + b', "]"]',
    ],
)
async def test_a_body_that_is_too_deep_is_refused(deep: bytes) -> None:
    with pytest.raises(Impossible, match="nested"):
        await read(b'{"free": ' + deep + b"}")


async def test_brackets_in_strings_are_no_depth() -> None:
    text = '[{"' * 1000 + "\\"

    assert (await read(json.dumps({"text": text}).encode())).text == text


async def test_many_brackets_side_by_side_are_no_depth() -> None:
    content = json.dumps({"free": [[{}]] * 1000}).encode()

    assert json.loads(bytes((await read(content)).free)) == [[{}]] * 1000


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(
    st.recursive(
        st.text(st.sampled_from('[]{}"\\,a')) | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[]{}"\\')), inner),
    ),
    st.integers(0, 20),
)
@settings(max_examples=50)
@example(["\\"], 3)
@example(['"', "[", "", "]"], 9)
def test_depth_is_measured_exactly_once_there_are_brackets_enough(value: Any, around: int) -> None:
    for _ in range(around):
        value = [value, '["']
    content = json.dumps([value, *[[]] * (DEEPEST + 1)]).encode()

    assert nesting(content) == depth([value, []])


@given(st.text(st.sampled_from('[]{}"\\,1')))
def test_measuring_takes_any_text(content: str) -> None:
    nesting(content.encode() + b"[" * (DEEPEST + 1))


# --- enums ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        (b'{"status": "x"}', "allowed are on, off"),
        (b'{"mode": "x"}', "allowed are a, b"),
        (b'{"mode": ["a", "x"]}', "allowed are a, b"),
        (b'{"inner": {"color": "x"}}', "allowed are red, blue"),
        (b'{"inner": {"colors": ["red", "x"]}}', "allowed are red, blue"),
        (b'{"inners": [{}, {"color": "x"}]}', "allowed are red, blue"),
        (b'{"later": {"size": "x"}}', "allowed are s, m"),
    ],
)
async def test_a_word_that_is_not_allowed_is_answered_with_those_that_are(content: bytes, allowed: str) -> None:
    with pytest.raises(Invalid) as refused:
        await read(content)

    assert "'x'" in str(refused.value)
    assert str(refused.value).endswith(allowed)


async def test_words_are_explained_in_lists_of_bodies_too() -> None:
    with pytest.raises(Invalid, match=r"allowed are on, off$"):
        await read(b'[{}, {"status": "x"}]', list[Body])


def test_a_place_we_cannot_find_is_still_told() -> None:
    error = msgspec.ValidationError("Invalid enum value 'x' - at `$.gone.away`")

    assert requests.explain(error, Body) == str(error)


# --- ids and query parameters -----------------------------------------------------------------------------------------


def test_a_uuid_is_taken_in_any_spelling() -> None:
    given = uuid.uuid4()

    for spelling in (str(given), str(given).upper(), given.hex, f"{{{given}}}"):
        assert as_uuid(spelling, "thread") == str(given)


@pytest.mark.parametrize("given", ["", "1", "x" * 36, "../../etc", str(uuid.UUID(int=1)) + "0", "\x00"])
def test_what_is_no_uuid_is_refused_by_name(given: str) -> None:
    with pytest.raises(Invalid, match="Invalid thread ID"):
        path_id(asked(path={"thread_id": given}), "thread_id", "thread")


@pytest.mark.parametrize(
    ("query", "expected"),
    [("f=true", True), ("f=1", True), ("f=True", True), ("f=false", False), ("f=0", False), ("f=FALSE", False)],
)
def test_flags_are_yes_or_no(query: str, expected: bool) -> None:
    assert flag(asked(query=query), "f", default=not expected) is expected


@pytest.mark.parametrize("query", ["", "f=", "g=1"])
@pytest.mark.parametrize("default", [False, True])
def test_a_flag_that_is_not_given_has_its_default(query: str, default: bool) -> None:
    assert flag(asked(query=query), "f", default=default) is default


@pytest.mark.parametrize("given", ["yes", "2", "tru", "null"])
def test_any_other_flag_is_refused_with_the_words_that_count(given: str) -> None:
    with pytest.raises(Invalid, match=rf"f: '{given}' is not allowed; allowed are true, false, 1, 0"):
        flag(asked(query=f"f={given}"), "f")


def test_a_choice_is_one_of_a_few_words() -> None:
    assert choice(asked(query="c=a"), "c", ("a", "b"), None) == "a"
    assert choice(asked(query="c="), "c", ("a", "b"), "b") == "b"
    with pytest.raises(Invalid, match="c: 'x' is not allowed; allowed are a, b"):
        choice(asked(query="c=x"), "c", ("a", "b"), None)


@pytest.mark.parametrize("given", ["1", "10", "1000"])
def test_a_number_within_its_bounds_is_taken(given: str) -> None:
    assert number(asked(query=f"n={given}"), "n", default=5, least=1, most=1000) == int(given)


def test_a_number_that_is_not_given_has_its_default() -> None:
    assert number(asked(), "n", default=5, least=1) == 5


@pytest.mark.parametrize("given", ["0", "-1", "1001", "1.5", "ten", "1e3", "9" * 30, "9" * 5000])
def test_any_other_number_is_refused_with_the_bounds(given: str) -> None:
    with pytest.raises(Invalid, match="allowed are whole numbers from 1 to 1000"):
        number(asked(query=f"n={given}"), "n", default=5, least=1, most=1000)


def test_a_number_the_database_could_not_hold_is_refused() -> None:
    with pytest.raises(Invalid, match=r"allowed are whole numbers from 0$"):
        number(asked(query=f"n={2**63}"), "n", default=0, least=0)


@pytest.mark.parametrize(
    "query",
    ["m=a&m=b", "m=a,b", "m=%5B%22a%22,%22b%22%5D", "m=a&m=%5B%22b%22%5D", "m=a,&m=,b", "m=&m=a&m=b"],
    ids=["repeated", "commas", "JSON", "mixed", "empty words", "empty parameter"],
)
def test_a_list_may_be_written_in_each_of_the_three_ways(query: str) -> None:
    assert words(asked(query=query), "m", ("a", "b")) == ["a", "b"]


def test_a_list_that_is_not_given_is_empty() -> None:
    assert words(asked(query="n=a"), "m", ("a", "b")) == []


@pytest.mark.parametrize("query", ["m=x", "m=a,x", "m=%5B%22x%22%5D"])
def test_a_word_of_a_list_that_is_not_allowed_is_refused(query: str) -> None:
    with pytest.raises(Invalid, match="m: 'x' is not allowed; allowed are a, b"):
        words(asked(query=query), "m", ("a", "b"))


@pytest.mark.parametrize("given", ["[", "[1]", '["a"', '[["a"]]'])
def test_a_list_that_is_no_list_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="is no list of words"):
        words(asked(query=f"m={given}"), "m", ("a", "b"))
