"""A server that stops while somebody waits for a run to be stopped."""

import asyncio
import signal

from tests.interleaving.driver import new_line
from tests.interleaving.sockets import Http
from tests.nursery import Start


async def test_who_waits_for_a_run_to_stop_does_not_keep_the_server_from_stopping(start: Start) -> None:
    live = start(TURNKEEPER_CANCEL_GRACE="3")
    line = await new_line(Http(live.port), live)
    line.hold("A.stubborn")
    await line.say("A", graph="stubborn")
    await line.at("A.stubborn")
    path = f"/threads/{line.thread_id}/runs/{line.said[0].run_id}"
    waiting = asyncio.create_task(line.http.post(f"{path}/cancel?wait=1"))
    await line.at("A.asked")
    live.process.terminate()
    answer = await waiting
    assert answer.status_code in (200, 503)
    line.let("A.stubborn")
    assert await asyncio.to_thread(live.stop) in (0, -signal.SIGTERM)
