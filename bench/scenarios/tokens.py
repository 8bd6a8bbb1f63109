"""What a streamed token costs, and how soon a stream begins."""

from statistics import median

import orjson

from bench.client import Event, Reply
from bench.driver import Driver, closed_loop
from bench.model import Figure, Sample, Scenario, Size
from bench.proc import Meter

CLIENTS, TOKENS = 8, 200
WANTED = [f"{i} " for i in range(TOKENS)]
CPU, RATE = "CPU s/1k tokens", "tokens/s"
EVENT, TOKEN = "first event p50 ms", "first token p50 ms"
IDLE_EVENT, IDLE_TOKEN = f"{EVENT}, idle", f"{TOKEN}, idle"


def _token(event: Event) -> str:
    return str(orjson.loads(event.data)[0].get("content", "")) if event.name == "messages" else ""


def read(driver: Driver, reply: Reply) -> tuple[float, float]:
    """Check a stream; milliseconds to its first event and to its first token."""
    events = reply.events()
    said = [(token, event.at) for event in events if (token := _token(event))]
    got = [token for token, _ in said]
    if got != WANTED:
        driver.fault(f"{len(got)} tokens of {TOKENS}, or not in order: {got[:3]} … {got[-3:]}")
    names = [event.name for event in events]
    if names[:1] != ["metadata"] or "error" in names:
        driver.fault(f"stream events {sorted(set(names))}")
    if not said:
        return float("nan"), float("nan")
    return (events[0].at - reply.sent) * 1e3, (said[0][1] - reply.sent) * 1e3


async def streams(driver: Driver, clients: int, count: int) -> list[Reply]:
    """Runs whose tokens are streamed, on threads of their own."""
    replies: list[Reply] = []

    async def run(thread: str) -> None:
        replies.append(await driver.stream(thread, TOKENS))

    await closed_loop(await driver.threads(count), run, clients)
    return replies


async def measure(driver: Driver, size: Size) -> Sample:
    """Streams one after the other on an idle server, then many at once."""
    idle = [read(driver, reply) for reply in await streams(driver, 1, 2 * size.streams_per_client)]
    meter = Meter(driver.server.pid)
    replies = await streams(driver, CLIENTS, CLIENTS * size.streams_per_client)
    usage = meter.stop()
    times = [read(driver, reply) for reply in replies]
    total = TOKENS * len(replies)
    figures = {
        CPU: usage.server_cpu_s * 1e3 / total,
        RATE: total / usage.wall_s,
        EVENT: median(event for event, _ in times),
        TOKEN: median(token for _, token in times),
        IDLE_EVENT: median(event for event, _ in idle),
        IDLE_TOKEN: median(token for _, token in idle),
    }
    return Sample(figures, {"usage": usage, "bytes_per_token": sum(len(r.body) for r in replies) / total})


SCENARIO = Scenario(
    "tokens",
    f"messages-tuple stream, {CLIENTS} clients, {TOKENS} tokens each",
    [Figure(CPU, 2.5), Figure(EVENT, 3.0), Figure(TOKEN), Figure(RATE), Figure(IDLE_EVENT), Figure(IDLE_TOKEN)],
    measure,
)
