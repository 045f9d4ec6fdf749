"""What stands between the network and Gradio: closed routes, limits, whose files."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from core.images import MAX_BYTES
from demos import _page
from demos.server import files, routes, visitors
from demos.server import guard as _guard
from demos.server.guard import Guard, Rules
from demos.server.visitors import EXAMPLES, RateLimit, Uploads, Visitor
from tests.asgi import ask

JOIN = "/gradio_api/queue/join"


@pytest.fixture
def inside():
    """What reached the app; it answers 200 with what `inside.reply` says."""

    class Inside:
        reply = b"[]"
        bodies: list[bytes]

        async def __call__(self, scope, receive, send):
            body, more = b"", True
            while more:
                message = await receive()
                body += message.get("body", b"")
                more = message.get("more_body", False)
            self.bodies.append(body)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": self.reply})

    made = Inside()
    made.bodies = []
    return made


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "root", lambda: tmp_path)
    monkeypatch.setattr(files, "is_full", lambda: False)
    return tmp_path


def job(*paths):
    return json.dumps({"data": [{"path": str(p)} for p in paths], "fn_index": 1}).encode()


# --- headers and routes ---


def test_routes_that_nobody_opened_are_closed(inside):
    guard = Guard(inside, Rules())
    for method in ("GET", "POST", "PUT", "OPTIONS"):
        assert ask(guard, "/gradio_api/brand-new", method=method).status == 404
        assert ask(guard, "/gradio_api/token", method=method).status == 404
    assert inside.bodies == []


# --- logins ---


@pytest.fixture
def known():
    """An app that knows the login "anna"; `known.read` is what it read of bodies."""

    class Known:
        def __init__(self):
            self.read, self.asked = 0, []

        async def __call__(self, scope, receive, send):
            self.asked.append(scope["path"])
            content = b"[]"
            if scope["path"] == routes.USER:
                assert scope["method"] == "GET"
                known = (b"cookie", b"access-token-x=anna") in scope["headers"]
                content = b'"anna"' if known else b"null"
            elif scope["method"] == "POST":
                more = True
                while more:
                    message = await receive()
                    self.read += len(message["body"])
                    more = message["more_body"]
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": content})

    return Known()


LOCKED = [one for one in routes.OPEN if one.login]


@pytest.mark.parametrize("route", LOCKED, ids=lambda one: f"{one.method} {one.path}")
@pytest.mark.parametrize("cookie", ["", "access-token-x=bert", "vision_hub_visitor=anna"])
def test_without_the_login_nothing_is_read_and_nobody_is_asked(known, route, cookie, folder):
    path = route.path.replace("{", "").replace("}", "")
    body = b"" if route.method != "POST" else b'{"data": []}'
    guard = Guard(known, Rules(login=True, mcp=True))
    answer = ask(guard, path, body, method=route.method, **({"cookie": cookie} if cookie else {}))
    assert (answer.status, answer.detail) == (401, _guard.NO_LOGIN)
    assert known.read == 0 and set(known.asked) <= {routes.USER}
    assert guard.rules.small.used == guard.rules.files.used == [0, 0]
    inside = ask(guard, path, body, method=route.method, cookie="access-token-x=anna")
    assert inside.status == 200 and known.read == len(body)


@pytest.mark.parametrize("path", ["/", "/theme.css", "/assets/a.js", "/healthz", "/logout"])
def test_what_the_form_of_the_login_needs_is_open(known, path):
    assert ask(Guard(known, Rules(login=True)), path, method="GET").status == 200
    assert known.asked == [path]


def test_a_gradio_that_no_longer_tells_who_is_logged_in_lets_nobody_in(inside):
    async def lost(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b'{"detail":"Not Found"}'})

    guard = Guard(lost, Rules(login=True))
    assert ask(guard, JOIN, b"{}", cookie="access-token-x=anna").status == 401


@pytest.mark.parametrize(
    ("cookie", "sent"),
    [
        ("a=b; access-token-unsecure-x=t", "a=b; access-token-unsecure-x=t; access-token-x=t"),
        ("access-token-x=t", "access-token-x=t"),
    ],
)
def test_logging_out_ends_one_login(cookie, sent):
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["query_string"], dict(scope["headers"])[b"cookie"]))
        await send({"type": "http.response.start", "status": 302, "headers": []})
        await send({"type": "http.response.body"})

    guard = Guard(app, Rules(login=True))
    ask(guard, "/logout?all_session=true", method="GET", cookie=cookie)
    assert seen == [(b"all_session=false", sent.encode())]


# --- sizes and rates ---


def test_bodies_are_bounded_whatever_the_header_says(inside, monkeypatch, folder):
    monkeypatch.setattr(_guard, "MAX_JSON", 100)
    monkeypatch.setattr(_guard, "MAX_UPLOAD", 100)
    guard, body = Guard(inside, Rules()), b'"' + b"x" * 200 + b'"'
    for path in (JOIN, "/gradio_api/upload"):
        for said in ("202", "5", "many"):
            answer = ask(guard, path, body, said=said)
            assert answer.status == 413, (path, said)
            assert f"larger than {MAX_BYTES // 2**20} MB" in answer.detail
    assert ask(guard, "/gradio_api/cancel", b"x" * (2**16 + 1)).status == 413
    assert inside.bodies == []
    assert ask(guard, JOIN, b'"' + b"x" * 90 + b'"').status == 200
    assert len(inside.bodies[0]) == 92  # it reaches the app whole


def test_a_body_that_is_no_json_gets_a_sentence(inside):
    guard = Guard(inside, Rules())
    for body in (b"", b"{", b"\xff\xfe", b"[" * 100_000):
        answer = ask(guard, JOIN, body)
        assert answer.status == 400 and "JSON" in answer.detail


def test_millions_of_values_are_refused_before_they_are_parsed(inside):
    # The last two are no JSON: parsed, they would be refused for that.
    for body in (b"[" + b"1," * 200_000 + b"1]", b"[" * 200_000, b'{"a":' * 200_000):
        answer = ask(Guard(inside, Rules()), JOIN, body)
        assert answer.status == 413 and "too many values" in answer.detail
    assert not inside.bodies


def test_a_large_picture_in_a_data_url_passes(inside):
    body = b'{"data": [{"url": "data:image/png;base64,' + b"A" * 30_000_000 + b'"}]}'
    assert ask(Guard(inside, Rules()), JOIN, body).status == 200


def test_the_name_of_a_session_is_short(inside):
    body = json.dumps({"data": [], "session_hash": "x" * 129}).encode()
    answer = ask(Guard(inside, Rules()), JOIN, body)
    assert answer.status == 400 and "128 characters" in answer.detail


def test_what_fails_inside_gets_a_sentence(caplog):
    async def failing(*_: object) -> None:
        raise KeyError("fn")

    answer = ask(Guard(failing, Rules()), JOIN, b"{}")
    assert answer.status == 400 and "could not understand" in answer.detail
    assert "KeyError" in caplog.text  # told to the owner


@pytest.mark.parametrize(
    ("error", "method", "path", "status"),
    [
        (KeyError("fn"), "GET", "/gradio_api/info", 400),
        (ValueError("view"), "GET", "/?view=%00", 400),
        (KeyError("fn"), "GET", "/", 500),
        (MemoryError(), "POST", JOIN, 500),
        (RuntimeError("/srv/hub/state"), "POST", JOIN, 500),
        (OSError(5, "/srv/hub/disk"), "POST", JOIN, 500),
    ],
)
def test_a_fault_of_the_server_is_not_put_on_the_visitor(error, method, path, status):
    async def failing(*_: object) -> None:
        raise error

    body = b"{}" if method == "POST" else b""
    answer = ask(Guard(failing, Rules()), path, body, method=method)
    sentence = _guard.FAILED if status == 500 else _guard.NOT_UNDERSTOOD
    assert (answer.status, answer.detail) == (status, sentence)


def test_too_many_requests_of_one_visitor(inside):
    guard = Guard(inside, Rules(per_minute=3))
    assert [ask(guard, JOIN, b"{}").status for _ in range(5)] == [200, 200, 200, 429, 429]
    answer = ask(guard, JOIN, b"{}", cookie="vision_hub_visitor=new")
    assert answer.status == 429, "another cookie does not make another visitor"
    assert "please continue in" in answer.detail and int(answer.headers["retry-after"]) <= 20
    assert ask(guard, JOIN, b"{}", address="10.0.0.2").status == 200
    assert ask(guard, "/", method="GET").status == 200


def test_previews_leave_the_visitor_s_requests_alone(inside, monkeypatch):
    monkeypatch.setattr(visitors, "time", SimpleNamespace(monotonic=lambda: 1000.0))
    guard = Guard(inside, Rules(per_minute=3, previews=frozenset({7})))
    preview, job = b'{"fn_index": 7}', b'{"fn_index": 8}'
    assert {ask(guard, JOIN, preview).status for _ in range(500)} == {200}  # half a minute of them
    assert [ask(guard, JOIN, job).status for _ in range(4)] == [200, 200, 200, 429]
    assert {ask(guard, JOIN, preview).status for _ in range(800)} == {200, 429}, "not for ever"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/gradio_api/call/classify", b'{"fn_index": 7}'),  # says so, and is none
        (JOIN, b'{"fn_index": [7]}'),
        (JOIN, b'{"fn_index": "7"}'),
        (JOIN, b"[7]"),
        (JOIN, b"no JSON"),
        (JOIN, b'{"fn_index": 7, "data": "%s"}' % (b"x" * _guard.SMALL_BODY)),
    ],
)
def test_what_is_no_preview_is_counted_as_a_request(inside, path, body):
    guard = Guard(inside, Rules(per_minute=2, previews=frozenset({7})))
    statuses = [ask(guard, path, body).status for _ in range(3)]
    assert statuses[2] == 429 and 429 not in statuses[:2]


@pytest.mark.parametrize(
    ("data", "quick"),
    [
        ([], True),
        ([{"path": "/a/b.png"}], True),
        ([{"path": "/" + "a/" * 300}], False),
        ([{"path": "/a.png"}] * 5, False),
        ([[[{"x": {"path": "/a.png"}}]]], True),
    ],
)
def test_names_of_files_are_looked_for_beside_the_others_requests(inside, monkeypatch, data, quick):
    threads = []
    guard = Guard(inside, Rules())

    def check(payload, visitor):
        threads.append(threading.current_thread())

    monkeypatch.setattr(guard.rules.uploads, "check", check)
    assert ask(guard, JOIN, json.dumps({"data": data}).encode()).status == 200
    assert (threads == [threading.current_thread()]) is quick


def test_only_what_follows_the_mouse_is_a_preview():
    page = _page.build()
    assert [page.fns[number].fn.__name__ for number in _page.previews(page)] == ["_hover"]


def test_tokens_come_back_with_time(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(visitors.time, "monotonic", lambda: now[0])
    limit = RateLimit(2)
    assert [limit.wait("a") for _ in range(3)] == [0, 0, 30]
    now[0] += 31
    assert limit.wait("a") == 0
    assert 28 < limit.wait("a") <= 30
    assert RateLimit(0).wait("a") == 0


@pytest.mark.parametrize("said", ["5", "many"])
def test_only_posts_have_bodies(inside, said):
    answer = ask(Guard(inside, Rules()), "/config", method="GET", said=said)
    assert answer.status == 400 and "no body" in answer.detail and inside.bodies == []


def test_passwords_cannot_be_tried_by_the_thousand(inside):
    guard = Guard(inside, Rules())
    statuses = [ask(guard, "/login", b"username=a&password=b").status for _ in range(12)]
    assert statuses == [200] * 10 + [429] * 2


def test_a_full_folder_and_a_full_disk_are_said(inside, folder, monkeypatch):
    for number, sentence in ((28, files.FULL), (30, files.READ_ONLY)):

        async def fails(scope, receive, send, number=number):
            raise OSError(number, "No space left on device: /tmp/secret")

        answer = ask(Guard(fails, Rules()), "/gradio_api/upload", b"x")
        assert (answer.status, answer.detail) == (507, sentence)
    monkeypatch.setattr(files, "is_full", lambda: True)
    answer = ask(Guard(inside, Rules()), "/gradio_api/upload", b"x")
    assert (answer.status, answer.detail, inside.bodies) == (507, files.FULL, [])


# --- whose files ---


def test_only_who_uploaded_a_file_may_use_it(inside, folder):
    guard, mine = Guard(inside, Rules()), str(folder / "ab12" / "photo.png")
    inside.reply = json.dumps([mine]).encode()
    anna = {"cookie": "vision_hub_visitor=anna"}
    ask(guard, "/gradio_api/upload", b"form", **anna)
    assert ask(guard, JOIN, job(mine), **anna).status == 200
    refused = ask(guard, JOIN, job(mine), cookie="vision_hub_visitor=bert")
    assert (refused.status, refused.detail) == (403, visitors.NOT_YOURS)
    assert ask(guard, JOIN, job(mine), address="10.0.0.9", **anna).status == 200  # she travels
    assert ask(guard, JOIN, job(mine), address="10.0.0.9").status == 403


def test_clients_without_cookies_are_told_apart_by_address(inside, folder):
    guard, mine = Guard(inside, Rules()), str(folder / "ab12" / "photo.png")
    inside.reply = json.dumps([mine]).encode()
    ask(guard, "/gradio_api/upload", b"form")
    assert ask(guard, JOIN, job(mine)).status == 200
    assert ask(guard, JOIN, job(mine), address="10.0.0.2").status == 403


def test_one_file_uploaded_by_two_belongs_to_both():
    uploads, anna, bert = Uploads(), Visitor("1", "anna"), Visitor("2", "bert")
    uploads.add("/f", anna)
    uploads.add("/f", bert)
    for visitor in (anna, bert):
        uploads.check({"path": "/f"}, visitor)
    for i in range(20):
        uploads.add("/f", Visitor(str(i), f"v{i}"))
    assert len(uploads._owners["/f"]) == 8


@pytest.mark.parametrize("name", ["/etc/hosts", "../../etc/hosts", "a\0b", "x" * 5000, "photo.png"])
def test_other_files_of_the_server_are_refused(inside, folder, name):
    hidden = {"data": [[{"deep": {"path": name, "meta": {"_type": "gradio.FileData"}}}]]}
    answer = ask(Guard(inside, Rules()), JOIN, json.dumps(hidden).encode())
    assert (answer.status, answer.detail) == (403, visitors.NOT_YOURS)


def test_addresses_are_not_fetched(inside, folder):
    answer = ask(Guard(inside, Rules()), JOIN, job("HTTP://127.0.0.1:9/a.png"))
    assert (answer.status, answer.detail) == (403, visitors.NO_ADDRESSES)


def test_examples_and_results_may_be_used_by_all(inside, folder):
    guard = Guard(inside, Rules())
    copy = folder / "ab12" / "chelsea.jpg"
    copy.parent.mkdir()
    shutil.copy(EXAMPLES / "chelsea.jpg", copy)
    assert ask(guard, JOIN, job(copy)).status == 200
    assert ask(guard, JOIN, job(EXAMPLES / "chelsea.jpg")).status == 403  # not the page's copy
    copy.write_bytes(b"another picture of that name")
    assert ask(guard, JOIN, job(copy)).status == 403
    assert ask(guard, JOIN, job(folder / "results" / ("a" * 32) / "mask.png")).status == 200
    sneaky = folder / "results" / ".." / "ab12" / "chelsea.jpg"
    assert ask(guard, JOIN, job(sneaky)).status == 403


def test_a_look_whether_the_page_is_there_makes_no_page(inside):
    answer = ask(Guard(inside, Rules()), "/", method="HEAD")
    assert (answer.status, answer.body, inside.bodies) == (200, b"", [])


def test_the_page_gives_a_cookie_once(inside):
    guard = Guard(inside, Rules())
    first = ask(guard, "/", method="GET", accept="text/html,*/*")
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie
    known = ask(guard, "/", method="GET", accept="text/html", cookie=cookie.split(";")[0])
    assert "set-cookie" not in known.headers
    assert "set-cookie" not in ask(guard, "/config", method="GET", accept="*/*").headers


def test_the_examples_are_there():
    assert Path(EXAMPLES, "chelsea.jpg").is_file()
