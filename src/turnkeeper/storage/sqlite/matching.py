"""Namespaces as database text, and what the patterns and filters of LangGraph's store mean: as in `InMemoryStore`."""

import operator
from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import Any, cast

from langgraph.store.base import InvalidNamespaceError, MatchCondition

from turnkeeper.codec import decode, text

_ORDERINGS: dict[str, Callable[[Any, Any], bool]] = {
    "$gt": operator.gt,
    "$gte": operator.ge,
    "$lt": operator.lt,
    "$lte": operator.le,
}


def path(namespace: tuple[str, ...]) -> str:
    """A namespace as text: each label followed by a period, the one character no label may hold."""
    for label in namespace:
        if not label or "." in label:
            raise InvalidNamespaceError(
                f"Invalid namespace label {label!r} in {namespace}: a label is not empty and has no period."
            )
    return "".join(f"{label}." for label in namespace)


def labels(path: str) -> tuple[str, ...]:
    """The namespace a `path` stands for."""
    return tuple(path.split(".")[:-1])


def span(prefix: tuple[str, ...]) -> tuple[str, str | bytes]:
    """The first path under a prefix and the first behind it: `/` follows `.`, and any bytes sort after all text."""
    first = path(prefix)
    return first, f"{first[:-1]}/" if first else b""


def known_prefix(conditions: Iterable[MatchCondition]) -> tuple[str, ...]:
    """Labels that every namespace matching the conditions starts with."""
    for condition in conditions:
        if condition.match_type == "prefix":
            return tuple(takewhile(lambda label: label != "*", condition.path))
    return ()


def namespace_matches(namespace: tuple[str, ...], condition: MatchCondition) -> bool:
    """Whether a namespace starts or ends with a path, in which `*` stands for any one label."""
    path = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"Unsupported match type: {condition.match_type}. Use 'prefix' or 'suffix'.")
    if len(namespace) < len(path):
        return False
    labels = namespace if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for label, wanted in zip(labels, path, strict=False))


def as_stored(wanted: object) -> Any:
    """A filter as its values would read back from the store, so that `(1, 2)` or a date finds what was put as one.

    Numbers stay as they are: JSON has no infinity, yet a filter may ask for less than it.
    """
    match wanted:
        case None | bool() | int() | float() | str():
            return wanted
        case Mapping():
            pairs = cast("Mapping[Any, Any]", wanted).items()
            return {str(key): as_stored(value) for key, value in pairs}
        case list() | tuple():
            return [as_stored(value) for value in cast("list[Any]", wanted)]
        case _:
            return decode(text(wanted))


def fits(value: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether an item's value fits a whole filter; a key the value lacks counts as `None`.

    Raises `ValueError` on an operator there is not.
    """
    return all(_matches(value.get(key), term) for key, term in wanted.items())


def _matches(value: Any, wanted: Any) -> bool:
    """Objects by the keys the filter names or the operators it uses, lists one by one, the rest by equality."""
    if isinstance(wanted, dict):
        terms = cast("dict[str, Any]", wanted)
        if any(key.startswith("$") for key in terms):
            return all(_compares(value, name, operand) for name, operand in terms.items())
        if not isinstance(value, dict):
            return False
        return fits(cast("dict[str, Any]", value), terms)
    if isinstance(wanted, list):
        if not isinstance(value, list):
            return False
        ours, theirs = cast("list[Any]", value), cast("list[Any]", wanted)
        return len(ours) == len(theirs) and all(map(_matches, ours, theirs))
    return value == wanted


def _compares(value: Any, name: str, operand: Any) -> bool:
    if name == "$eq":
        return value == operand
    if name == "$ne":
        return value != operand
    if name not in _ORDERINGS:
        allowed = ", ".join(["$eq", "$ne", *_ORDERINGS])
        raise ValueError(f"Unsupported operator: {name}. A filter may compare with {allowed}.")
    return _ordered(_ORDERINGS[name], value, operand)


def _ordered(ordering: Callable[[Any, Any], bool], value: Any, operand: Any) -> bool:
    """Numbers, also as text, by size; other texts, like dates, by letters; what has no order never fits."""
    try:
        return ordering(float(value), float(operand))
    except (TypeError, ValueError, OverflowError):
        return isinstance(value, str) and isinstance(operand, str) and ordering(value, operand)
