"""Any sequence of moves leaves the storage where `lifecycle` says: its pure functions are the model here."""

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conformance.conftest import Backend, Kit, NoRoom
from turnkeeper import lifecycle
from turnkeeper.errors import Conflict, Fenced, NotFound
from turnkeeper.lifecycle import CancelAction, RestStatus, RunStatus, Strategy
from turnkeeper.types import Admitted, Claimed, Limits, NewThread, Outcome, Queueing, Stopped, Supersession

MOVE_OF = {"success": "succeed", "error": "fail", "timeout": "expire", "interrupted": "interrupt"}

which = st.integers(0, 11)
actions = st.sampled_from(["interrupt", "rollback"])
strategies = st.sampled_from(["reject", "enqueue", "interrupt", "rollback"])
statuses = st.sampled_from(list(MOVE_OF))
rests = st.sampled_from(["idle", "interrupted", "error"])
queueings = st.builds(
    Queueing,
    priority=st.sampled_from([0, 0, 5, -5]),
    fairness_key=st.sampled_from([None, "a", "b"]),
    concurrency_key=st.sampled_from([None, None, "k"]),
)


@dataclass
class ModelRun:
    """What a run should be."""

    run_id: str
    due_at: float
    queueing: Queueing = field(default_factory=Queueing)
    status: RunStatus | None = "pending"
    attempt: int = 0
    cancel: CancelAction | None = None
    carry: bool = False
    journal: list[str] = field(default_factory=lambda: ["created"])

    @property
    def active(self) -> bool:
        return self.status in lifecycle.ACTIVE

    def move(self, move: lifecycle.Move, event: str) -> None:
        allowed, then = lifecycle.MOVES[move]
        assert self.status in allowed
        self.status = then
        self.journal.append("tombstone" if then is None else event)


@dataclass
class ModelThread:
    """What a thread should be: its runs in the order of admission."""

    thread_id: str
    temporary: bool
    rest: RestStatus = "idle"
    runs: list[ModelRun] = field(default_factory=list)

    @property
    def active(self) -> list[ModelRun]:
        return [run for run in self.runs if run.active]

    @property
    def running(self) -> list[ModelRun]:
        return [run for run in self.runs if run.status == "running"]

    @property
    def carried(self) -> list[str]:
        """Runs whose input the next one has to put into the state."""
        return [run.run_id for run in self.runs if run.carry and run.status is not None]

    def next(self, now: float) -> ModelRun | None:
        """The run that has to start next, if one may start at all (I1, I2)."""
        due = self.due(now)
        return due[0] if due and not self.running else None

    def due(self, now: float) -> list[ModelRun]:
        return [run for run in self.active if run.due_at <= now]

    def priority(self, now: float) -> int:
        """It is as urgent as the most urgent of its runs."""
        return max(run.queueing.priority for run in self.due(now))


class Room(NoRoom):
    """Signals of a process whose workers take a few runs straight from admission."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.taken: list[Claimed] = []

    def reserve(self) -> bool:
        self.places -= 1
        return self.places >= 0

    def hand_over(self, claimed: Claimed | None) -> None:
        if claimed is not None:
            self.taken.append(claimed)


class Machine(RuleBasedStateMachine):
    """Random moves, made on the storage and on the model alike."""

    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._runner = asyncio.Runner()
        self.kit = Kit(backend, Path(self._folder.name), Limits(named={"k": 1}))
        self.threads: list[ModelThread] = []
        self.made = 0
        self.journals: dict[str, list[str]] = {}
        self.wait(self.kit.prepare())

    def wait(self, work: Awaitable[Any]) -> Any:
        async def waiting() -> Any:
            return await work

        return self._runner.run(waiting())

    def teardown(self) -> None:
        self.kit.close()
        self._runner.close()
        self._folder.cleanup()

    # --- moves ----------------------------------------------------------------------------------------------------

    @initialize(queued=st.integers(0, 3), claimed=st.booleans())
    def begin(self, queued: int, claimed: bool) -> None:
        for temporary in (False, True, False):
            self.make_thread(temporary=temporary)
        for which in range(queued * 2):
            self.admit_one(which)
        if claimed:
            self.claim(limit=2)

    @precondition(lambda self: len(self.threads) < 3)
    @rule(temporary=st.booleans())
    def make_thread(self, temporary: bool) -> None:
        self.made += 1
        thread_id = str(UUID(int=self.made))  # of threads ready at once the ids decide: each example has the same
        self.threads.append(ModelThread(thread_id, temporary))
        self.wait(self.kit.storage.threads.create(NewThread(thread_id, {}, temporary=temporary), exist_ok=False))

    @precondition(lambda self: self.threads)
    @rule(which=which)
    def admit_one(self, which: int) -> None:
        self.admit(which, "enqueue", 0, 0, Supersession(), Queueing())

    @precondition(lambda self: self.threads)
    @rule(
        which=which,
        strategy=strategies,
        delay=st.sampled_from([0, 0, 0, 5]),
        places=st.integers(0, 2),
        supersession=st.builds(Supersession, keep_queued=st.booleans(), keep_inputs=st.booleans()),
        queueing=queueings,
    )
    def admit(
        self,
        which: int,
        strategy: Strategy,
        delay: int,
        places: int,
        supersession: Supersession,
        queueing: Queueing,
    ) -> None:
        thread = self.threads[which % len(self.threads)]
        decision = lifecycle.admit(strategy, busy=bool(thread.active))
        room = self.kit.signals = Room(places)
        due_at = self.kit.clock.now + delay
        told = {"due_at": due_at, "supersession": supersession, "queueing": queueing}
        admission = self.kit.admit(thread.thread_id, strategy, **told)
        if not decision.accept:
            with pytest.raises(Conflict):
                self.wait(admission)
            return
        admitted: Admitted = self.wait(admission)
        assert admitted.run.status == "pending"
        run = ModelRun(admitted.run.run_id, due_at, queueing)
        self.journals[run.run_id] = run.journal
        if decision.stop_active is not None:
            self.model_supersede(thread, decision.stop_active, supersession, admitted.stopped)
        thread.runs.append(run)
        if room.taken:
            assert thread.next(self.kit.clock.now) is run
            self.model_claim(thread, run, room.taken[0])

    @precondition(lambda self: any(thread.active for thread in self.threads))
    @rule(limit=st.integers(1, 4))
    def claim(self, limit: int) -> None:
        now = self.kit.clock.now
        claims = self.wait(self.kit.storage.runs.claim(limit))
        threads = {thread.thread_id: thread for thread in self.threads}
        ready = {thread.thread_id: run for thread in self.threads if (run := thread.next(now))}
        free = [thread_id for thread_id, run in ready.items() if not run.queueing.concurrency_key]
        slots = 1 - self.slots_taken()
        assert len(claims.taken) == min(limit, len(free) + min(slots, len(ready) - len(free)))
        urgency = {thread_id: threads[thread_id].priority(now) for thread_id in free}
        taken = [claimed.thread_id for claimed in claims.taken if claimed.thread_id in free]
        assert [urgency[each] for each in taken] == sorted(urgency.values(), reverse=True)[: len(taken)]
        for claimed in claims.taken:
            self.model_claim(threads[claimed.thread_id], ready.pop(claimed.thread_id), claimed)
        waiting = [run.due_at for thread in self.threads for run in thread.active]
        assert claims.next_due == min((due_at for due_at in waiting if due_at > now), default=None)

    @precondition(lambda self: self.all_running())
    @rule(which=which, status=statuses, rest=rests)
    def finish(self, which: int, status: Any, rest: RestStatus) -> None:
        thread, run = self.pick(self.all_running(), which)
        ended = self.wait(self.kit.storage.runs.finish(run.run_id, run.attempt, Outcome(status=status, rest=rest)))
        run.move(lifecycle.ending(MOVE_OF[status], run.cancel), "ended")  # pyright: ignore[reportArgumentType]
        assert ended.status == run.status
        if run.status is not None:
            thread.rest = rest
        assert ended.more == bool(thread.active or run.queueing.concurrency_key)
        self.model_leave(thread)

    @precondition(lambda self: self.all_running())
    @rule(which=which)
    def finish_late(self, which: int) -> None:
        """An attempt that is not the run's any more."""
        _, run = self.pick(self.all_running(), which)
        with pytest.raises(Fenced):
            self.wait(self.kit.storage.runs.finish(run.run_id, run.attempt - 1, Outcome(status="success")))

    @precondition(lambda self: self.all_running())
    @rule(which=which)
    def seal(self, which: int) -> None:
        """Its code does not stop: only the next attempt, which nothing executes, may end the run."""
        _, run = self.pick(self.all_running(), which)
        assert self.wait(self.kit.storage.runs.seal(run.run_id, run.attempt)) == run.attempt + 1
        run.attempt += 1

    @precondition(lambda self: self.all_running())
    @rule(which=which)
    def release(self, which: int) -> None:
        _, run = self.pick(self.all_running(), which)
        self.wait(self.kit.storage.runs.release(run.run_id, run.attempt))
        run.move("release", "released")

    @precondition(lambda self: self.all_running())
    @rule()
    def crash(self) -> None:
        running = self.all_running()
        self.kit.crash()
        assert self.wait(self.kit.storage.runs.recover()) == len(running)
        for _, run in running:
            run.move("release", "released")

    @precondition(lambda self: self.all_runs())
    @rule(which=which, action=actions)
    def cancel(self, which: int, action: CancelAction) -> None:
        thread, run = self.pick(self.all_runs(), which)
        stopped = self.wait(self.kit.storage.runs.cancel(thread.thread_id, [run.run_id], action, "enough"))
        assert stopped.found == run.active
        self.model_stop([run] if run.active else [], action, stopped)
        self.model_leave(thread)

    @precondition(lambda self: self.all_running())
    @rule(which=which, action=actions, status=statuses)
    def cancel_and_finish(self, which: int, action: CancelAction, status: Any) -> None:
        """The end of an attempt comes while it is being told to stop."""
        thread, run = self.pick(self.all_running(), which)
        stopped = self.wait(self.kit.storage.runs.cancel(thread.thread_id, [run.run_id], action, "enough"))
        self.model_stop([run], action, stopped)
        self.finish(self.all_running().index((thread, run)), status, "idle")

    @precondition(lambda self: any(thread.active for thread in self.threads))
    @rule(which=which, action=actions)
    def cancel_thread(self, which: int, action: CancelAction) -> None:
        thread = self.threads[which % len(self.threads)]
        active = thread.active
        stopped = self.wait(self.kit.storage.runs.cancel_thread(thread.thread_id, action, "enough"))
        self.model_stop(active, action, stopped)
        if active:
            self.model_leave(thread)

    @precondition(lambda self: self.all_runs())
    @rule(which=which)
    def delete_run(self, which: int) -> None:
        thread, run = self.pick(self.all_runs(), which)
        self.wait(self.kit.storage.runs.delete(thread.thread_id, run.run_id))
        run.status = None
        run.journal.append("tombstone")
        self.model_leave(thread)

    @precondition(lambda self: len(self.threads) > 2)
    @rule(which=which)
    def delete_thread(self, which: int) -> None:
        thread = self.threads.pop(which % len(self.threads))
        stopped = self.wait(self.kit.storage.threads.delete(thread.thread_id))
        assert [ended.run_id for ended in stopped.ended] == [run.run_id for run in thread.active]
        for run in thread.active:
            run.journal.append("tombstone")

    @precondition(lambda self: any(run.due_at > self.kit.clock.now for _, run in self.all_runs()))
    @rule(seconds=st.sampled_from([1, 5, 60]))
    def time_passes(self, seconds: int) -> None:
        self.kit.clock.now += seconds

    # --- the model ------------------------------------------------------------------------------------------------

    def model_claim(self, thread: ModelThread, run: ModelRun, claimed: Claimed) -> None:
        run.move("claim", "started")
        run.attempt += 1
        assert [carried.run_id for carried in claimed.carried] == thread.carried
        assert (claimed.run_id, claimed.attempt, claimed.cancel_action) == (run.run_id, run.attempt, run.cancel)

    def model_supersede(
        self, thread: ModelThread, action: CancelAction, supersession: Supersession, stopped: Stopped
    ) -> None:
        superseded = [run for run in thread.active if not (supersession.keep_queued and run.attempt == 0)]
        for run in superseded:
            run.journal.append("superseded_by")
        self.model_stop(superseded, action, stopped, carry=supersession.keep_inputs and action == "interrupt")

    def model_stop(self, runs: list[ModelRun], action: CancelAction, stopped: Stopped, *, carry: bool = False) -> None:
        """Runs that never started end at once; the others are told, and a rollback is never taken back."""
        for run in runs:
            run.journal.append("cancel_requested")
            run.carry = "rollback" not in (action, run.cancel) and (carry or run.carry)
            if run.attempt == 0:
                run.move(lifecycle.stop_move(action), "ended")
            else:
                run.cancel = "rollback" if run.cancel == "rollback" else action
        assert [(end.run_id, end.status) for end in stopped.ended] == [
            (run.run_id, run.status) for run in runs if not run.active
        ]
        assert list(stopped.stopping) == [run.run_id for run in runs if run.active]

    def model_leave(self, thread: ModelThread) -> None:
        """A temporary thread goes with its last run."""
        if thread.temporary and not thread.active:
            self.threads.remove(thread)
            with pytest.raises(NotFound):
                self.wait(self.kit.storage.threads.get(thread.thread_id))

    def all_runs(self) -> list[tuple[ModelThread, ModelRun]]:
        return [(thread, run) for thread in self.threads for run in thread.runs if run.status is not None]

    def all_running(self) -> list[tuple[ModelThread, ModelRun]]:
        return [(thread, run) for thread, run in self.all_runs() if run.status == "running"]

    def slots_taken(self) -> int:
        return sum(run.queueing.concurrency_key is not None for _, run in self.all_running())

    def pick(self, found: list[tuple[ModelThread, ModelRun]], which: int) -> tuple[ModelThread, ModelRun]:
        return found[which % len(found)]

    # --- what must hold after every move --------------------------------------------------------------------------

    @invariant()
    def runs_are_what_the_model_says(self) -> None:
        """Nothing is lost, nothing is out of order, and no two runs of a thread run (I1, I2, I6)."""
        for thread in self.threads:
            found = self.wait(self.kit.storage.runs.of_thread(thread.thread_id, status=None, limit=1000, offset=0))
            expected = [(run.run_id, run.status) for run in thread.runs if run.status is not None]
            assert [(run.run_id, run.status) for run in reversed(found)] == expected
            assert len(thread.running) <= 1

    @invariant()
    def no_more_runs_have_a_slot_than_there_are(self) -> None:
        assert self.slots_taken() <= 1

    @invariant()
    def threads_are_what_their_runs_make_them(self) -> None:
        for thread in self.threads:
            found = self.wait(self.kit.storage.threads.get(thread.thread_id))
            assert found.status == lifecycle.thread_status(busy=bool(thread.active), rest=thread.rest)

    @invariant()
    def the_journal_tells_every_move(self) -> None:
        told: dict[str, list[str]] = {}
        for run_id, event in self.kit.backend.journal(self.kit.storage):
            told.setdefault(run_id, []).append(event)
        assert told == self.journals


def check(backend: Backend, *, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        cast("type[Machine]", lambda: Machine(backend)),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )


@pytest.mark.timeout(400)  # it passes in seconds; a failure is worth the minutes it takes to make it short
def test_no_sequence_of_moves_breaks_a_thread(backend: Backend) -> None:
    check(backend, examples=backend.examples, steps=40)


@pytest.mark.long
def test_no_long_sequence_of_moves_breaks_a_thread(backend: Backend) -> None:
    check(backend, examples=600, steps=100)
