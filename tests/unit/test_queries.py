"""Named SQL statements, and the promises their files make."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

import turnkeeper
from turnkeeper.storage.queries import Queries, load, parse

SQL = files("turnkeeper.storage") / "sql"
DIALECTS = sorted(entry.name for entry in SQL.iterdir())
FILES = sorted(
    (dialect, topic.name.removesuffix(".sql"))
    for dialect in DIALECTS
    for topic in (SQL / dialect).iterdir()
    if topic.is_file()
)


def test_statements_are_found_by_their_names() -> None:
    found = parse("-- name: one\n-- First.\nselect 1;\n\n-- name: two\n-- Second.\nselect ';'\n;\n")

    assert found == {"one": "-- First.\nselect 1", "two": "-- Second.\nselect ';'\n"}


def test_what_stands_before_the_first_name_is_no_statement() -> None:
    assert parse("-- About this file.\n\n-- name: one\nselect 1;") == {"one": "select 1"}
    assert parse("") == {}


def test_a_name_is_used_once() -> None:
    with pytest.raises(ValueError, match="one"):
        parse("-- name: one\nselect 1;\n-- name: one\nselect 2;")


def test_a_name_nobody_defined_is_an_attribute_nobody_has() -> None:
    queries = Queries({"one": "select 1"})

    assert queries.one == "select 1"
    assert queries.names == {"one"}
    with pytest.raises(AttributeError, match="two"):
        _ = queries.two


def test_a_topic_nobody_wrote_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        load("sqlite", "nothing")


@pytest.mark.parametrize(("dialect", "topic"), FILES)
def test_every_statement_says_what_it_is_for(dialect: str, topic: str) -> None:
    queries = load(dialect, topic)

    assert queries.names
    for name in queries.names:
        comment, *rest = getattr(queries, name).splitlines()
        assert re.match(r"-- [A-Z`].+[.:]?$", comment), f"{name}: {comment}"
        assert any(not line.startswith("--") for line in rest), name


def comments(dialect: str, topic: str) -> dict[str, str]:
    """What each statement says of itself, in its first sentence."""
    queries = load(dialect, topic)
    return {name: re.split(r"[.:]\s", getattr(queries, name), maxsplit=1)[0] for name in queries.names}


def differs(dialect: str, topic: str) -> bool:
    """Whether a whole file says that it has no counterpart."""
    return (SQL / dialect / f"{topic}.sql").read_text().startswith("-- Differs:")


TWINS = [topic for dialect, topic in FILES if dialect == "postgres" and ("sqlite", topic) in FILES]


@pytest.mark.parametrize("topic", [topic for topic in TWINS if not differs("postgres", topic)])
def test_statements_of_one_name_are_for_the_same_in_every_dialect(topic: str) -> None:
    ours, theirs = comments("sqlite", topic), comments("postgres", topic)
    unlike = {name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)}

    assert [name for name in sorted(unlike) if "-- Differs" not in f"{ours.get(name)}{theirs.get(name)}"] == []


@pytest.mark.parametrize(("dialect", "topic"), FILES)
def test_no_statement_is_left_over(dialect: str, topic: str) -> None:
    storage = Path(turnkeeper.__file__).parent / "storage"
    code = "".join(path.read_text() for path in (storage / dialect).rglob("*.py"))

    assert [name for name in sorted(load(dialect, topic).names) if not re.search(rf"\.{name}\b", code)] == []
