"""Our named statements as psycopg takes them."""

import re
from functools import cache

from turnkeeper.storage.queries import load as load_text

_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Statements:
    """The statements of one topic, as attributes."""

    def __init__(self, statements: dict[str, bytes]) -> None:
        self._statements = statements

    def __getattr__(self, name: str) -> bytes:
        try:
            return self._statements[name]
        except KeyError:
            raise AttributeError(name) from None


@cache
def load(topic: str) -> Statements:
    """Read `sql/postgres/<topic>.sql`. Raises `FileNotFoundError` where there is none."""
    queries = load_text("postgres", topic)
    return Statements({name: _psycopg(getattr(queries, name)) for name in queries.names})


def _psycopg(statement: str) -> bytes:
    """`:name` becomes `%(name)s`; the comments are for who reads the file."""
    return _PARAMETER.sub(r"%(\1)s", _COMMENT.sub("", statement).replace("%", "%%")).encode()
