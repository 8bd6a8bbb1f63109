"""When a run's turn comes, as its request says it."""

from typing import Any

import msgspec
import pytest

from turnkeeper.errors import Invalid
from turnkeeper.services.requests import RunCreate, queueing
from turnkeeper.types import Queueing


def said(**fields: Any) -> Queueing:
    return queueing(msgspec.convert({"assistant_id": "agent", **fields}, RunCreate))


def test_a_run_may_say_it_in_its_body_or_in_its_metadata() -> None:
    fields: dict[str, Any] = {"priority": -100, "fairness_key": "acme", "concurrency_key": "k" * 255}

    assert said() == said(metadata={"a": 1}) == said(metadata={"turnkeeper": None}) == Queueing()
    assert said(**fields) == said(metadata={"turnkeeper": fields}) == Queueing(**fields)


def test_the_body_wins() -> None:
    assert said(priority=0, metadata={"turnkeeper": {"priority": 5, "fairness_key": "a"}}) == Queueing(0, "a")


@pytest.mark.parametrize(
    ("marks", "words"),
    [
        ({"priority": 101}, ["<= 100", "$.metadata.turnkeeper.priority"]),
        ({"priority": -101}, [">= -100", "$.metadata.turnkeeper.priority"]),
        ({"fairness_key": ""}, [">= 1", "$.metadata.turnkeeper.fairness_key"]),
        ({"concurrency_key": "k" * 256}, ["<= 255", "$.metadata.turnkeeper.concurrency_key"]),
        ({"urgency": 1}, ["urgency", "allowed are priority, fairness_key, concurrency_key"]),
        (5, ["object", "$.metadata.turnkeeper"]),
    ],
)
def test_what_is_not_allowed_is_named(marks: Any, words: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        said(metadata={"turnkeeper": marks})

    assert [word for word in words if word not in str(refused.value)] == []
