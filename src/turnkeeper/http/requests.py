"""Reading requests: bodies, path ids and query parameters, each refused with a message that names the field."""

import re
import uuid
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec
from starlette.requests import Request

from turnkeeper.codec import decode
from turnkeeper.errors import Impossible, Invalid, TooLarge
from turnkeeper.services.requests import BIGGEST

T = TypeVar("T")

DEEPEST = 200
"""Levels of nesting a body may have; deeper ones break the parsers of those who read it later."""

USUALLY_DEEPEST = 8

_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


async def body(request: Request, kind: type[T]) -> T:
    """The request's JSON body as `kind`. Raises `Invalid` or `TooLarge`; an absent body counts as `{}`."""
    return parse(await content(request), kind)


def parse(content: bytes, kind: type[T]) -> T:
    """A JSON text as `kind`. Raises `Invalid`."""
    try:
        _check_values(content)
        return msgspec.json.decode(content or b"{}", type=kind)
    except msgspec.ValidationError as error:
        raise Invalid(explain(error, kind)) from None
    except ValueError:
        raise Invalid("Invalid JSON in request body") from None
    except RecursionError:
        raise Impossible("Recursion limit reached: the body is nested too deep") from None


async def content(request: Request) -> bytes:
    """The raw body. Raises as `body` does."""
    limit: int = request.app.state.settings.max_body
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    found = bytearray()
    async for chunk in request.stream():
        found += chunk
        if len(found) > limit:
            raise _too_large(limit)
    check(found)
    return bytes(found)


def check(content: bytes | bytearray) -> None:
    """Look for what no field may contain. Raises `Invalid` and `Impossible`."""
    if b"\\u0000" in content and _ESCAPED_NUL.search(content):
        raise Invalid("Invalid JSON in request body: a string contains the NUL character (\\u0000)")
    if nesting(content) > DEEPEST:
        raise Impossible(f"Recursion limit reached: the body is nested deeper than {DEEPEST} levels")


def nesting(content: bytes | bytearray) -> int:
    """How deep a JSON text is; 0 if it has few brackets, little more than `DEEPEST` if it is far too deep.

    Made of operations that do not loop in Python: every request goes through here, on the API's event loop.
    """
    if content.count(b"[") + content.count(b"{") <= DEEPEST:
        return 0
    bare = content.replace(rb"\\", b"").replace(rb"\"", b"").translate(_AS_STEPS, _WITHOUT_DEPTH).replace(b'""', b"")
    steps = b"".join(bare.split(b'"')[::2])  # what is left outside of strings: 1 and -1
    if b"\x01" * (DEEPEST + 1) in steps:
        return DEEPEST + 1
    leaves = 0
    while leaves < USUALLY_DEEPEST and b"\x01\xff" in steps:  # each round takes the innermost level away
        steps = steps.replace(b"\x01\xff", b"")
        leaves += 1
    return leaves + max(accumulate(array("b", steps)), default=0)


_AS_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_WITHOUT_DEPTH = bytes(set(range(256)) - set(b'[{]}"'))

_ALIKE = bytes.maketrans(b"123456789ED", b"000000000ed")
_NO_VALUES = (b"e000", b"e+000", b"0" * 300, b"\\ud")
"""What numbers out of range and lone surrogates look like under `_ALIKE`; other things may look so, too."""


def _check_values(content: bytes) -> None:
    """Fields that pass through as they are have to be JSON through and through, too. Raises `ValueError`."""
    content.decode()
    alike = content.translate(_ALIKE)
    if any(suspicious in alike for suspicious in _NO_VALUES):
        decode(content)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"The request body is larger than {limit} bytes (setting max_body).")


def explain(error: msgspec.ValidationError, kind: Any) -> str:
    """What is wrong, where, and what is allowed there."""
    said = str(error)
    if "Invalid enum value" not in said:
        return said
    allowed = dict.fromkeys(_allowed(kind, re.findall(r"\.(\w+)", said.partition("`$")[2])))
    return said + (f": allowed are {', '.join(allowed)}" if allowed else "")


def _allowed(kind: Any, path: Iterable[str]) -> list[str]:
    """The words a field may hold, found along the path to it."""
    for name in path:
        structs = [each for each in _alternatives(kind) if isinstance(each, type) and issubclass(each, msgspec.Struct)]
        kinds = [hints[name] for each in structs if name in (hints := get_type_hints(each))]
        if not kinds:
            return []
        kind = kinds[0]
    return [word for each in _alternatives(kind) if get_origin(each) is Literal for word in get_args(each)]


def _alternatives(kind: Any) -> list[Any]:
    """A type and, in case of a union or a list, what it is made of."""
    inner: tuple[Any, ...] = () if get_origin(kind) is Literal else get_args(kind)
    return [kind, *(each for part in inner for each in _alternatives(part))]


def path_id(request: Request, name: str, noun: str) -> str:
    """A path parameter that is a UUID. Raises `Invalid`."""
    return as_uuid(cast("str", request.path_params[name]), noun)


_USUAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)


def as_uuid(given: str, noun: str) -> str:
    """`given` in the usual spelling of UUIDs. Raises `Invalid`."""
    if _USUAL.fullmatch(given):
        return given
    try:
        return str(uuid.UUID(given))
    except ValueError:
        raise Invalid(f"Invalid {noun} ID: must be a UUID") from None


EVERYTHING = 0
"""What `last_event_id` returns for a replay from the start."""


def last_event_id(request: Request) -> int | None:
    """The event a client has seen last (`Last-Event-ID`): `-1`, `-` or `0` for none, `None` when it does not say.

    Raises `Invalid`.
    """
    given = request.headers.get("last-event-id", "")
    if given in ("-1", "-", "0"):
        return EVERYTHING
    if given and not (given.isascii() and given.isdecimal() and int(given) <= BIGGEST):
        raise Invalid(f"Last-Event-ID: '{given}' is not allowed; allowed are the id of an event, and -1 for all")
    return int(given) if given else None


def flag(request: Request, name: str, *, default: bool = False) -> bool:
    """A yes-or-no query parameter: `true`, `1`, `false`, `0`; empty counts as not given. Raises `Invalid`."""
    given = request.query_params.get(name, "")
    match given.lower():
        case "":
            return default
        case "1" | "true":
            return True
        case "0" | "false":
            return False
        case _:
            raise Invalid(f"{name}: '{given}' is not allowed; allowed are true, false, 1, 0")


def choice(request: Request, name: str, allowed: tuple[str, ...], default: str | None) -> Any:
    """A query parameter that is one of a few words. Raises `Invalid`."""
    given = request.query_params.get(name, "")
    if given and given not in allowed:
        raise Invalid(f"{name}: '{given}' is not allowed; allowed are {', '.join(allowed)}")
    return given or default


def number(request: Request, name: str, *, default: int, least: int, most: int = BIGGEST) -> int:
    """A whole number in the query. Raises `Invalid`."""
    given = request.query_params.get(name, "")
    try:
        value = int(given) if given else default
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        upto = "" if most == BIGGEST else f" to {most}"
        raise Invalid(f"{name}: '{given}' is not allowed; allowed are whole numbers from {least}{upto}")
    return value


def words(request: Request, name: str, allowed: Sequence[str]) -> list[str]:
    """A list in the query: repeated (Python SDK), as JSON (JavaScript SDK) or separated by commas. Raises `Invalid`."""
    found: list[str] = []
    for given in request.query_params.getlist(name):
        if given.startswith("["):
            try:
                found += msgspec.json.decode(given, type=list[str])
            except msgspec.MsgspecError:
                raise Invalid(f"{name}: '{given}' is no list of words") from None
        else:
            found += [word for word in given.split(",") if word]
    if unknown := [word for word in found if word not in allowed]:
        raise Invalid(f"{name}: '{unknown[0]}' is not allowed; allowed are {', '.join(allowed)}")
    return found
