"""Messages as the protocol tells them: from `message-start` over content blocks, bit by bit, to `message-finish`.

Only the start of a message names it on every client, so a node's messages in one namespace are told one after the
other: what a second model says meanwhile waits until the first has finished.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Any, cast

from langchain_core.language_models._compat_bridge import achunks_to_events, message_to_events
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from turnkeeper.graphs.items import Namespace
from turnkeeper.graphs.protocol.tell import Tell

Event = dict[str, Any]
Place = tuple[Namespace, str | None]
"""A namespace and a node in it."""

ROLES = {"ai": "ai", "AIMessageChunk": "ai", "human": "human", "system": "system"}
"""Whose messages are told, and as whose. A tool's answer is told by the tool's own events and by the state."""

ENDS = ("message-finish", "error")


class SpokenMessages:
    """Translates the messages of one run's stream."""

    def __init__(self, tell: Tell) -> None:
        self._turns = Turns(tell)
        self._feeds: dict[tuple[Place, str], Feed] = {}
        self._ids: dict[str, str] = {}
        self._missed: set[str] = set()

    def take(self, namespace: Namespace, message: BaseMessage | Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """A message, a part of one, or what LangChain's event stream says of one; `metadata` as LangGraph gives it."""
        place = (namespace, metadata.get("langgraph_node"))
        if not isinstance(message, BaseMessage):
            self._event(place, dict(message), metadata)
        elif isinstance(message, AIMessageChunk):
            self._chunk(place, message, metadata)
        elif message.type in ROLES:
            events = (cast("Event", event) for event in message_to_events(message))
            self._say(place, message.id or "", (_by(ROLES[message.type], event) for event in events), metadata)

    def miss(self, message: BaseMessage | Mapping[str, Any]) -> None:
        """Nobody listened to a part of a message: its rest is not told, or it would pass for the whole."""
        if isinstance(message, AIMessageChunk) and message.id:
            self._missed.add(message.id)

    def end_step(self, namespace: Namespace) -> None:
        """All models of that graph's last step have finished, whether they said so or not."""
        for key in [key for key in self._feeds if key[0][0] == namespace]:
            self._say(*key, self._feeds.pop(key).end(), {})
        self._turns.end(namespace)

    def close(self, *, finished: bool) -> None:
        """The stream is over. Messages cut short by an error or a cancellation are left as they are."""
        for key, feed in self._feeds.items():
            rest = list(feed.end())
            if finished:
                self._say(*key, rest, {})
        self._feeds.clear()
        if finished:
            self._turns.end()

    def _event(self, place: Place, event: Event, metadata: Mapping[str, Any]) -> None:
        """An event of a model that streams them itself; which message it is of, only the model's run tells."""
        run_id = str(metadata.get("run_id"))
        if event["event"] == "message-start" and event.get("role", "ai") in ROLES:
            self._ids[run_id] = str(event.get("id") or event.get("message_id") or f"lc_run--{run_id}")
        message_id = self._ids.get(run_id)
        if message_id is not None:
            self._say(place, message_id, [event], metadata)
        if event["event"] in ENDS:
            self._ids.pop(run_id, None)

    def _chunk(self, place: Place, chunk: AIMessageChunk, metadata: Mapping[str, Any]) -> None:
        message_id = chunk.id or ""
        if message_id in self._missed:
            return
        key = (place, message_id)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed()
        self._say(place, message_id, feed.push(chunk), metadata)
        if chunk.chunk_position == "last":
            self._say(place, message_id, self._feeds.pop(key).end(), metadata)

    def _say(self, place: Place, message_id: str, events: Iterable[Event], metadata: Mapping[str, Any]) -> None:
        for event in events:
            if event["event"] == "message-start":
                said = _about(metadata, cast("Event", event.get("metadata") or {}))
                self._turns.say(place, message_id, {**event, "id": message_id, "metadata": said})
            else:
                self._turns.say(place, message_id, {**event, "id": message_id})


class Turns:
    """Lets one message at a time be told of each node in each namespace."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._waiting: dict[Place, dict[str, list[Event]]] = {}
        """By message, in the order they began. The first is being told and has nothing that waits."""

    def say(self, place: Place, message_id: str, event: Event) -> None:
        """Tell an event of a message when it is its turn."""
        line = self._waiting.setdefault(place, {})
        line.setdefault(message_id, []).append(event)
        if next(iter(line)) == message_id:
            self._advance(place)

    def end(self, namespace: Namespace | None = None) -> None:
        """Finish all messages there, or everywhere."""
        for place in [place for place in self._waiting if namespace in (None, place[0])]:
            while place in self._waiting:
                message_id = next(iter(self._waiting[place]))
                self.say(place, message_id, {"event": "message-finish", "id": message_id})

    def _advance(self, place: Place) -> None:
        """Tell what waits of the message whose turn it is, and if it ends, of those after it."""
        line = self._waiting[place]
        while line:
            message_id = next(iter(line))
            events, line[message_id] = line[message_id], []
            for event in events:
                self._tell("messages", place[0], event, place[1])
            if not events or events[-1]["event"] not in ENDS:
                return
            del line[message_id]
        del self._waiting[place]


class Feed:
    """One message's parts as they come, to the events LangChain makes of them.

    LangChain pulls the parts out of an async iterator. Here they are pushed, so its generator is driven by hand:
    where it would wait for the next part, it stands still until there is one.
    """

    def __init__(self) -> None:
        self._chunks: deque[ChatGenerationChunk] = deque()
        self._ended = False
        self._events = achunks_to_events(self)
        self._step: Any = None

    def push(self, chunk: AIMessageChunk) -> Iterator[Event]:
        """The events a part gives rise to."""
        self._chunks.append(ChatGenerationChunk(message=chunk))
        return self._drive()

    def end(self) -> Iterator[Event]:
        """The events that end the message."""
        self._ended = True
        return self._drive()

    def _drive(self) -> Iterator[Event]:
        while True:
            self._step = self._step or self._events.__anext__()
            try:
                self._step.send(None)
            except StopIteration as answer:
                self._step = None
                yield answer.value
            except StopAsyncIteration:
                return
            else:
                return

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> ChatGenerationChunk:
        while not self._chunks:
            if self._ended:
                raise StopAsyncIteration
            await _Pause()
        return self._chunks.popleft()


class _Pause:
    """Stands still until the one who drives goes on."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def _by(role: str, event: Event) -> Event:
    return {**event, "role": role} if event["event"] == "message-start" else event


def _about(metadata: Mapping[str, Any], given: Event) -> Event:
    """Who speaks: the model as its provider names it, and the node."""
    said = {
        "provider": metadata.get("ls_provider"),
        "model": metadata.get("ls_model_name"),
        "model_type": metadata.get("ls_model_type"),
        "langgraph_node": metadata.get("langgraph_node"),
    }
    return {**{key: value for key, value in said.items() if value is not None}, **given}
