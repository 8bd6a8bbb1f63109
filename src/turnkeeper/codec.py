"""How Python objects become JSON and back: the only module that knows orjson and LangChain's objects."""

import base64
import dataclasses
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
    """
    try:
        return orjson.dumps(value, default=_default, option=_OPTIONS)
    except (TypeError, orjson.JSONEncodeError, RecursionError):
        return msgspec.json.encode(_plain(value, 0))


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
    """What orjson asks for the types it does not know."""
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


_DEEPEST = 200


def _plain(value: Any, depth: int) -> Any:
    """A copy of `value` made only of what every JSON writer takes; slow, for the rare values orjson refuses."""
    if depth > _DEEPEST:
        return "..."
    match value:
        case None | bool():
            return value
        case str():
            return str(value).encode("utf-8", "replace").decode()
        case int():
            return int(value) if abs(value) <= _BIGGEST else msgspec.Raw(str(int(value)).encode())
        case float():
            return float(value) if math.isfinite(value) else None
        case dict():
            pairs = cast("dict[Any, Any]", value).items()
            return {_plain(str(key), 0): _plain(item, depth + 1) for key, item in pairs}
        case list() | tuple() | set() | frozenset():
            return [_plain(item, depth + 1) for item in cast("list[Any]", value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {field.name: _plain(getattr(value, field.name), depth + 1) for field in dataclasses.fields(value)}
        case _:
            return _plain(_default(value), depth + 1)
