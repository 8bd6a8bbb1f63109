"""What only a database that several servers share can get wrong."""

import asyncio
import random
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from psycopg import Connection

from tests.conformance.conftest import Kit
from tests.conformance.postgres_kit import Postgres
from tests.conformance.test_runs import Places
from turnkeeper.contracts import Leases
from turnkeeper.errors import ConfigError, Fenced, NotFound, Unavailable
from turnkeeper.storage.postgres import migrations
from turnkeeper.storage.postgres.database import Database
from turnkeeper.storage.postgres.storage import PostgresStorage
from turnkeeper.types import Claimed, Outcome

SERVERS = 3
DONE = Outcome(status="success")


@pytest.fixture
def kits(postgres: Postgres, tmp_path: Path) -> Iterator[list[Kit]]:
    """Several servers on one database."""
    kits = [Kit(postgres, tmp_path) for _ in range(SERVERS)]
    asyncio.run(kits[0].prepare())
    yield kits
    for kit in kits:
        kit.close()


@pytest.fixture
def connection(postgres: Postgres) -> Iterator[Connection]:
    """A connection of somebody else's."""
    with psycopg.connect(postgres.uri, autocommit=True) as connection:
        yield connection


async def test_runs_claimed_by_several_servers_never_overlap(kits: list[Kit]) -> None:
    threads = [await kits[0].thread() for _ in range(8)]
    busy: set[str] = set()
    started: dict[str, list[str]] = {thread_id: [] for thread_id in threads}
    left = 200

    async def execute(kit: Kit, claimed: Claimed) -> None:
        nonlocal left
        assert claimed.thread_id not in busy, "two runs of one thread at once"
        busy.add(claimed.thread_id)
        started[claimed.thread_id].append(claimed.run_id)
        await asyncio.sleep(0)
        busy.remove(claimed.thread_id)  # before the end is written: from there on another may start
        await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
        left -= 1

    async def work(kit: Kit) -> None:
        while left > 0:
            taken = (await kit.storage.runs.claim(random.randint(1, 4))).taken
            await asyncio.gather(*[execute(kit, claimed) for claimed in taken])

    async def admit(kit: Kit, thread_id: str) -> None:
        for _ in range(left // len(threads)):
            await kit.admit(thread_id)

    admitting = [admit(kits[number % SERVERS], thread_id) for number, thread_id in enumerate(threads)]
    await asyncio.gather(*admitting, *[work(kit) for kit in kits * 3])

    for thread_id in threads:
        listed = await kits[0].storage.runs.of_thread(thread_id, status=None, limit=1000, offset=0)
        assert started[thread_id] == [run.run_id for run in reversed(listed)]


def deadlocks(connection: Connection) -> int:
    [(count,)] = connection.execute(
        "select deadlocks from pg_stat_database where datname = current_database()"
    ).fetchall()
    return count


async def test_any_moves_at_once_leave_every_thread_usable(kits: list[Kit], connection: Connection) -> None:
    """No move waits for another in a circle, and none is lost: whatever happened, the queues run empty."""
    threads = [await kits[0].thread() for _ in range(3)]
    chance, before = random.Random(7), deadlocks(connection)

    async def move(kit: Kit) -> None:
        thread_id = chance.choice(threads)
        match chance.choice(["admit", "interrupt", "rollback", "batch", "cancel", "all", "claim", "claim"]):
            case "admit":
                await kit.admit(thread_id)
            case "interrupt" | "rollback" as strategy:
                await kit.admit(thread_id, strategy)
            case "batch":
                await kit.admit_all([kit.request(each) for each in chance.sample(threads, 2)])
            case "cancel":
                await kit.storage.runs.cancel_thread(thread_id, "interrupt", "enough")
            case "all":
                await kit.storage.runs.cancel_by_status("pending", "rollback", "enough")
            case _:
                await finish_all(kit, (await kit.storage.runs.claim(2)).taken)

    async def finish_all(kit: Kit, taken: list[Claimed]) -> None:
        for claimed in taken:
            await asyncio.to_thread(kit.checkpoint, claimed, "said")
            await kit.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)

    await asyncio.gather(*[move(kits[number % SERVERS]) for number in range(150)])

    while taken := (await kits[0].storage.runs.claim(3)).taken:
        await finish_all(kits[0], taken)
    assert {(await kits[0].storage.threads.get(thread_id)).status for thread_id in threads} == {"idle"}
    for kit in kits:
        kit.close()  # the database counts when they hang up
    assert deadlocks(connection) == before


async def test_a_claim_passes_over_a_thread_somebody_is_busy_with(kits: list[Kit], connection: Connection) -> None:
    held, free = await kits[0].thread(), await kits[0].thread()
    await kits[0].admit(held)
    other = await kits[0].admit(free)

    with connection.transaction():
        connection.execute("select from threads where thread_id = %s for update", [held])
        assert (await kits[0].claim()).run_id == other.run.run_id

    assert (await kits[0].claim()).thread_id == held


def leases_of(kit: Kit) -> Leases:
    assert kit.storage.leases is not None
    return kit.storage.leases


async def test_a_worker_that_is_heard_of_keeps_its_runs(kits: list[Kit]) -> None:
    one, other = kits[:2]
    thread_id = await one.thread()
    claimed = await one.running(thread_id)
    for _ in range(3):
        one.clock.now += 8
        other.clock.now += 8
        assert await leases_of(one).renew() == {claimed.run_id: (1, None)}
        assert await leases_of(other).expire() == 0

    await other.storage.runs.cancel(thread_id, [claimed.run_id], "interrupt", "enough")
    assert await leases_of(one).renew() == {claimed.run_id: (1, "interrupt")}
    assert await leases_of(other).renew() == {}


@pytest.mark.parametrize("handed_over", [False, True])
async def test_the_run_of_a_silent_worker_is_taken_up_by_another(kits: list[Kit], handed_over: bool) -> None:
    one, other = kits[:2]
    one.signals = places = Places(int(handed_over))
    thread_id = await one.thread()
    await one.admit(thread_id)
    claimed = places.started[0] if handed_over else await one.claim()
    other.clock.now += 11

    assert await leases_of(other).expire() == 1

    again = await other.claim()
    assert (again.run_id, again.attempt, again.crashes) == (claimed.run_id, 2, 1)
    assert await leases_of(one).renew() == {}
    with pytest.raises(Fenced):
        await asyncio.to_thread(one.checkpoint, claimed, "late")
    with pytest.raises(Fenced):
        await one.storage.runs.finish(claimed.run_id, claimed.attempt, DONE)
    assert (await other.storage.runs.finish(again.run_id, again.attempt, DONE)).status == "success"


async def test_a_server_that_stands_still_in_a_transaction_does_not_keep_its_runs(
    kits: list[Kit], postgres: Postgres
) -> None:
    claimed = await kits[0].running(await kits[0].thread())
    other = PostgresStorage(postgres.uri, kits[1].clock, lease=0.2)
    other.open()
    with psycopg.connect(postgres.uri, application_name="turnkeeper") as standing:
        standing.pgconn.enter_pipeline_mode()
        standing.pgconn.send_query_params(b"begin", None)
        standing.pgconn.send_query_params(b"select from threads for update", None)
        standing.pgconn.send_flush_request()  # and never what would let the database go on
        standing.pgconn.flush()
        with psycopg.connect(postgres.uri, autocommit=True) as watching:
            while watching.execute("select from threads for update skip locked").fetchall():
                pass
        kits[1].clock.now += 11
        while not await other.leases.expire():
            pass
        with suppress(psycopg.Error):
            standing.close()
    other.close()
    assert (await kits[1].claim()).run_id == claimed.run_id


async def test_a_checkpoint_under_way_is_written_before_its_run_is_taken_away(kits: list[Kit], connection: Any) -> None:
    claimed = await kits[0].running(await kits[0].thread())
    with connection.transaction():  # a put that has passed its fence and is not yet committed
        connection.execute("select from runs where run_id = %s for share", [claimed.run_id])
        sealing = asyncio.create_task(kits[1].storage.runs.seal(claimed.run_id, claimed.attempt))
        await kits[2].storage.threads.get(claimed.thread_id)
        assert not sealing.done()

    assert await sealing == claimed.attempt + 1
    with pytest.raises(Fenced):
        await asyncio.to_thread(kits[0].checkpoint, claimed, "late")


async def test_a_rollback_takes_back_a_checkpoint_under_way(kits: list[Kit], connection: Connection) -> None:
    claimed = await kits[0].running(await kits[0].thread())
    await kits[1].storage.runs.cancel(claimed.thread_id, [claimed.run_id], "rollback", "no")
    with connection.transaction():  # a put that has passed its fence and is not yet committed
        connection.execute("select from runs where run_id = %s for share", [claimed.run_id])
        ids = [claimed.thread_id, claimed.run_id, claimed.run_id]
        put = "insert into checkpoints (thread_id, checkpoint_id, run_id, checkpoint) values (%s, %s, %s, '{}')"
        connection.execute(cast("Any", put), ids)
        ending = asyncio.create_task(kits[1].storage.runs.finish(claimed.run_id, claimed.attempt, DONE))
        await asyncio.sleep(0)
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
        while connection.execute(cast("Any", waiting)).fetchone() == (0,):
            await kits[2].storage.threads.get(claimed.thread_id)

    assert (await ending).status is None
    assert not kits[0].dump()["checkpoints"]


async def test_a_thread_deleted_under_a_checkpoint_leaves_none(kits: list[Kit]) -> None:
    for _ in range(10):
        claimed = await kits[0].running(await kits[0].thread())
        await asyncio.gather(
            asyncio.to_thread(kits[0].checkpoint, claimed, "said"),
            kits[1].storage.threads.delete(claimed.thread_id),
            return_exceptions=True,
        )
        with pytest.raises(NotFound):
            await kits[2].storage.threads.get(claimed.thread_id)
    assert not kits[0].dump()["checkpoints"]


async def test_connections_that_were_cut_are_replaced(kits: list[Kit], connection: Connection) -> None:
    thread_id = await kits[0].thread()
    connection.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename is not null and pid <> pg_backend_pid()"
    )

    failures = 0
    for _ in range(20):
        try:
            await kits[0].admit(thread_id)
        except Unavailable:
            failures += 1

    assert failures <= 2
    assert len(await kits[0].statuses(thread_id)) == 20 - failures


async def test_a_server_that_stands_still_holds_up_the_others_for_a_while_only(
    kits: list[Kit], postgres: Postgres
) -> None:
    thread_id = await kits[0].thread()
    paused, locked, resume = Database(postgres.uri, patience=0.2), threading.Event(), threading.Event()
    paused.open()

    def job(connection: Connection) -> None:
        connection.execute("select from threads where thread_id = %s for update", [thread_id]).fetchone()
        locked.set()
        resume.wait()

    standing = asyncio.create_task(paused.transact(job))
    await asyncio.to_thread(locked.wait)
    await kits[0].admit(thread_id)
    resume.set()
    with pytest.raises(Unavailable):
        await standing
    paused.close()


@contextmanager
def newer(connection: Connection, oldest: int) -> Generator[None]:
    """A newer server has been here."""
    migrations.migrate(connection)
    connection.execute("insert into turnkeeper_schema (version, oldest) values (1000, %s)", [oldest])
    try:
        yield
    finally:
        connection.execute("delete from turnkeeper_schema where version = 1000")


def test_an_older_server_refuses_a_database_it_cannot_work_with(postgres: Postgres, connection: Connection) -> None:
    with newer(connection, oldest=999), pytest.raises(ConfigError, match="1000"):
        PostgresStorage(postgres.uri).open()


def test_an_older_server_starts_beside_newer_ones_where_their_migration_lets_it(
    postgres: Postgres, connection: Connection
) -> None:
    with newer(connection, oldest=1):
        storage = PostgresStorage(postgres.uri)
        storage.open()
        storage.close()


def test_a_migration_lets_those_pass_who_work(postgres: Postgres, connection: Connection) -> None:
    """It would otherwise keep every server from the table for as long as one statement there takes."""
    script = "-- oldest: 1\nalter table threads add column brief integer"
    migrations_lock = threading.Thread(target=_migrated, args=(postgres.uri, script))
    with connection.transaction():
        connection.execute("select from threads")
        migrations_lock.start()
        with psycopg.connect(postgres.uri, autocommit=True) as working:
            while not working.execute(
                "select 1 from pg_locks where mode = 'AccessExclusiveLock' and not granted"
            ).fetchall():
                pass
            working.execute("select from threads limit 1")
    migrations_lock.join()
    connection.execute("alter table threads drop column brief")
    connection.execute("delete from turnkeeper_schema where version = 1001")


def test_a_database_that_is_not_there_is_a_readable_error(postgres: Postgres) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as refused:
        PostgresStorage(
            postgres.uri.replace("/postgres?", "/nowhere?").replace("postgres:@", "postgres:secret@")
        ).open()
    assert "secret" not in f"{refused.value} {refused.value.cause}"


async def test_servers_that_start_together_migrate_a_new_database_once(
    postgres: Postgres, connection: Connection
) -> None:
    connection.execute("create database fresh")
    servers = [Database(postgres.uri.replace("/postgres?", "/fresh?"), 1) for _ in range(SERVERS)]
    try:
        await asyncio.gather(*[asyncio.to_thread(server.open) for server in servers])
        [(applied, newest)] = servers[0].call(
            lambda fresh: fresh.execute("select count(*), max(version) from turnkeeper_schema").fetchall()
        )
        assert applied == newest
    finally:
        for server in servers:
            server.close()
        connection.execute("drop database fresh with (force)")


def _migrated(uri: str, script: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("set lock_timeout = 1000")
        migrations.apply_step(connection, 1001, script)


def test_the_tables_are_those_the_library_expects() -> None:
    """We make them ourselves, with columns of our own: what a new version of the library changes has to be followed."""
    assert len(PostgresSaver.MIGRATIONS) == 10, (
        f"langgraph-checkpoint-postgres {version('langgraph-checkpoint-postgres')} changes its tables"
    )
