"""Which events reach whom."""

from typing import Any

import pytest

from turnkeeper.contracts import Frame
from turnkeeper.errors import Impossible
from turnkeeper.services.protocol.filters import CHANNELS, EventsWanted, is_within, to_filter


def frame(method: str, *namespace: str, data: bytes = b"{}") -> Frame:
    return Frame(1, "thread", "run", method, data, namespace, protocol=True)


@pytest.mark.parametrize("method", [*CHANNELS, "input.requested"])
def test_every_method_has_a_channel_that_brings_it_alone(method: str) -> None:
    own = "input" if method == "input.requested" else method
    assert to_filter(EventsWanted([own])).matches(frame(method))
    assert not to_filter(EventsWanted([each for each in CHANNELS if each != own])).matches(frame(method))


@pytest.mark.parametrize(
    ("channels", "data", "matches"),
    [
        (["custom"], b'{"name": "mine"}', True),
        (["custom"], b'"anything"', True),
        (["custom:mine"], b'{"payload": 1, "name": "mine"}', True),
        (["custom:other", "custom:mine"], b'{"name": "mine"}', True),
        (["custom:other"], b'{"name": "mine"}', False),
        (["custom:mine"], b'{"payload": {"name": "mine"}}', False),
        (["custom:mine"], b'["name", "mine"]', False),
        (["custom:1"], b'{"name": 1}', False),
        (["values"], b'{"name": "mine"}', False),
    ],
)
def test_custom_events_are_chosen_by_their_names(channels: list[str], data: bytes, *, matches: bool) -> None:
    assert to_filter(EventsWanted(channels)).matches(frame("custom", data=data)) is matches


@pytest.mark.parametrize(
    ("namespace", "prefix", "within"),
    [
        ("", "", True),
        ("a:1", "", True),
        ("a:1", "a:1", True),
        ("a:1", "a", True),
        ("a:1/b:2", "a", True),
        ("a:1/b:2", "a/b", True),
        ("a:1/b:2", "a:1/b", True),
        ("a", "a", True),
        ("a:1", "a:2", False),
        ("a", "a:1", False),
        ("ab:1", "a", False),
        ("", "a", False),
        ("a:1", "a/b", False),
        ("b:2/a:1", "a", False),
    ],
)
def test_a_namespace_lies_below_another(namespace: str, prefix: str, *, within: bool) -> None:
    assert is_within(_parts(namespace), _parts(prefix)) is within


@pytest.mark.parametrize(
    ("wanted", "heard"),
    [
        ({}, ["", "a:1", "a:1/b:2", "c:3"]),
        ({"namespaces": []}, ["", "a:1", "a:1/b:2", "c:3"]),
        ({"namespaces": None, "depth": None}, ["", "a:1", "a:1/b:2", "c:3"]),
        ({"depth": 0}, [""]),
        ({"depth": 1}, ["", "a:1", "c:3"]),
        ({"namespaces": [()], "depth": 1}, ["", "a:1", "c:3"]),
        ({"namespaces": [("a",)]}, ["a:1", "a:1/b:2"]),
        ({"namespaces": [("a",)], "depth": 0}, ["a:1"]),
        ({"namespaces": [("a", "b"), ("c",)], "depth": 0}, ["a:1/b:2", "c:3"]),
        ({"namespaces": [("d",)]}, []),
    ],
)
def test_prefixes_and_depth_cut_out_a_part_of_the_tree(wanted: dict[str, Any], heard: list[str]) -> None:
    chosen = to_filter(EventsWanted(["values"], **wanted))
    everywhere = ["", "a:1", "a:1/b:2", "c:3"]
    assert [each for each in everywhere if chosen.matches(frame("values", *_parts(each)))] == heard


@pytest.mark.parametrize("channels", [None, [], ["nonsense"], ["custom:"], ["values", ""], ["input.requested"]])
def test_what_nobody_tells_cannot_be_asked_for(channels: list[str] | None) -> None:
    with pytest.raises(Impossible, match="channel"):
        to_filter(EventsWanted(channels))


def _parts(path: str) -> tuple[str, ...]:
    return tuple(path.split("/")) if path else ()
