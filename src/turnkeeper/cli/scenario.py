"""Double texting, played with the official client: a second message arrives while the first is being answered.

Nothing here knows the server; it speaks through `langgraph_sdk` as any application does.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, cast, get_args

from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.errors import ConflictError, NotFoundError
from langgraph_sdk.schema import ThreadState

Strategy = Literal["reject", "enqueue", "interrupt", "rollback"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

FIRST = "what's the weather in sf?"
SECOND = "what's the weather in nyc?"
PAUSE = 2.0
"""Seconds between the two messages: the first is in the middle of its tool call."""
DEADLINE = 60.0
TURN = ["human", "ai", "tool", "ai"]


@dataclass(frozen=True, slots=True)
class Message:
    """Something said on the thread."""

    at: float
    """Seconds after the first message was sent."""
    id: str
    kind: str
    text: str
    calls_tool: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one strategy was played out."""

    strategy: Strategy
    seen: tuple[Message, ...]
    """Everything that was ever in the state, in the order it appeared."""
    state: tuple[Message, ...]
    """What is in the state at the end."""
    first: str | None
    """Status of the first run; `None` if it is gone."""
    second: str | None
    """Status of the second run; `None` if there is none."""
    second_sent_at: float
    """Seconds after the first message."""
    refused: bool
    """Whether the second message was answered with 409."""

    @property
    def problem(self) -> str | None:
        """What is not as the strategy promises; `None` if it held."""
        return _problem(self)


async def play(client: LangGraphClient, strategy: Strategy, *, assistant: str = "agent") -> Outcome:
    """Send both messages on a thread of their own and wait for the end."""
    async with asyncio.timeout(DEADLINE):
        thread = await client.threads.create()
        return await _Scene(client, thread["thread_id"], assistant).play(strategy)


class _Scene:
    def __init__(self, client: LangGraphClient, thread_id: str, assistant: str) -> None:
        self._client = client
        self._thread_id = thread_id
        self._assistant = assistant
        self._start = time.time()
        self._seen: dict[str, Message] = {}

    async def play(self, strategy: Strategy) -> Outcome:
        self._start = time.time()
        first = await self._send(FIRST, None)
        await self._tool_called()
        await asyncio.sleep(max(0.0, self._start + PAUSE - time.time()))
        await self._look()
        second, second_sent_at = None, time.time() - self._start
        with suppress(ConflictError):
            second = await self._send(SECOND, strategy)
        await self._client.runs.join(self._thread_id, second or first)
        state = await self._look()
        return Outcome(
            strategy=strategy,
            seen=tuple(sorted(self._seen.values(), key=lambda message: message.at)),
            state=tuple(self._seen[message["id"]] for message in state),
            first=await self._status(first),
            second=await self._status(second) if second else None,
            second_sent_at=second_sent_at,
            refused=second is None,
        )

    async def _send(self, text: str, strategy: Strategy | None) -> str:
        run = await self._client.runs.create(
            self._thread_id,
            self._assistant,
            input={"messages": [{"role": "user", "content": text}]},
            multitask_strategy=strategy,
        )
        return run["run_id"]

    async def _tool_called(self) -> None:
        """Wait until the model has called its tool."""
        while True:
            state = await self._client.threads.get_state(self._thread_id)
            messages = _messages(state)
            if messages and messages[-1].get("tool_calls"):
                return
            await asyncio.sleep(0.05)

    async def _look(self) -> list[dict[str, Any]]:
        """Note every message in the thread's history with the time it appeared; the state as it is now."""
        history = await self._client.threads.get_history(self._thread_id, limit=1000)
        for state in reversed(history):
            made = datetime.fromisoformat(state["created_at"] or "").timestamp()
            for message in _messages(state):
                self._seen.setdefault(message["id"], _message(message, made - self._start))
        return _messages(history[0])

    async def _status(self, run_id: str) -> str | None:
        try:
            return (await self._client.runs.get(self._thread_id, run_id))["status"]
        except NotFoundError:
            return None


def _messages(state: ThreadState) -> list[dict[str, Any]]:
    values = cast("object", state["values"])
    return cast("dict[str, Any]", values).get("messages", []) if isinstance(values, dict) else []


def _message(message: dict[str, Any], at: float) -> Message:
    asked: list[dict[str, Any]] = message.get("tool_calls") or []
    calls = [f"{call['name']}({', '.join(map(str, call['args'].values()))})" for call in asked]
    said = message["content"] if isinstance(message["content"], str) else ""
    text = "  ".join([said, *(f"→ {call}" for call in calls)]).strip()
    return Message(at=max(at, 0.0), id=message["id"], kind=message["type"], text=text, calls_tool=bool(calls))


def _problem(outcome: Outcome) -> str | None:
    runs = (outcome.first, outcome.second)
    match outcome.strategy:
        case "enqueue":
            return _wrong(runs, ("success", "success")) or _not_whole(outcome.state, FIRST, SECOND)
        case "interrupt":
            return _wrong(runs, ("interrupted", "success")) or _not_continued(outcome.state)
        case "rollback":
            return _wrong(runs, (None, "success")) or _not_whole(outcome.state, SECOND)
        case "reject":
            accepted = None if outcome.refused else "the second message was not refused"
            return accepted or _wrong(runs, ("success", None)) or _not_whole(outcome.state, FIRST)


def _wrong(runs: tuple[str | None, str | None], expected: tuple[str | None, str | None]) -> str | None:
    return None if runs == expected else f"the runs should be {expected}, they are {runs}"


def _not_whole(state: Sequence[Message], *questions: str) -> str | None:
    """Every question with its whole answer, in order, and nothing else."""
    kinds = [message.kind for message in state]
    asked = [message.text for message in state if message.kind == "human"]
    if kinds == TURN * len(questions) and asked == list(questions) and all(m.calls_tool for m in state[1::4]):
        return None
    return f"the state should be {TURN * len(questions)} asking {list(questions)}, it is {kinds} asking {asked}"


def _not_continued(state: Sequence[Message]) -> str | None:
    """The beginning of the first turn, then the second as a whole."""
    begun, second = state[: -len(TURN)], state[-len(TURN) :]
    kinds = [message.kind for message in begun]
    if begun and begun[0].text == FIRST and kinds == TURN[: len(kinds)]:
        return _not_whole(second, SECOND)
    return f"the state should begin with the first message and go on with the second turn, it begins with {kinds}"
