"""Anything clients may do to threads, in any order and at the same time: the journal, the nodes and the state agree."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from tests.interleaving.driver import (
    NODES,
    Line,
    Note,
    Said,
    assert_no_overlap,
    assert_steps_fit,
    journal,
    new_line,
    on_disk,
)
from tests.interleaving.sockets import Answer, Http
from tests.wire.live import Live
from turnkeeper import lifecycle

LATER = 60.0
"""Seconds after which a run starts that no test waits for."""


# --- What clients do --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Say:
    """Send an input; a stream or a wait is left open."""

    line: int
    how: str
    strategy: str
    pace: float
    held: bool
    ask: bool
    options: dict[str, Any]


@dataclass(frozen=True)
class Act:
    """Anything else. `which` of the inputs of the thread, counted from the newest."""

    line: int
    what: str
    which: int = 0
    action: str = "interrupt"


options = st.fixed_dictionaries(
    {},
    optional={
        "after_seconds": st.sampled_from([0.0, 0.01, LATER]),
        "queued_on_interrupt": st.sampled_from(["keep", "cancel"]),
        "superseded_input": st.sampled_from(["keep", "keep", "drop"]),
        "on_disconnect": st.just("cancel"),
        "durability": st.sampled_from(["sync", "exit"]),
    },
)
lines = st.sampled_from([0, 0, 0, 1])
says = st.builds(
    Say,
    line=lines,
    how=st.sampled_from(["runs", "runs", "runs/stream", "runs/wait"]),
    strategy=st.sampled_from(["reject", "enqueue", "enqueue", "interrupt", "interrupt", "rollback"]),
    pace=st.sampled_from([0.0, 0.0, 0.001, 0.004]),
    held=st.sampled_from([False, False, True]),
    ask=st.sampled_from([False, False, False, True]),
    options=options,
)
acts = st.builds(
    Act,
    line=lines,
    what=st.sampled_from(
        ["cancel", "cancel", "cancel and wait", "delete", "edit", "edit", "resume", "hang up", "look", "let"]
    ),
    which=st.integers(0, 3),
    action=st.sampled_from(["interrupt", "rollback"]),
)
ends = st.builds(Act, line=lines, what=st.just("delete thread"))
bundles = st.lists(st.one_of(says, says, acts), min_size=1, max_size=4)


@dataclass(eq=False)
class Thread:
    """What the test knows of a thread."""

    line: Line
    said: list[tuple[Say, Said]] = field(default_factory=list)
    open: dict[str, AsyncExitStack] = field(default_factory=dict)
    """Streams nobody has hung up on, by run."""
    deletion: bool = False
    """Whether somebody asked for it."""


class Interleaving(RuleBasedStateMachine):
    """Two threads of one server. Each rule is a bundle of requests that are under way at once."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live
        self._runner = asyncio.Runner()
        self._disk = AsyncExitStack()
        self._connection = self._disk.enter_context(on_disk(live))
        self._readers: set[asyncio.Task[None]] = set()
        self._tags = iter(f"T{number:03}" for number in range(1000))
        http = Http(live.port)
        self.threads = [Thread(self._runner.run(new_line(http, live))) for _ in range(2)]

    @rule(bundle=bundles)
    def at_once(self, bundle: list[Say | Act]) -> None:
        self._runner.run(self._at_once(bundle))

    @rule(act=ends, bundle=bundles)
    def with_a_deletion(self, act: Act, bundle: list[Say | Act]) -> None:
        self._runner.run(self._at_once([*bundle, act]))

    @rule()
    def let_go(self) -> None:
        for thread in self.threads:
            _let(thread)

    def teardown(self) -> None:
        try:
            self._runner.run(self._finish())
        finally:
            self._runner.close()
            self._runner = asyncio.Runner()
            self._runner.run(self._disk.aclose())
            self._runner.close()

    async def _at_once(self, bundle: list[Say | Act]) -> None:
        async with asyncio.timeout(50), asyncio.TaskGroup() as group:
            for each in bundle:
                thread = self.threads[each.line]
                group.create_task(self._say(thread, each) if isinstance(each, Say) else self._act(thread, each))

    # --- Requests, each with what must be true of its answer

    async def _say(self, thread: Thread, say: Say) -> None:
        tag, before = next(self._tags), self._active(thread)
        said = thread.line.prepare(tag, say.strategy, pace=say.pace, **say.options)
        said.body["input"]["ask"] = say.ask
        thread.said.append((say, said))
        if say.held:
            thread.line.hold(f"{tag}.n2")
        stack = AsyncExitStack()
        path = f"/threads/{thread.line.thread_id}/{say.how}"
        answer = await stack.enter_async_context(thread.line.http.open("POST", path, said.body))
        said.accepted = answer.status_code == 200
        if said.accepted and say.how != "runs":
            thread.open[said.run_id] = stack
        else:
            await stack.aclose()
        allowed = {200, 409} if say.strategy == "reject" else {200}
        assert answer.status_code in allowed | ({404} if thread.deletion else set())
        if say.strategy == "reject":
            self._check_refusal(thread, before, answer, 200)

    async def _act(self, thread: Thread, act: Act) -> None:
        line = thread.line
        path, run_id = f"/threads/{line.thread_id}", self._which(thread, act.which)
        match act.what:
            case "delete thread":
                thread.deletion = True
                _let(thread)
                _expect(await line.http.delete(path), 204, 404)
            case "edit":
                before = self._active(thread)
                edit = {"values": {"steps": ["edit"]}, "as_node": "n3"}
                answer = await line.http.post(f"{path}/state", edit)
                if answer.status_code not in (400, 404):
                    self._check_refusal(thread, before, answer, 200)
            case "look":
                before = self._active(thread)
                answer = await line.http.get(path)
                if self._active(thread) == before and answer.status_code == 200:
                    assert (answer.json()["status"] == "busy") == bool(before[0])
            case "resume":
                said = line.prepare(next(self._tags), "enqueue", command={"resume": "yes"}, input=None)
                answer = await line.http.post(f"{path}/runs", said.body)
                said.accepted = answer.status_code == 200
                _expect(answer, 200, 404)
            case "let":
                _let(thread)
            case _ if run_id is None:
                pass
            case "hang up" if run_id in thread.open:
                await thread.open.pop(run_id).aclose()
            case "delete":
                _expect(await line.http.delete(f"{path}/runs/{run_id}"), 204, 404)
            case "cancel" | "cancel and wait":
                waiting = int(act.what != "cancel")
                query = f"?action={act.action}&wait={waiting}"
                _expect(await line.http.post(f"{path}/runs/{run_id}/cancel{query}"), 200, 202, 404)
            case _:
                pass

    def _check_refusal(self, thread: Thread, before: tuple[set[str], int], answer: Answer, taken: int) -> None:
        """409 if and only if the thread was busy."""
        active, moves = self._active(thread)
        if answer.status_code == 409:
            assert active or before[0] or moves != before[1], "refused although the thread was not busy"
        elif answer.status_code == taken:
            assert not active & before[0], "taken although the thread was busy"

    def _active(self, thread: Thread) -> tuple[set[str], int]:
        """The active runs of a thread on disk, and how much has ever happened to it."""
        where = [thread.line.thread_id]
        query = "select run_id from runs where thread_id = ? and status in ('pending', 'running')"
        found = {run_id for (run_id,) in self._connection.execute(query, where)}
        (moves,) = self._connection.execute("select count(*) from journal where thread_id = ?", where).fetchone()
        return found, moves

    def _which(self, thread: Thread, which: int) -> str | None:
        accepted = [said.run_id for said in thread.line.accepted]
        return accepted[-1 - which] if which < len(accepted) else None

    # --- The end of a sequence

    async def _finish(self) -> None:
        async with asyncio.timeout(50):
            await asyncio.gather(*(self._see_out(thread) for thread in self.threads))
        for thread in self.threads:
            try:
                await self._check(thread)
            except BaseException:
                print(*journal(self._connection, thread.line.thread_id), sep="\n")
                print(*thread.line.log, sep="\n")
                print(*((said.run_id, said.tag, say) for say, said in thread.said), sep="\n")
                raise

    async def _see_out(self, thread: Thread) -> None:
        """Open the gates, let nothing wait for a time that never comes, say one last thing."""
        line = thread.line
        _let(thread)
        for say, said in thread.said:
            if said.accepted and say.options.get("after_seconds") == LATER:
                await line.http.post(f"/threads/{line.thread_id}/runs/{said.run_id}/cancel")
        for said in line.accepted:
            await line.end_of(said.run_id)
        answer = await line.say("Z", "enqueue")
        assert answer.status_code == (404 if thread.deletion else 200)
        await line.end_of(line.said[-1].run_id)
        for stack in thread.open.values():
            await stack.aclose()

    async def _check(self, thread: Thread) -> None:
        line, notes = thread.line, journal(self._connection, thread.line.thread_id)
        model = Model({said.run_id: said for said in line.said})
        model.replay(notes)
        assert not self._active(thread)[0]
        assert_no_overlap(line.log)
        assert [run_id for run_id in model.started if run_id in set(line.begun())] == line.begun()
        assert set(model.runs) == {said.run_id for said in line.accepted}
        if not thread.deletion:
            await self._check_state(line, model)

    async def _check_state(self, line: Line, model: "Model") -> None:
        runs = await line.runs()
        assert {run_id: run["status"] for run_id, run in runs.items()} == {
            run.run_id: run.status for run in model.runs.values() if run.status is not None
        }
        assert (await line.thread())["status"] == "idle"
        values = await line.values()
        gone = {run.run_id for run in model.runs.values() if run.rolled_back}
        steps = [step.partition("=")[0] for step in values["steps"] if step != "edit"]
        assert_steps_fit(steps, line.log, gone)
        assert steps[-3:] == [f"Z.{node}" for node in NODES]
        tags = [run.said.tag for run in model.runs.values() if run.gave_input]
        assert len(values["said"]) == len(set(values["said"]))
        assert set(values["said"]) <= set(tags)
        for run in model.runs.values():
            if run.rolled_back:
                assert run.said.tag not in values["said"], f"{run.said.tag} was rolled back"
            elif run.gave_input and (
                run.status == "success" or (run.keep and not run.deleted) or run.run_id in line.begun()
            ):
                assert run.said.tag in values["said"], f"{run.said.tag} is lost"


def _let(thread: Thread) -> None:
    thread.line.let(*(f"{said.tag}.n2" for _, said in thread.said))


def _expect(answer: Answer, *allowed: int) -> None:
    assert answer.status_code in allowed, f"{answer.status_code}: {answer.text}"


# --- The model: what the journal may say ------------------------------------------------------------------------------


@dataclass(eq=False)
class ModelRun:
    """A run as its journal tells."""

    said: Said
    number: int
    status: str | None = "pending"
    cancel: lifecycle.CancelAction | None = None
    keep: bool = False
    """Whether it was superseded by a run that keeps its input."""
    rolled_back: bool = False
    deleted: bool = False

    @property
    def run_id(self) -> str:
        return self.said.run_id

    @property
    def active(self) -> bool:
        return self.status in lifecycle.ACTIVE

    @property
    def at_once(self) -> bool:
        return not self.said.body.get("after_seconds")

    @property
    def gave_input(self) -> bool:
        return self.said.body.get("command") is None

    def keeps(self, kind: str, default: str) -> bool:
        return self.said.body.get(kind, default) == "keep"


class Model:
    """Replays a thread's journal by the rules of `lifecycle`; whatever breaks one fails."""

    def __init__(self, said: dict[str, Said]) -> None:
        self._said = said
        self.runs: dict[str, ModelRun] = {}
        self.started: list[str] = []
        self._owed: set[str] = set()
        """Runs that the newest one has to stop."""

    def replay(self, notes: list[Note]) -> None:
        for note in notes:
            getattr(self, f"_{note.event}")(note)
        assert not self._owed
        assert not list(self._active()), "an accepted run has no end"

    def _active(self) -> Iterator[ModelRun]:
        return (run for run in self.runs.values() if run.active)

    def _created(self, note: Note) -> None:
        assert not self._owed, f"not stopped before {note}: {self._owed}"
        run, active = ModelRun(self._said[note.run_id], len(self.runs)), list(self._active())
        decision = lifecycle.admit(run.said.strategy, busy=bool(active))  # type: ignore[arg-type]
        assert decision.accept, f"{note} although {active}"
        if decision.stop_active is not None:
            keep_queued = run.keeps("queued_on_interrupt", "cancel")
            self._owed = {each.run_id for each in active if not (keep_queued and each.status == "pending")}
        self.runs[note.run_id] = run

    def _superseded_by(self, note: Note) -> None:
        self._owed.remove(note.run_id)
        newer = self.runs[note.detail or ""]
        assert newer.number == len(self.runs) - 1
        run = self.runs[note.run_id]
        run.keep |= newer.said.strategy == "interrupt" and newer.keeps("superseded_input", "keep")

    def _cancel_requested(self, note: Note) -> None:
        run, action = self.runs[note.run_id], (note.detail or "").partition(":")[0]
        assert run.active
        assert action in ("interrupt", "rollback")
        if run.cancel != "rollback":
            run.cancel = action  # type: ignore[assignment]

    def _started(self, note: Note) -> None:
        run = self.runs[note.run_id]
        run.status = self._moved(run, "claim")
        others = [each for each in self._active() if each is not run and each.run_id not in self._owed]
        assert not [each for each in others if each.status == "running"], f"{note} beside another"
        early = [each for each in others if each.number < run.number and each.at_once]
        assert not early, f"{note} before its turn"
        self.started.append(note.run_id)

    def _ended(self, note: Note) -> None:
        run = self.runs[note.run_id]
        moves = {"success": "succeed", "error": "fail", "timeout": "expire", "interrupted": "interrupt"}
        wanted: Any = moves[note.detail or ""]
        assert lifecycle.ending(wanted, run.cancel) == wanted, f"{note} although {run.cancel}"
        assert note.detail != "error" or not run.gave_input
        run.status = self._moved(run, wanted)

    def _tombstone(self, note: Note) -> None:
        run = self.runs[note.run_id]
        if run.active and note.detail != "thread deleted":
            assert run.cancel == "rollback", f"{note} although nobody asked for a rollback"
            self._moved(run, "rollback")
            run.rolled_back = True
        run.status, run.deleted = None, not run.rolled_back

    def _moved(self, run: ModelRun, move: lifecycle.Move) -> str | None:
        allowed, then = lifecycle.MOVES[move]
        assert run.status in allowed
        return then


def run_machine(live: Live, examples: int, *, derandomize: bool) -> None:
    """Many sequences."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=5,
        database=None,
        derandomize=derandomize,
        phases=[Phase.explicit, Phase.generate],
        print_blob=True,
        report_multiple_bugs=False,
    )
    factory: Any = lambda: Interleaving(live)  # noqa: E731 - what it takes is no class of ours
    run_state_machine_as_test(factory, settings=chosen)


@pytest.mark.timeout(400)
def test_whatever_clients_do_at_once_turns_are_kept_and_nothing_is_lost(server: Live) -> None:
    run_machine(server, 500, derandomize=True)


@pytest.mark.parametrize("number", range(3))
async def test_no_one_waits_for_ever_on_a_thread_that_is_deleted_while_people_type(
    http: Http, server: Live, number: int
) -> None:
    lines = [await new_line(http, server) for _ in range(10)]
    for line in lines:
        line.hold(*(f"T{place}.n1" for place in range(10)))
        await line.say("T0")
        await line.at("T0.n1")
    requests: list[Coroutine[Any, Any, Any]] = []
    for line in lines:
        typing = [line.say(f"T{place}", "enqueue", how="runs/wait") for place in range(1, 10)]
        requests += [*typing[:5], http.delete(f"/threads/{line.thread_id}"), *typing[5:]]
    await asyncio.gather(*requests)
    for line in lines:
        with on_disk(server) as connection:
            Model({said.run_id: said for said in line.said}).replay(journal(connection, line.thread_id))
        assert (await http.get(f"/threads/{line.thread_id}")).status_code == 404


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_whatever_clients_do_at_once_for_long(server: Live) -> None:
    run_machine(server, 20_000, derandomize=False)
