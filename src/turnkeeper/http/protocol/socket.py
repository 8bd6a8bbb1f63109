"""The WebSocket of a thread: commands go in, their answers and the events of any number of subscriptions come out."""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from turnkeeper.contracts import Frame
from turnkeeper.errors import TooLarge, TurnkeeperError, Unavailable
from turnkeeper.http.protocol.commands import MalformedError, answer, failure, read
from turnkeeper.http.protocol.events import envelope
from turnkeeper.http.requests import as_uuid
from turnkeeper.http.sse import HEARTBEAT
from turnkeeper.services.protocol.commands import ProtocolService, Result
from turnkeeper.services.protocol.filters import CHANNELS, EventsWanted, Filter, to_filter
from turnkeeper.services.protocol.late import LateListener, root_event
from turnkeeper.services.protocol.params import Params, Reconnect, Subscribe, Unsubscribe
from turnkeeper.services.protocol.refusals import Refusal, refusal, status
from turnkeeper.services.protocol.trees import statuses

REFUSED = 4000
"""Added to the status that HTTP would have refused with: a browser cannot read the status of a refused handshake."""

STOPPING = 1012
"""Service restart. Clients come back after it, which they would not after a normal closure."""

TOO_SLOW = 1013
"""Try again later."""

ENDS = ("completed", "failed", "interrupted")
"""What a lifecycle event of the root says at the end of a run."""

MOST_WAITING = 64
"""Commands of a socket that may wait; the next is read when there is room again."""

GONE = 1006
"""The connection broke."""


async def connect(websocket: WebSocket) -> None:
    """`WebSocket /threads/{thread_id}/stream/events`."""
    protocol: ProtocolService = websocket.app.state.protocol
    await websocket.accept()
    try:
        thread_id = as_uuid(websocket.path_params["thread_id"], "thread")
        await protocol.threads.find(thread_id)
    except TurnkeeperError as error:
        await websocket.close(REFUSED + status(error), str(error))
        return
    with contextlib.suppress(WebSocketDisconnect, OSError):
        await Conversation(websocket, thread_id).hold()


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What one subscription gets of what happens from now on."""

    wanted: Filter
    since: int
    """It was told all up to then when it began."""

    def gets(self, frame: Frame) -> bool:
        """Whether it is told this event."""
        return frame.seq > self.since and self.wanted.matches(frame)


class Conversation:
    """One open socket."""

    def __init__(self, websocket: WebSocket, thread_id: str) -> None:
        self._websocket = websocket
        self._thread_id = thread_id
        self._protocol: ProtocolService = websocket.app.state.protocol
        self._max_body: int = websocket.app.state.settings.max_body
        self._news = self._protocol.events.news(thread_id)
        self._subscriptions: dict[str, Subscribed] = {}
        self._number = 0
        self._told_to_run: set[str] = set()
        self._replaying = asyncio.Lock()
        self._commands: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING)
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._position = self._news.since
        self._held: dict[int, Frame] = {}

    async def hold(self) -> None:
        """Until the client leaves, reads too slowly, or the server stops."""
        talking = [asyncio.create_task(each) for each in (self._hear(), self._obey(), self._tell())]
        try:
            done, _ = await asyncio.wait(talking, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._news.close()
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)

    async def _hear(self) -> None:
        """Take what the client sends, until it leaves."""
        while (message := await self._websocket.receive())["type"] != "websocket.disconnect":
            text: str | None = message.get("text")
            self._quiet.clear()
            await self._commands.put(message.get("bytes") or b"" if text is None else text.encode())

    async def _obey(self) -> None:
        """Answer commands, one after the other."""
        while True:
            await self._send(await self._answer(await self._commands.get()))
            if self._commands.empty():
                async with self._replaying:
                    await self._release()
                self._quiet.set()

    async def _answer(self, content: bytes) -> bytes:
        if len(content) > self._max_body:
            return failure(refusal(TooLarge(f"The command is larger than {self._max_body} bytes (setting max_body).")))
        try:
            command = read(content)
        except MalformedError as error:
            return error.answer
        return await answer(command, self._perform)

    async def _perform(self, params: Params) -> Result:
        match params:
            case Subscribe():
                return Result(await self._subscribe(params, params.since))
            case Reconnect():
                return Result(await self._reconnect(params))
            case Unsubscribe():
                return Result(self._unsubscribe(params.subscription_id))
            case _:
                if self._commands.empty():
                    self._quiet.set()  # it may take a while, and no subscription waits for it
                return await self._protocol.perform(self._thread_id, params)

    async def _subscribe(self, params: EventsWanted, since: int | None) -> dict[str, Any]:
        """Tell the past as far as the connection has come, and from there on what it is told. Nothing else meanwhile.

        So nothing on a connection is told before what happened earlier, whichever subscription it is for.
        """
        wanted = to_filter(params)
        async with self._replaying:
            listener = self._protocol.events.listen(self._thread_id, since)
            try:
                replayed = await self._replay(listener, wanted)
            finally:
                listener.close()
            self._number += 1
            name = f"sub-{self._number}"
            self._subscriptions[name] = Subscribed(wanted, max(self._position, since or 0))
        return {"subscription_id": name, "replayed_events": replayed}

    async def _replay(self, listener: LateListener, wanted: Filter) -> int:
        """Tell what is stored; how many events that was.

        The JavaScript client subscribes several times in a row, and once it hears of the end of a run it takes none of
        the events that later replays tell of that run. So an end that comes last waits for the commands that are here.
        """
        count = 0
        end: Frame | None = None
        while not (listener.caught_up or listener.closed):
            for frame in await listener.batch(0):
                if (frame.seq <= self._position or listener.made(frame)) and wanted.matches(frame):
                    if end is not None:
                        await self._send(envelope(end))
                    end = await self._told(frame)
                    count += 1
        if end is not None:
            self._held[end.seq] = end
        if self._commands.empty():
            await self._release()
        return count

    async def _told(self, frame: Frame) -> Frame | None:
        """Tell a stored event, or return it if it is the end of a run."""
        said = root_event(frame)
        if said in ENDS:
            return frame
        if said == "running":
            self._told_to_run.add(frame.run_id)
        await self._send(envelope(frame))
        return None

    async def _release(self) -> None:
        """Tell of the ends of runs that were held back."""
        held, self._held = self._held, {}
        for seq in sorted(held):
            await self._send(envelope(held[seq]))

    async def _reconnect(self, params: Reconnect) -> dict[str, Any]:
        """A subscription that goes on after the event the client has seen last, or tells everything again."""
        tree = await self._protocol.tree(self._thread_id, params.run_id)
        last = params.last_event_id or ""
        since = int(last) if last.isascii() and last.isdecimal() else None
        wanted = EventsWanted(params.channels or list(CHANNELS), params.namespaces, params.depth)
        subscribed = await self._subscribe(wanted, since)
        return {
            "restored": True,
            "subscription_id": subscribed["subscription_id"],
            "missed_events": subscribed["replayed_events"],
            "current_namespaces": statuses(tree),
        }

    def _unsubscribe(self, name: str) -> dict[str, Any]:
        if self._subscriptions.pop(name, None) is None:
            raise Refusal("no_such_subscription", f"No such subscription: {name}")
        return {}

    async def _tell(self) -> None:
        """Send each event once, whichever subscriptions want it, for as long as there is news."""
        while not self._news.closed:
            frames = await self._news.batch(HEARTBEAT)
            await self._quiet.wait()
            async with self._replaying:
                await self._release()
                await self._tell_all(frames)
        await self._close()

    async def _close(self) -> None:
        """There is no more news: either the server stops or the client did not keep up."""
        self._check_open()
        try:
            await self._news.batch(0)
        except Unavailable:
            await self._websocket.close(STOPPING)
        else:
            await self._websocket.close(TOO_SLOW)

    async def _tell_all(self, frames: list[Frame]) -> None:
        for frame in frames:
            repeated = frame.run_id in self._told_to_run and root_event(frame) == "running"
            if not repeated and any(each.gets(frame) for each in self._subscriptions.values()):
                await self._send(envelope(frame))
            self._position = frame.seq

    async def _send(self, content: bytes) -> None:
        self._check_open()
        await self._websocket.send_text(content.decode())

    def _check_open(self) -> None:
        """Starlette takes it for a mistake of ours if we go on once a message could not be sent."""
        if self._websocket.application_state is not WebSocketState.CONNECTED:
            raise WebSocketDisconnect(GONE)
