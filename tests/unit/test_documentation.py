"""What the documentation says of the tests is true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "compatibility.md").read_text().partition("## Rough edges")[2]
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)


def test_every_rough_edge_names_a_test() -> None:
    rows = [row for row in TABLE.splitlines() if row.startswith("| ")][1:]
    assert len(rows) >= 17
    assert [row for row in rows if "::test_" not in row] == []


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_test_that_holds_a_rough_edge_exists(path: str, name: str) -> None:
    assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE)
