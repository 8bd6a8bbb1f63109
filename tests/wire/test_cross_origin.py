"""Pages on other origins: what a browser asks before it lets them use the server. A real one is in `tests/browser`."""

import httpx
import pytest

ORIGIN = "https://chat.example.com"
ABSENT = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize(
    ("path", "method", "headers"),
    [
        ("/threads", "POST", "content-type"),
        (f"/threads/{ABSENT}/runs/stream", "POST", "content-type,x-api-key"),
        (f"/threads/{ABSENT}/runs/{ABSENT}/stream", "GET", "last-event-id,x-api-key"),
        (f"/threads/{ABSENT}/stream/events", "POST", "content-type,accept"),
        (f"/threads/{ABSENT}", "DELETE", "authorization"),
        (f"/threads/{ABSENT}", "PATCH", "content-type,prefer"),
    ],
)
async def test_a_page_on_another_origin_may_ask_anything(
    http: httpx.AsyncClient, path: str, method: str, headers: str
) -> None:
    asked = {"origin": ORIGIN, "access-control-request-method": method, "access-control-request-headers": headers}
    answer = await http.options(path, headers=asked)
    assert answer.is_success
    assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
    assert method in answer.headers["access-control-allow-methods"]
    allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].lower().split(",")}
    assert allowed >= set(headers.split(","))


async def test_a_page_on_the_internet_may_reach_a_server_on_the_private_network(http: httpx.AsyncClient) -> None:
    """Chromium asks for that by name, and takes any status but 2xx for a no."""
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "POST",
        "access-control-request-private-network": "true",
    }
    answer = await http.options("/threads", headers=asked)
    assert answer.is_success
    assert answer.headers["access-control-allow-private-network"] == "true"


async def test_a_page_may_read_where_its_run_is(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "steps", "input": {"tag": "A"}}
    answer = await http.post("/runs/stream", json=body, headers={"origin": ORIGIN})
    exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].lower().split(",")}
    assert exposed >= {"location", "content-location", "x-pagination-total", "x-pagination-next"}
    assert answer.headers["location"]
    assert answer.headers["content-location"]


async def test_a_page_may_read_why_it_was_refused(http: httpx.AsyncClient) -> None:
    answer = await http.get(f"/threads/{ABSENT}", headers={"origin": ORIGIN})
    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN)
