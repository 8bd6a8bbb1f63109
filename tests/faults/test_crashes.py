"""A server that is killed at any moment: nothing that was accepted is lost, nothing is done twice."""

from pathlib import Path

import httpx
import pytest

from tests.faults.crashing import PATIENCE, Session
from tests.faults.verdict import books_of, judge
from tests.nursery import Nursery

KILLS = 10
"""Kill points of one seed."""


def kill_again_and_again(seed: int, folder: Path, nursery: Nursery) -> None:
    session = Session(seed, folder, nursery)
    with session.talking():
        for _ in range(KILLS):
            session.kill_once()
    live = session.settle()
    try:
        with httpx.Client(base_url=live.url, timeout=PATIENCE) as http, books_of(folder / "turnkeeper.db") as books:
            lines = session.log.read()
            judge(session.clients, lines, lambda path: http.get(path).json(), books, session.interruptions)
    except BaseException:
        print(f"seed {seed}, kill points: {session.points}")
        raise
    finally:
        live.kill()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(5))
def test_a_busy_server_killed_at_any_moment_keeps_its_promises(seed: int, tmp_path: Path, nursery: Nursery) -> None:
    kill_again_and_again(seed, tmp_path / "server", nursery)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(100, 125))
def test_a_busy_server_killed_at_hundreds_of_moments_keeps_its_promises(
    seed: int, tmp_path: Path, nursery: Nursery
) -> None:
    kill_again_and_again(seed, tmp_path / "server", nursery)
