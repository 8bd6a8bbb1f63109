"""The statements of the bus, by name."""

import re
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


def _load() -> dict[str, bytes]:
    text = files("turnkeeper.stream.postgres").joinpath("statements.sql").read_text()
    _, *parts = _NAME.split(text)
    bodies = [_COMMENT.sub("", body).strip().rstrip(";").encode() for body in parts[1::2]]
    return dict(zip(parts[::2], bodies, strict=True))


SQL = _load()
