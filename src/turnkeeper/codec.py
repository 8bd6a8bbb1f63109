"""How Python objects become JSON and back: the only module that knows orjson and LangChain's objects."""

import base64
import dataclasses
import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import orjson

_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
_BIGGEST = 2**63 - 1


def encode(value: object) -> bytes:
    """`value` as JSON text in UTF-8. Never fails: what JSON cannot say is said as near as it can be.

    NaN and infinities become `null`, bytes base64, sets lists, LangChain messages and other pydantic objects what
    their `model_dump` gives, integers over 64 bit numbers of any length, lone surrogates `?`, all else its `repr`.
    What holds itself, or is nested too deep, ends in `...`.
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except (TypeError, RecursionError):  # orjson's own error is a TypeError
        return msgspec.json.encode(_plain(value))


def raw(value: object) -> msgspec.Raw:
    """`encode`, for a field that passes through."""
    return msgspec.Raw(encode(value))


def decode(text: bytes | str | msgspec.Raw) -> Any:
    """What a JSON text of ours says."""
    return orjson.loads(bytes(text) if isinstance(text, msgspec.Raw) else text)


def text(value: object) -> str:
    """`encode`, for a database column."""
    return encode(value).decode()


def _default(value: Any) -> Any:
    """What orjson asks for the types it does not know. Objects may misbehave in any way; then they are only named."""
    try:
        said = _said(value)
    except Exception:  # noqa: BLE001 - foreign code
        return _named(value)
    endless = type(said) is type(value) or hasattr(said, "model_dump")  # mocks have an answer to everything
    return _named(value) if endless else said


def _said(value: Any) -> Any:
    """What an object says of itself."""
    if isinstance(value, type):
        return repr(value)
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "_asdict"):
        return value._asdict()
    match value:
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case set() | frozenset():
            return list(cast("set[Any]", value))
        case BaseException():
            return repr(value)
        case dt.date() | dt.time():  # a datetime is a date
            return value.isoformat()
        case Mapping():
            return dict(cast("Mapping[Any, Any]", value))
        case _:
            pass
    if hasattr(value, "dict") and callable(value.dict):
        return value.dict()
    try:
        return msgspec.to_builtins(value)
    except TypeError:
        return repr(value)


def _named(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - foreign code
        return f"<{type(value).__name__}>"


_DEEPEST = 200
_CUT = "..."
"""What stands for a value that holds itself, or is nested too deep."""


def _plain(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """A copy of `value` made only of what every JSON writer takes; slow, for the rare values orjson refuses.

    `above`: the objects `value` is part of.
    """
    match value:
        case None | bool():
            return value
        case str():
            return value.encode("utf-8", "replace").decode()
        case int():
            return _whole(int(value))
        case float():
            return float(value) if math.isfinite(value) else None
        case _ if id(value) in above or len(above) >= _DEEPEST:
            return _CUT
        case _:
            return _container(value, above | {id(value)})


def _container(value: Any, above: frozenset[int]) -> Any:
    match value:
        case dict():
            pairs = list(cast("dict[Any, Any]", value).items())
            return {_key(key): _plain(item, above) for key, item in pairs}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, above) for item in list(cast("list[Any]", value))]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value) if not field.name.startswith("_")]
            return {name: _plain(getattr(value, name, None), above) for name in names}
        case _:
            return _plain(_default(value), above)


def _whole(value: int) -> int | str | msgspec.Raw:
    if abs(value) <= _BIGGEST:
        return value
    try:
        return msgspec.Raw(str(value).encode())
    except ValueError:  # more digits than Python writes
        return hex(value)


def _key(key: Any) -> str:
    """A key as orjson writes it."""
    match key:
        case None:
            return "null"
        case bool():
            return str(key).lower()
        case str():
            return _plain(key)
        case _:
            return _plain(_text_of(key))


def _text_of(key: object) -> str:
    try:
        return str(key)
    except Exception:  # noqa: BLE001 - foreign code
        return _named(key)
