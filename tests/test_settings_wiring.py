"""A login and a limit from the environment, seen from outside: requests to the launched app."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlencode

import pytest

import app
from demos.shell import ui
from tests.conftest import PATIENCE
from tests.live import hub_with

pytestmark = pytest.mark.slow
RATE = 2  # a token more comes after half a minute only


@pytest.fixture(scope="module")
def ask():
    """Sends one request to a hub with a login; status, text and cookies."""
    with hub_with(AUTH="anna:secret", VISION_HUB_RATE=str(RATE)) as port:

        def ask(method, path, body=None, **headers):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                cookies = [
                    value.split(";")[0] for value in response.headers.get_all("set-cookie", [])
                ]
                return response.status, response.read().decode(), "; ".join(cookies)
            finally:
                connection.close()

        yield ask


@pytest.mark.parametrize("path", ["/config", "/gradio_api/info", "/status", "/gradio_api/status"])
def test_without_the_login_nothing_is_told(ask, path):
    status, text, _ = ask("GET", path)
    assert status in (401, 404), text
    assert "budget_mb" not in text and "components" not in text


def test_only_that_it_runs_is_told(ask):
    status, text, _ = ask("GET", "/healthz")
    assert (status, json.loads(text)) == (200, {"status": "ok"})


def login(ask, password, **headers):
    body = urlencode({"username": "anna", "password": password})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return ask("POST", "/login", body, **kind, **headers)


def test_a_page_of_another_site_may_not_log_in(ask):
    status, text, cookies = login(ask, "secret", Origin="https://elsewhere.example")
    assert status == 403 and "other sites" in json.loads(text)["detail"] and not cookies
    assert login(ask, "wrong")[0] == 400


def test_who_logged_in_may_ask_as_often_as_the_setting_says(ask):
    status, _, cookies = login(ask, "secret")
    assert status == 200 and cookies
    headers = {"Content-Type": "application/json", "Cookie": cookies}
    path = "/gradio_api/call/checkpoints"
    answers = [ask("POST", path, '{"data": []}', **headers)[0] for _ in range(RATE + 1)]
    assert answers == [200] * RATE + [429]


@pytest.mark.parametrize(
    ("device", "first"),
    [("cpu", ["memory", "libraries", "threads"]), ("cuda", ["memory", "libraries"])],
)
def test_the_start_prepares_the_process_before_the_page_is_up(settings, monkeypatch, device, first):
    settings(VISION_HUB_DEVICE=device)
    done = []
    monkeypatch.setattr(app.allocator, "tune", lambda: done.append("memory"))
    monkeypatch.setattr(app.collector, "spare_libraries", lambda: done.append("libraries"))
    monkeypatch.setattr(app.compute_threads, "dedicate", lambda: done.append("threads"))
    monkeypatch.setattr(app.resolver, "limit_waiting", done.append)

    def no_port(page, **options):
        raise OSError("Cannot find empty port")

    monkeypatch.setattr(app, "launch", no_port)
    with pytest.raises(SystemExit, match="is taken"):
        app.main()
    assert done == [*first, ui.DEVICE_QUEUE[1] // 2]
