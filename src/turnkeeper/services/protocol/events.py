"""The events of a thread, from whichever moment somebody begins to listen."""

from datetime import datetime

from turnkeeper.contracts import Frame, Subscription
from turnkeeper.services.protocol.late import LateListener, Standing, requested, running
from turnkeeper.services.protocol.threads import Threads, graph_name, questions
from turnkeeper.services.runs import RunService


def before(moment: str) -> int:
    """The last `seq` before something happened (ISO 8601)."""
    return int(datetime.fromisoformat(moment).timestamp() * 1_000_000) - 1


class ThreadEvents:
    """What is told of threads, which need not exist yet."""

    def __init__(self, runs: RunService, threads: Threads) -> None:
        self._runs = runs
        self._threads = threads

    def news(self, thread_id: str) -> Subscription:
        """What happens from now on."""
        return self._runs.follow(thread_id, protocol=True)

    def listen(self, thread_id: str, since: int | None) -> LateListener:
        """What is stored after `since`, then what happens.

        From the start, that includes how things stand now, as far as no stored event says so.
        """

        async def look() -> Standing:
            return Standing() if since else await self._standing(thread_id)

        return LateListener(self._runs.follow(thread_id, protocol=True, after=since or 0), look)

    async def past(self, thread_id: str, since: int) -> list[Frame]:
        """What is stored after `since`."""
        listener = self.listen(thread_id, since)
        frames: list[Frame] = []
        try:
            while not (listener.caught_up or listener.closed):
                frames += await listener.batch(0)
        finally:
            listener.close()
        return frames

    async def heard(self, thread_id: str) -> int:
        """The last `seq` before the events a client that starts a run now still has to hear.

        That is this moment, unless a run is under way: what it told belongs to what the client sees next.
        """
        feed = self.news(thread_id)
        await feed.ready()
        feed.close()
        active = await self._threads.running(thread_id)
        return feed.since if active is None else min(feed.since, before(active.updated_at))

    async def _standing(self, thread_id: str) -> Standing:
        """What somebody who begins to listen now would have to know."""
        thread = await self._threads.find(thread_id)
        if thread is not None and thread.status == "busy":
            run = await self._threads.running(thread_id)
            return Standing(None if run is None else running(thread_id, run.run_id, graph_name(run)))
        if thread is not None and thread.status == "interrupted":
            run = await self._threads.run(thread_id, None)
            run_id = thread_id if run is None else run.run_id  # the state was copied, or made by hand
            return Standing(asked=[requested(thread_id, run_id, asked) for asked in questions(thread)])
        return Standing()
