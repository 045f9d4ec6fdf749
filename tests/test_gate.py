"""Other sites' pages, proxies in front, and answers that come before the end of a body."""

from __future__ import annotations

import asyncio

import pytest
from starlette.responses import JSONResponse

from demos.server import bodies
from demos.server import origin as _origin
from demos.server.gate import Gate
from tests.asgi import ask, scope_of

FILE = "/gradio_api/file=/x/a.png"


async def inside(scope, receive, send):
    """An app that repeats any origin, as Gradio does, and says what it was told."""
    headers = dict(scope["headers"])
    said = {
        "access-control-allow-origin": headers.get(b"origin", b"none").decode(),
        "access-control-allow-credentials": "true",
    }
    names = [name.decode() for name, _ in scope["headers"]]
    await JSONResponse({"detail": names}, headers=said)(scope, receive, send)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/config", "/gradio_api/token", "/logout", FILE, "/", "/healthz"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors"},
        {"origin": "null"},
        {"origin": "https://hub.example.evil.example"},
        {"origin": "https://hub.example@evil.example"},
        {"origin": "https://evil.example", "x-forwarded-host": "evil.example"},
    ],
    ids=str,
)
def test_with_a_login_other_sites_can_send_and_read_nothing(path, method, headers):
    answer = ask(Gate(inside, True), path, method=method, host="hub.example", **headers)
    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("login", [True, False])
@pytest.mark.parametrize("origin", ["https://evil.example", "https://hub.example", "null"])
def test_no_origin_is_repeated_with_credentials(login, origin):
    for site in ("cross-site", "same-origin"):
        headers = {"host": "hub.example", "origin": origin, "sec-fetch-site": site}
        for path in ("/config", "/gradio_api/info", FILE, "/nothing-here"):
            answer = ask(Gate(inside, login), path, method="GET", **headers)
            assert "access-control-allow-credentials" not in answer.headers
            assert answer.headers.get("access-control-allow-origin") in ({None} if login else {"*"})


def test_links_from_other_sites_to_the_page_work_and_to_nothing_else():
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "host": "hub.example"}
    gate = Gate(inside, True)
    assert ask(gate, "/", method="GET", **link).status == 200
    assert ask(gate, "/?view=api", method="GET", **link).status == 200
    assert ask(gate, "/", method="POST", **link).status == 403
    for path in ("/logout", "/config", FILE, "/gradio_api/token"):
        assert ask(gate, path, method="GET", **link).status == 403


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"host": "hub.example"}, True),  # no browser
        ({"host": "hub.example", "origin": "https://hub.example"}, True),
        ({"host": "hub.example:8443", "origin": "https://hub.example:8443"}, True),
        ({"host": "hub.example", "origin": "https://hub.example:8443"}, True),  # nginx's $host
        ({"host": "hub.example:443", "origin": "https://hub.example"}, True),
        ({"host": "HUB.example", "origin": "https://hub.example"}, True),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, True),
        ({"host": "hub.example:9000", "origin": "https://hub.example:8443"}, False),
        ({"host": "127.0.0.1:7860", "origin": "https://hub.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "https://a", "x-forwarded-host": "a, b"}, True),
        ({"host": "127.0.0.1:7860", "origin": "https://b", "x-forwarded-host": "a, b"}, False),
        ({"host": "127.0.0.1:7860", "origin": "https://a", "sec-fetch-site": "same-origin"}, True),
        ({"host": "hub.example", "sec-fetch-site": "none"}, True),
        ({"host": "hub.example", "origin": "https://hub.example:x"}, False),
        ({"host": "hub.example:x", "origin": "https://hub.example"}, False),
        ({"origin": "https://hub.example"}, False),
    ],
    ids=str,
)
def test_who_is_the_hub_itself(headers, own):
    answer = ask(Gate(inside, True), "/login", b"x", address="127.0.0.1", **headers)
    assert answer.status == (200 if own else 403)
    if not own:
        assert "proxy must pass on the Host" in answer.detail


def test_only_trusted_proxies_may_name_the_hub(monkeypatch):
    said = {"x-forwarded-host": "a", "x-forwarded-proto": "https", "x-forwarded-for": "1.1.1.1"}
    gate = Gate(inside, False)
    assert ask(gate, "/", method="GET", address="10.0.0.1", **said).detail == [
        "content-length",
        "x-forwarded-for",
    ]
    assert len(ask(gate, "/", method="GET", address="127.0.0.1", **said).detail) == 4
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8")
    assert len(ask(gate, "/", method="GET", address="10.0.0.1", **said).detail) == 4
    assert len(ask(gate, "/", method="GET", address="127.0.0.1", **said).detail) == 2


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ({"host": "hub.example", "origin": "https://hub.example:8443"}, "https://hub.example:8443"),
        (
            {"host": "127.0.0.1:1", "origin": "http://a:5", "sec-fetch-site": "same-origin"},
            "http://a:5",
        ),
        ({"host": "hub.example"}, "http://hub.example"),
        ({"host": "hub.example", "origin": "https://evil.example"}, "http://hub.example"),
        ({"host": "hub.example", "origin": "app://hub.example"}, "http://hub.example"),
    ],
    ids=str,
)
def test_results_have_the_address_of_the_page_behind_any_proxy(headers, address):
    from gradio.route_utils import get_root_url
    from starlette.requests import Request

    found = []

    async def app(scope, receive, send):
        found.append(get_root_url(Request(scope), "/x", None))
        await inside(scope, receive, send)

    ask(Gate(app, False), "/x", **headers)
    assert found == [address]


def test_logging_out_is_meant():
    """Without HTTPS a browser does not tell where a request comes from."""
    gate = Gate(inside, True)
    asked = ask(gate, "/logout", method="GET", host="hub.lan:7860")
    assert (asked.status, b'href="logout"' in asked.body) == (200, True)
    for headers in (
        {"referer": "http://hub.lan:7860/"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
    ):
        assert (
            b"logout" not in ask(gate, "/logout", method="GET", host="hub.lan:7860", **headers).body
        )
    other = ask(gate, "/logout", method="GET", host="hub.lan:7860", referer="http://evil.example/")
    assert b'href="logout"' in other.body


def test_web_sockets_are_closed():
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(inside, False)({"type": "websocket"}, None, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]


# --- answers before the end of a body ---


def sent_by(gate, messages, **headers):
    """What a gate sends while a client goes on sending `messages`."""
    sent, left = [], list(messages)

    async def receive():
        return left.pop(0) if left else {"type": "http.disconnect"}

    async def send(message):
        sent.append((len(left), message))

    asyncio.run(gate(scope_of("/x", **headers), receive, send))
    return sent, left


def parts(count, size=1000, end=True):
    whole = [{"type": "http.request", "body": b"x" * size, "more_body": True}] * count
    return [*whole, {"type": "http.request", "body": b"", "more_body": False}] if end else whole


def test_the_rest_of_a_body_is_taken_in_after_the_answer():
    sent, left = sent_by(Gate(inside, False), parts(50), content_length="50000")
    assert not left
    assert (b"connection", b"close") in sent[0][1]["headers"]
    (begun, body), (ended, last) = sent[1:]
    assert (begun, body["more_body"]) == (51, True), "the answer goes before the rest is taken in"
    assert (ended, last) == (0, {"type": "http.response.body"})


def test_what_is_taken_in_is_bounded(monkeypatch):
    monkeypatch.setattr(bodies, "DRAIN_BYTES", 20_000)
    _, left = sent_by(Gate(inside, False), parts(50), content_length="50000")
    assert len(left) == 31


def test_a_client_that_says_nothing_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(bodies, "DRAIN_SECONDS", 0.01)
    sent = []

    async def receive():
        await asyncio.sleep(3600)

    async def send(message):
        sent.append(message)

    asyncio.run(Gate(inside, False)(scope_of("/x", content_length="5"), receive, send))
    assert sent[-1] == {"type": "http.response.body"}


def test_a_client_that_waits_for_leave_to_send_gets_the_answer_at_once():
    headers = {"content_length": "50000", "expect": "100-continue"}
    _, left = sent_by(Gate(inside, False), parts(50), **headers)
    assert len(left) == 51, "asking for a part of it would tell the client to send"


def test_a_request_without_a_body_keeps_its_connection():
    sent, _ = sent_by(Gate(inside, False), [], content_length="0")
    assert (b"connection", b"close") not in sent[0][1]["headers"] and len(sent) == 2


def test_a_body_that_was_read_keeps_its_connection():
    async def reads(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await inside(scope, receive, send)

    sent, _ = sent_by(Gate(reads, False), parts(3), content_length="3000")
    assert (b"connection", b"close") not in sent[0][1]["headers"] and len(sent) == 2


def test_an_address_that_is_none_is_not_ours():
    assert _origin._split("null") is None and _origin._split("http://[") is None
