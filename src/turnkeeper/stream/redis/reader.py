"""The one connection by which a process hears what is told on channels, whoever in it listens."""

import asyncio
import random
from collections.abc import Callable, Iterable
from typing import cast

import structlog
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostError

log = structlog.get_logger()

PULSE = 1.0
"""Seconds of silence after which Redis is asked whether it is there; after as many again it is not."""

LINGER = 1.0
"""Seconds between two looks at which channels nobody listens to any more."""

FIRST_DELAY, LONGEST_DELAY = 0.05, 1.0
"""Seconds between two attempts to connect."""

AT_ONCE = 500

Heard = Callable[[bytes], None]


class _Channel:
    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.holders = 0
        self.open = asyncio.Event()


class Reader:
    """Used on one event loop."""

    def __init__(
        self,
        prefix: str,
        connect: Callable[[], AbstractConnection],
        *,
        on_up: Callable[[], None],
        on_down: Callable[[], None],
    ) -> None:
        """`on_down`: something may have been missed. `on_up`: the connection is there (again)."""
        self._prefix = prefix
        self._connect = connect
        self._on_up = on_up
        self._on_down = on_down
        self._channels: dict[str, _Channel] = {}
        self._commands: asyncio.Queue[tuple[str, ...]] = asyncio.Queue()
        self._connected = False
        self._over = False
        self.up = asyncio.Event()
        self.losses = 0
        """How often something may have been missed."""

    def hold(self, name: str, heard: Heard) -> None:
        """Listen to a channel; `heard` is called with what is told, and is the same for all who hold it."""
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = _Channel(heard)
            self._command("SUBSCRIBE", [name])
        channel.holders += 1

    def release(self, name: str) -> None:
        """Listen to a channel no more, once nobody holds it."""
        self._channels[name].holders -= 1
        if not self._connected:
            self._forget_idle()

    async def opened(self, names: Iterable[str]) -> None:
        """Wait until what is told from now on is heard. The channels have to be held."""
        channels = [self._channels[name] for name in names if name in self._channels]
        while missing := [each for each in channels if not each.open.is_set()]:
            await missing[0].open.wait()

    async def run(self) -> None:
        """Listen for ever, over one connection after the other."""
        delay = FIRST_DELAY
        while True:
            connection = self._connect()
            try:
                await self._listen(connection)
            except Exception as error:  # noqa: BLE001 - whatever it was: another connection is tried
                if self.up.is_set() or delay == FIRST_DELAY:
                    log.warning("not connected to Redis", error=_reason(error))
            finally:
                delay = FIRST_DELAY if self.up.is_set() else min(2 * delay, LONGEST_DELAY)
                self._lost()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - processes shall not come all at once

    def end(self) -> None:
        """Listen no longer than to the next message, should the driver swallow the cancellation of `run`."""
        self._over = True

    async def _listen(self, connection: AbstractConnection) -> None:
        await connection.connect()
        self._commands = asyncio.Queue()
        self._connected = True
        names = list(self._channels)
        for first in range(0, len(names), AT_ONCE):
            self._command("SUBSCRIBE", names[first : first + AT_ONCE])
        self._commands.put_nowait(("PING",))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(connection))
            tasks.create_task(self._receive(connection))
            tasks.create_task(self._tidy())

    async def _send(self, connection: AbstractConnection) -> None:
        while True:
            await connection.send_command(*await self._commands.get())

    async def _receive(self, connection: AbstractConnection) -> None:
        asked = True
        while not self._over:
            said = cast("object", await connection.read_response(timeout=PULSE))
            if said is not None:
                asked = False
                self._take(said)
            elif asked:
                raise LostError("Redis does not answer.")
            else:
                asked = True
                self._commands.put_nowait(("PING",))

    async def _tidy(self) -> None:
        while True:
            await asyncio.sleep(LINGER)
            idle = [name for name, each in self._channels.items() if each.open.is_set() and not each.holders]
            for name in idle:
                del self._channels[name]
            for first in range(0, len(idle), AT_ONCE):
                self._command("UNSUBSCRIBE", idle[first : first + AT_ONCE])

    def _take(self, said: object) -> None:
        if not self.up.is_set():
            self.up.set()
            self._on_up()
        match said:
            case [b"subscribe", bytes(name), int()] if channel := self._named(name):
                channel.open.set()
            case [b"message", bytes(name), bytes(message)] if channel := self._named(name):
                _hand(channel, message)
            case _:
                pass

    def _named(self, name: bytes) -> _Channel | None:
        return self._channels.get(name.decode().removeprefix(self._prefix))

    def _forget_idle(self) -> None:
        """Without a connection there is nobody to be told so."""
        self._channels = {name: each for name, each in self._channels.items() if each.holders}

    def _command(self, command: str, names: list[str]) -> None:
        if self._connected:
            self._commands.put_nowait((command, *(self._prefix + name for name in names)))

    def _lost(self) -> None:
        self.losses += 1
        self._connected = False
        self._forget_idle()
        for channel in self._channels.values():
            channel.open.clear()
        if self.up.is_set():
            self.up.clear()
            self._on_down()


def _hand(channel: _Channel, message: bytes) -> None:
    try:
        channel.heard(message)
    except Exception:
        log.exception("what was told cannot be understood")


def _reason(error: Exception) -> str:
    if isinstance(error, ExceptionGroup):
        return _reason(cast("ExceptionGroup[Exception]", error).exceptions[0])
    return str(error)
