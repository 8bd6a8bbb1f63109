"""`GET /threads/{thread_id}/stream`: what happens on a thread, across its runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, get_args

from starlette.requests import Request
from starlette.types import ASGIApp

from turnkeeper.codec import encode
from turnkeeper.contracts import RUN_DONE, STATE_CHANGED, Frame, Subscription
from turnkeeper.errors import NotFound
from turnkeeper.http.requests import last_event_id, path_id, words
from turnkeeper.http.sse import EventsResponse, event
from turnkeeper.services.runs import RunService
from turnkeeper.services.states import StateService

ThreadStreamMode = Literal["run_modes", "lifecycle", "state_update"]
MODES = get_args(ThreadStreamMode)

State = Callable[[], Awaitable[dict[str, Any]]]


async def stream(request: Request) -> ASGIApp:
    """`GET /threads/{thread_id}/stream`. The SDKs say `stream_mode`, the API's documentation `stream_modes`."""
    thread_id = path_id(request, "thread_id", "thread")
    modes = words(request, "stream_mode", MODES) or words(request, "stream_modes", MODES) or ["run_modes"]
    runs: RunService = request.app.state.runs
    states: StateService = request.app.state.states
    return ThreadStream(
        runs.follow(thread_id, protocol=False, after=last_event_id(request)),
        {"location": request.url.path},
        modes=modes,
        thread_id=thread_id,
        state=lambda: states.get(thread_id, {}, subgraphs=False),
    )


class ThreadStream(EventsResponse):
    """A thread's events as they come. It ends only when the client leaves or the server stops."""

    def __init__(
        self,
        subscription: Subscription,
        headers: Mapping[str, str],
        *,
        modes: Sequence[str],
        thread_id: str,
        state: State,
    ) -> None:
        """`state` reads the thread's newest state."""
        super().__init__(subscription, headers)
        self._modes = frozenset(modes)
        self._thread_id = thread_id
        self._state = state

    async def _rendered(self, frames: Sequence[Frame]) -> bytes:
        chunk = b"".join([self._event(frame) for frame in frames])
        changed = [frame for frame in frames if frame.event in (RUN_DONE, STATE_CHANGED)]
        if changed and "state_update" in self._modes:
            chunk += await self._state_update(changed[-1].seq)
        return chunk

    def _event(self, frame: Frame) -> bytes:
        """A frame as the thread's stream shows it, if its modes do."""
        if frame.event == STATE_CHANGED:
            return b""
        if frame.event in ("metadata", RUN_DONE):
            shown = not self._modes.isdisjoint(("run_modes", "lifecycle"))
            return event("metadata", frame.data, frame.seq) if shown else b""
        if "run_modes" in self._modes or (frame.event == "error" and "lifecycle" in self._modes):
            return event(frame.event, frame.data, frame.seq)
        return b""

    async def _state_update(self, seq: int) -> bytes:
        """The state as it is now: of changes that came together, the last one counts."""
        try:
            state = await self._state()
        except NotFound:  # deleted meanwhile
            return b""
        return event("state_update", encode({"state": state, "thread_id": self._thread_id}), seq)
