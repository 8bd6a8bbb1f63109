"""The pages come from another origin than the server: a browser hides from them what CORS does not allow."""

import httpx
import pytest

from tests.browser.browser import Open
from tests.wire.live import Live

pytestmark = pytest.mark.parametrize("page", ["legacy"])
JSON = {"content-type": "application/json"}


def test_a_page_reads_where_its_run_is(open_tab: Open, server: Live, http: httpx.Client) -> None:
    thread = http.post("/threads", json={}).json()["thread_id"]
    answer = open_tab("chat").headers(
        f"{server.url}/threads/{thread}/runs/stream",
        method="POST",
        headers={**JSON, "x-api-key": "some key", "x-of-my-own": "yes"},
        body='{"assistant_id": "chat", "input": {"messages": [{"role": "human", "content": "rome"}]}}',
    )
    run = http.get(f"/threads/{thread}/runs").json()[0]["run_id"]
    assert answer["status"] == 200
    assert answer["headers"]["content-location"] == f"/threads/{thread}/runs/{run}"
    assert answer["headers"]["location"] == f"/threads/{thread}/runs/{run}/stream"


def test_a_page_reads_how_many_threads_there_are(open_tab: Open, server: Live, http: httpx.Client) -> None:
    for _ in range(2):
        http.post("/threads", json={})
    answer = open_tab("chat").headers(f"{server.url}/threads/search", method="POST", headers=JSON, body='{"limit": 1}')
    assert answer["status"] == 200
    assert int(answer["headers"]["x-pagination-total"]) > 1


def test_a_page_reads_what_it_is_refused(open_tab: Open, server: Live) -> None:
    tab = open_tab("chat")

    def status(method: str, path: str, body: str | None = None) -> int:
        return tab.headers(server.url + path, method=method, headers=JSON, body=body)["status"]

    assert status("PATCH", "/threads/nothing", "{}") == 422
    assert status("DELETE", "/threads/00000000-0000-0000-0000-000000000000") == 404
    assert status("POST", "/threads/search", '{"limit": "many"}') == 422
    assert status("GET", "/nowhere") == 404
