"""Crons: made, changed, found and removed by the real client, and their runs come by themselves."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx
import pytest
from langgraph_sdk.client import LangGraphClient, SyncLangGraphClient
from langgraph_sdk.errors import NotFoundError, UnprocessableEntityError

from tests.wire.live import DEADLINE, POLL, Gates

EVERY_SECOND = "* * * * * *"
ALL = ["A.n1", "A.n2", "A.n3"]


async def until(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is one."""
    deadline = time.monotonic() + DEADLINE
    while not (answer := await ask()):
        assert time.monotonic() < deadline
        await asyncio.sleep(POLL)
    return answer


# --- Their runs -------------------------------------------------------------------------------------------------------


class Fired(NamedTuple):
    """Crons that come every second, made together so that one second is enough for all tests."""

    of_thread: Any
    kept: Any
    temporary: Any
    tag: str


@pytest.fixture(scope="module")
async def fired(client: LangGraphClient) -> AsyncIterator[Fired]:
    thread = (await client.threads.create(metadata={"owner": "ada"}))["thread_id"]
    tag = uuid4().hex
    of_thread: Any = await client.crons.create_for_thread(
        thread, "steps", schedule=EVERY_SECOND, input={"tag": "A"}, metadata={"m": 1}, multitask_strategy="reject"
    )
    kept: Any = await client.crons.create(
        "echo", schedule=EVERY_SECOND, input={}, context={"user": "ada"}, on_run_completed="keep"
    )
    temporary: Any = await client.crons.create("steps", schedule=EVERY_SECOND, input={"tag": tag})
    yield Fired(of_thread, kept, temporary, tag)
    for cron in (of_thread, kept, temporary):
        await client.crons.delete(cron["cron_id"])


async def test_the_run_of_a_cron_comes_when_it_is_due(client: LangGraphClient, fired: Fired) -> None:
    cron, thread = fired.of_thread, fired.of_thread["thread_id"]
    [run, *_] = await until(lambda: client.runs.list(thread, limit=1000))
    late = datetime.fromisoformat(run["created_at"]) - datetime.fromisoformat(cron["next_run_date"])
    assert timedelta() <= late < timedelta(seconds=5)
    assert run["metadata"].items() >= {"m": 1, "owner": "ada", "cron_id": cron["cron_id"]}.items()
    assert run["kwargs"]["config"]["configurable"]["cron_id"] == cron["cron_id"]
    assert run["multitask_strategy"] == "reject"
    values: Any = await client.runs.join(thread, run["run_id"])
    assert values["steps"][-3:] == ALL
    again: Any = await client.crons.search(thread_id=thread)
    assert again[0]["next_run_date"] > cron["next_run_date"]


async def test_the_thread_of_a_run_is_kept_if_asked_for_and_says_whose_it_is(
    client: LangGraphClient, fired: Fired
) -> None:
    mine = {"cron_id": fired.kept["cron_id"]}
    [thread, *_] = await until(lambda: client.threads.search(metadata=mine, status="idle"))
    assert thread["values"]["seen"]["context"]["user"] == "ada"


async def test_the_thread_of_a_run_goes_with_it_otherwise(client: LangGraphClient, fired: Fired, gates: Gates) -> None:
    async def ran() -> list[str]:
        return [each.parent.name for each in gates.folder.glob("*/log") if f"{fired.tag}.n3" in each.read_text()]

    async def gone(thread: str) -> bool:
        try:
            await client.threads.get(thread)
        except NotFoundError:
            return True
        return False

    [thread, *_] = await until(ran)
    assert await until(lambda: gone(thread))
    assert await client.threads.search(metadata={"cron_id": fired.temporary["cron_id"]}) == []


async def test_a_cron_that_is_switched_on_fires_and_one_that_is_off_does_not(client: LangGraphClient) -> None:
    on, off = [(await client.threads.create())["thread_id"] for _ in range(2)]
    crons: list[Any] = [
        await client.crons.create_for_thread(thread, "steps", schedule=EVERY_SECOND, input={"tag": "A"}, enabled=False)
        for thread in (on, off)
    ]
    assert [(cron["enabled"], cron["next_run_date"]) for cron in crons] == [(False, None)] * 2
    await client.crons.update(crons[0]["cron_id"], enabled=True)
    await until(lambda: client.runs.list(on))
    assert await client.runs.list(off) == []
    for cron in crons:
        await client.crons.delete(cron["cron_id"])
    assert await client.threads.get(on)


# --- What they say of themselves --------------------------------------------------------------------------------------


async def test_a_new_cron_says_all_about_itself(client: LangGraphClient, thread: str) -> None:
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=999)
    cron: Any = await client.crons.create_for_thread(
        thread,
        "steps",
        schedule="30 9 * * MON",
        timezone=ZoneInfo("America/New_York"),
        end_time=end,
        input={"tag": "A"},
        config={"tags": ["x"], "configurable": {"k": 1}},
        metadata={"m": 1},
        webhook="https://example.com/hook",
        interrupt_before=["n2"],
        multitask_strategy="interrupt",
        stream_mode=["values"],
        stream_resumable=True,
        durability="sync",
    )
    assistant = (await client.assistants.get("steps"))["assistant_id"]
    cron_id, due = cron["cron_id"], datetime.fromisoformat(cron["next_run_date"])
    local = due.astimezone(ZoneInfo("America/New_York"))
    assert (local.weekday(), local.hour, local.minute, due.utcoffset()) == (0, 9, 30, timedelta())
    assert datetime.fromisoformat(cron["end_time"]) == end
    assert cron["created_at"] == cron["updated_at"]
    assert (
        cron.items()
        >= {
            "assistant_id": assistant,
            "thread_id": thread,
            "user_id": None,
            "schedule": "30 9 * * MON",
            "timezone": "America/New_York",
            "enabled": True,
            "on_run_completed": None,
            "metadata": {"m": 1},
            "payload": {
                "assistant_id": assistant,
                "input": {"tag": "A"},
                "config": {"tags": ["x"], "configurable": {"k": 1, "cron_id": cron_id}},
                "metadata": {"m": 1},
                "webhook": "https://example.com/hook",
                "interrupt_before": ["n2"],
                "multitask_strategy": "interrupt",
                "stream_mode": ["values"],
                "stream_resumable": True,
                "durability": "sync",
            },
        }.items()
    )


async def test_a_cron_without_a_thread_has_defaults(client: LangGraphClient) -> None:
    cron: Any = await client.crons.create("steps", schedule="@yearly")
    assert (cron["thread_id"], cron["on_run_completed"], cron["timezone"], cron["end_time"]) == (
        None, "delete", None, None
    )  # fmt: skip
    assert (cron["enabled"], cron["metadata"]) == (True, {})
    assert cron["next_run_date"] == f"{datetime.now(UTC).year + 1}-01-01T00:00:00.000000+00:00"


async def test_a_change_keeps_what_it_does_not_name(client: LangGraphClient, http: httpx.AsyncClient) -> None:
    end = datetime.now(UTC) + timedelta(days=9)
    made: Any = await client.crons.create(
        "steps", schedule="@yearly", timezone="Asia/Tokyo", end_time=end, input={"tag": "A"}, metadata={"a": 1, "b": 1}
    )
    path = f"/runs/crons/{made['cron_id']}"

    two: Any = await client.crons.update(made["cron_id"], metadata={"b": 2}, context={"k": 1}, on_run_completed="keep")
    assert two["metadata"] == two["payload"]["metadata"] == {"a": 1, "b": 2}
    assert two["payload"].items() >= {"input": {"tag": "A"}, "context": {"k": 1}}.items()
    same = ("schedule", "timezone", "end_time", "next_run_date", "enabled", "created_at")
    assert [two[name] for name in same] == [made[name] for name in same]
    assert two["on_run_completed"] == "keep"
    assert two["updated_at"] > made["updated_at"]

    three: Any = await client.crons.update(made["cron_id"], end_time=None, schedule="@daily")
    assert (three["end_time"], three["timezone"]) == (None, "Asia/Tokyo")
    assert three["next_run_date"].split("T")[1] == "15:00:00.000000+00:00"

    four = (await http.patch(path, json={"timezone": None, "input": None, "assistant_id": "steps"})).json()
    assert four["timezone"] is None
    assert four["next_run_date"].split("T")[1] == "00:00:00.000000+00:00"
    assert four["payload"]["input"] == {"tag": "A"}
    assert (await http.patch(path, json={})).json() == four == (await http.get(path)).json()


async def test_a_cron_that_has_ended_has_no_next_tick(client: LangGraphClient) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    made: Any = await client.crons.create("steps", schedule="@yearly", end_time=soon)
    assert made["next_run_date"] is None
    with pytest.raises(UnprocessableEntityError, match="end_time"):
        await client.crons.update(made["cron_id"], end_time=datetime.now(UTC) - timedelta(minutes=5))


# --- Found and removed ------------------------------------------------------------------------------------------------


async def test_crons_are_searched_counted_and_paged(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    mark = {"mark": uuid4().hex}
    for schedule, enabled in (("@daily", True), ("@monthly", False), ("@yearly", True)):
        await client.crons.create_for_thread(thread, "steps", schedule=schedule, metadata=mark, enabled=enabled)
    await client.crons.create("fails", schedule="@weekly", metadata=mark)

    async def found(**filters: Any) -> list[str]:
        return [each["schedule"] for each in await client.crons.search(metadata=mark, **filters)]

    assert await found() == ["@weekly", "@yearly", "@monthly", "@daily"]
    assert await found(thread_id=thread, sort_order="asc") == ["@daily", "@monthly", "@yearly"]
    assert await found(assistant_id="fails") == ["@weekly"]
    assert await found(enabled=False) == ["@monthly"]
    assert (await found(sort_by="next_run_date", sort_order="asc", thread_id=thread))[-1] == "@monthly"  # has none
    assert await found(limit=1, offset=1) == ["@yearly"]
    assert await client.crons.count(metadata=mark) == 4
    assert await client.crons.count(metadata=mark, thread_id=thread, assistant_id="steps") == 3
    answer = await http.post("/runs/crons/search", json={"metadata": mark, "limit": 3})
    assert (answer.headers["x-pagination-total"], answer.headers["x-pagination-next"]) == ("4", "3")
    selected: list[Any] = await client.crons.search(metadata=mark, limit=1, select=["schedule", "now"])
    [shown] = selected
    assert shown.keys() == {"schedule", "now"}
    assert datetime.fromisoformat(shown["now"]).utcoffset() == timedelta()


async def test_crons_go_with_their_thread_and_their_assistant(
    client: LangGraphClient, http: httpx.AsyncClient, thread: str
) -> None:
    assistant = (await client.assistants.create("steps"))["assistant_id"]
    crons: list[Any] = [
        await client.crons.create_for_thread(thread, "steps", schedule="@yearly"),
        await client.crons.create(assistant, schedule="@yearly"),
    ]
    await client.threads.delete(thread)
    await client.assistants.delete(assistant)
    for cron in crons:
        assert (await http.get(f"/runs/crons/{cron['cron_id']}")).status_code == 404
        with pytest.raises(NotFoundError):
            await client.crons.delete(cron["cron_id"])


async def test_the_server_says_that_it_has_crons(http: httpx.AsyncClient) -> None:
    assert (await http.get("/info")).json()["flags"]["crons"] is True


def test_the_synchronous_client_does_the_same(sync_client: SyncLangGraphClient) -> None:
    mark = {"mark": uuid4().hex}
    made: Any = sync_client.crons.create("steps", schedule="@yearly", metadata=mark)
    assert sync_client.crons.search(metadata=mark) == [made]
    assert sync_client.crons.update(made["cron_id"], schedule="@daily")["schedule"] == "@daily"
    sync_client.crons.delete(made["cron_id"])
    assert sync_client.crons.count(metadata=mark) == 0
