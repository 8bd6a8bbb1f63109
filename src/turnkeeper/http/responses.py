"""Writing answers: JSON of structs, and pages of searches."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from turnkeeper.codec import encode
from turnkeeper.services.requests import Limit, Offset
from turnkeeper.types import Page

_ENCODER = msgspec.json.Encoder()


def json(content: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer made of our own structs."""
    return Response(_ENCODER.encode(content), status, headers, "application/json")


def objects(content: object) -> Response:
    """An answer that may hold LangChain's objects."""
    return Response(encode(content), 200, None, "application/json")


def page(found: Page, *, limit: Limit | None, offset: Offset | None, select: Sequence[str] | None = None) -> Response:
    """One page, with the headers that lead to the next (`X-Pagination-Next` is read by the SDKs)."""
    after = (offset or 0) + (limit or 10)
    headers = {"x-pagination-total": str(found.total)}
    if after < found.total:
        headers["x-pagination-next"] = str(after)
    return json(fields(found.items, select), headers=headers)


def fields(items: Sequence[Any], names: Sequence[str] | None) -> Sequence[Any]:
    """Only the named fields of each item (`select`)."""
    if not names or (items and isinstance(items[0], dict)):
        return items
    return [{name: getattr(item, name) for name in names} for item in items]
