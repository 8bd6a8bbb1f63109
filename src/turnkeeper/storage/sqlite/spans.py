"""Which stored elements a version of a list channel is made of: runs of places `[start, stop)`, in order.

Elements of a list channel are stored once each, at places that count up; a version of the list is a few spans
over them. To append one message to two thousand stores one element and one span.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Span = tuple[int, int]
Fingerprint = tuple[type, bytes]

FRESH = 1 << 40
"""Elements not stored yet stand at places from here on, until the writer knows where they go."""


@dataclass(frozen=True, slots=True)
class KnownList:
    """A stored version of a list channel, and what its elements looked like."""

    version: str | int | float
    fingerprints: list[Fingerprint]
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A list as spans over the elements of a known version and over fresh ones."""

    spans: tuple[Span, ...]
    fresh: Sequence[int]
    """The positions, in the new list, of the elements that must be stored."""


def recipe(fingerprints: list[Fingerprint], known: KnownList | None) -> Recipe:
    """Reuse every element that `known` already has; start over when that would scatter the list too much."""
    if known is None:
        return _all_fresh(len(fingerprints))
    head = len(known.fingerprints)
    if fingerprints[:head] == known.fingerprints:
        fresh = range(head, len(fingerprints))
        found = Recipe(join((*known.spans, (FRESH, FRESH + len(fresh)))), fresh)
    else:
        found = _mixed(fingerprints, known)
    scattered = len(found.spans) > 64 + len(fingerprints) // 16
    return _all_fresh(len(fingerprints)) if scattered else found


def settle(spans: Iterable[Span], place: int) -> tuple[Span, ...]:
    """The spans once the first fresh element is stored at `place`."""
    shift = FRESH - place
    return join((start - shift, stop - shift) if start >= FRESH else (start, stop) for start, stop in spans)


def join(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same places in as few spans as there can be."""
    joined: list[Span] = []
    for start, stop in spans:
        if start == stop:
            continue
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return tuple(joined)


def subtract(spans: Iterable[Span], taken: Sequence[Span]) -> list[Span]:
    """The places in `spans` that are not in `taken`."""
    rest = list(spans)
    for low, high in taken:
        rest = [
            part
            for start, stop in rest
            for part in ((start, min(stop, low)), (max(start, high), stop))
            if part[0] < part[1]
        ]
    return rest


def _all_fresh(count: int) -> Recipe:
    return Recipe(((FRESH, FRESH + count),), range(count))


def _mixed(fingerprints: list[Fingerprint], known: KnownList) -> Recipe:
    """Follow the known list as long as it agrees; where it does not, look the element up anywhere in it."""
    places = [place for start, stop in known.spans for place in range(start, stop)]
    position = {fingerprint: index for index, fingerprint in enumerate(known.fingerprints)}
    following = 0
    fresh: list[int] = []
    spans: list[Span] = []
    for index, fingerprint in enumerate(fingerprints):
        if following < len(places) and known.fingerprints[following] == fingerprint:
            found = following
        elif fingerprint in position:
            found = position[fingerprint]
        else:
            spans.append((FRESH + len(fresh), FRESH + len(fresh) + 1))
            fresh.append(index)
            continue
        spans.append((places[found], places[found] + 1))
        following = found + 1
    return Recipe(join(spans), fresh)
