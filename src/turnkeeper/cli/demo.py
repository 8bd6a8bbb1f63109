"""`turnkeeper demo`: a real server, the example agent, and a second message that comes too early."""

import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from turnkeeper.cli.screen import Screen, verbose_option
from turnkeeper.cli.stopping import stop_on_sigterm
from turnkeeper.errors import ConfigError

if TYPE_CHECKING:  # the client takes half a second to import
    from turnkeeper.cli.child import Child
    from turnkeeper.cli.scenario import Outcome

HOST = "127.0.0.1"
DEFAULT_PORT = 2024
START_SECONDS = 60.0
STRATEGIES = ("reject", "enqueue", "interrupt", "rollback")

PROMISES = {
    "reject": "the second message was refused, the first answered undisturbed",
    "enqueue": "both messages were answered, one after the other",
    "interrupt": "the first run stopped where it was, the second went on from there",
    "rollback": "the first run left no trace, the second was answered alone",
}


@click.command
@click.option("--strategy", type=click.Choice(["all", *STRATEGIES]), default="all", show_default=True)
@click.option("--serve", "keep", is_flag=True, help="Keep the server running afterwards.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Port of the server.  [default: 2024 with --serve, if free]"
)
@verbose_option
@click.pass_obj
def demo(screen: Screen, *, strategy: str, keep: bool, port: int | None) -> int:
    """Send a second message while the first is being answered: see what each strategy makes of it."""
    from turnkeeper.cli.examples import example
    from turnkeeper.cli.listening import free_port, listen

    for taken in listen(HOST, port) if port else []:
        taken.close()
    port = port or free_port(HOST, *([DEFAULT_PORT] if keep else []))
    url = f"http://{HOST}:{port}"
    stop_on_sigterm()
    with (
        tempfile.TemporaryDirectory(prefix="turnkeeper-demo-") as folder,
        _server(Path(folder), example("weather"), port) as server,
    ):
        held = _play(screen, url, STRATEGIES if strategy == "all" else (strategy,))
        if keep:
            _keep(screen, server, url)
    return 0 if held else 1


@contextmanager
def _server(folder: Path, config: Path, port: int) -> Generator["Child"]:
    """A server with a database of its own, ready to be talked to, stopped at the end."""
    import asyncio

    from turnkeeper.cli.child import Child

    command = [sys.executable, "-P", "-m", "turnkeeper", "serve", "--host", HOST, "--port", str(port)]
    command += ["--config", str(config), "--db", str(folder / "demo.db")]
    log = folder / "server.log"
    with log.open("wb") as output:
        server = Child(command, output=output)
        try:
            if not asyncio.run(_ready(server, port)):
                said = log.read_text().strip()[-2000:]
                raise ConfigError("the server of the demo did not start", cause=said or "it says nothing")
            yield server
        finally:
            server.stop()


async def _ready(server: "Child", port: int) -> bool:
    """Wait until `/ok` answers; `False` if the server ends before, or takes too long."""
    import asyncio

    import httpx

    deadline = time.monotonic() + START_SECONDS
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{port}") as client:
        while server.exit_code is None and time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if (await client.get("/ok")).is_success:
                    return True
            await asyncio.sleep(0.05)
    return False


def _play(screen: Screen, url: str, strategies: tuple[str, ...]) -> bool:
    """Play the strategies side by side, each on its own thread; tell them one after the other."""
    import asyncio

    screen.line(
        f"{len(strategies) * 2} messages to a server on {url}, answered by the example agent: no key, no network\n"
    )
    outcomes = asyncio.run(_outcomes(url, strategies))
    for outcome in outcomes:
        _tell(screen, outcome)
    return all(outcome.problem is None for outcome in outcomes)


async def _outcomes(url: str, strategies: tuple[str, ...]) -> list["Outcome"]:
    import asyncio

    from langgraph_sdk import get_client

    from turnkeeper.cli.scenario import play

    async with get_client(url=url, api_key=None) as client:
        return await asyncio.gather(*(play(client, strategy) for strategy in strategies))  # pyright: ignore[reportArgumentType]  click checked it


def _tell(screen: Screen, outcome: "Outcome") -> None:
    screen.line(click.style(outcome.strategy, bold=True))
    for at, kind, text, gone in _transcript(outcome):
        line = f"  {at:5.1f} s  {kind:<5}  {text}"
        screen.line(click.style(line + "   (rolled back)", dim=True) if gone else line)
    screen.line(f"  runs: {outcome.first or 'gone'}, {outcome.second or 'none'}")
    screen.line(f"  state: {' '.join(message.kind for message in outcome.state)}")
    held = click.style("held:", fg="green", bold=True) + f" {PROMISES[outcome.strategy]}"
    broken = click.style("did not hold:", fg="red", bold=True) + f" {outcome.problem}"
    screen.line(f"  {broken if outcome.problem else held}\n")


def _transcript(outcome: "Outcome") -> list[tuple[float, str, str, bool]]:
    """(second, who, what, whether it is gone): people's messages when they were sent, others when they were there."""
    from turnkeeper.cli.scenario import SECOND

    kept = {message.id for message in outcome.state}
    second = f"{SECOND}   ({outcome.strategy}{': 409' if outcome.refused else ''})"
    lines = [(message.at, message.kind, message.text, message.id not in kept) for message in outcome.seen]
    lines = [line for line in lines if line[2] != SECOND]
    return sorted([*lines, (outcome.second_sent_at, "human", second, False)])


def _keep(screen: Screen, server: "Child", url: str) -> None:
    question = '{"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": "weather in sf?"}]}}'
    screen.line(f"The server goes on at {url} until Ctrl-C:")
    screen.line(f"  curl -s {url}/runs/wait -H 'Content-Type: application/json' -d '{question}'")
    server.wait()
