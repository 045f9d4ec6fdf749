"""The page is made once for each address, and nobody gets another visitor's."""

from __future__ import annotations

import gzip
import json
import urllib.request
from typing import Any

import pytest

import app
from demos.server import pages
from tests.asgi import Answer, ask

HOST = {"host": "hub.example"}


def call(kept: pages.Pages, path: str, headers: dict[str, str], method: str = "GET") -> Answer:
    return ask(kept, path, method=method, **headers)


class Gradio:
    """In Gradio's place: tells how often it was asked, and by whom."""

    def __init__(self, status: int = 200) -> None:
        self.asked: list[str] = []
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(scope["path"])
        content = f"<head></head>{len(self.asked)} {headers.get('cookie')}".encode()
        kind = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": self.status, "headers": kind})
        await send({"type": "http.response.body", "body": content[:9], "more_body": True})
        await send({"type": "http.response.body", "body": content[9:]})


def test_it_is_made_once_for_each_address():
    gradio = Gradio()
    kept = pages.Pages(gradio)
    first = call(kept, "/", headers=HOST)
    assert call(kept, "/", headers=HOST).body == first.body
    assert call(kept, "/?__theme=dark&tab=detect", headers=HOST).body == first.body
    assert len(gradio.asked) == 1
    others = [{"host": "other.example"}, {**HOST, "x-forwarded-proto": "https"}]
    for other in others:
        assert call(kept, "/", headers=other).body != first.body
    assert len(gradio.asked) == 3
    assert b'get: () => "en"' in first.body and b"window.gradio_config" in first.body


def test_packed_for_those_who_take_it():
    kept = pages.Pages(Gradio())
    plain = call(kept, "/config", headers=HOST)
    packed = call(kept, "/config", headers={**HOST, "accept-encoding": "br, gzip"})
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert int(packed.headers["content-length"]) == len(packed.body)


@pytest.mark.parametrize("query", ["deep_link=x", "page=runs"])
def test_other_pages_of_gradio_are_not_kept(query):
    gradio = Gradio()
    kept = pages.Pages(gradio)
    assert call(kept, f"/?{query}", headers=HOST).body != call(kept, "/", headers=HOST).body
    call(kept, f"/?{query}", headers=HOST)
    assert len(gradio.asked) == 3


def test_with_a_login_each_gets_their_own():
    kept = pages.Pages(Gradio(), login=True)
    anna = call(kept, "/", headers={**HOST, "cookie": "anna"})
    ben = call(kept, "/", headers={**HOST, "cookie": "ben"})
    assert b"anna" in anna.body and b"ben" in ben.body


def test_a_failure_is_not_kept():
    gradio = Gradio(status=500)
    kept = pages.Pages(gradio)
    assert call(kept, "/", headers=HOST).status == 500
    gradio.status = 200
    assert call(kept, "/", headers=HOST).status == 200


def test_others_pass():
    gradio = Gradio()
    kept = pages.Pages(gradio)
    for _ in range(2):
        call(kept, "/gradio_api/queue/data", headers=HOST)
        call(kept, "/config", headers=HOST, method="POST")
    assert len(gradio.asked) == 4


def test_a_visitor_gets_what_gradio_made_and_their_own_cookie():
    def get(url: str) -> tuple[str, bytes]:
        asked = urllib.request.Request(url, headers={"accept": "text/html"})
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return answer.headers["set-cookie"] or "", answer.read()

    with app.served_page() as page:
        url = str(page.local_url)
        (one, first), (two, second) = get(url), get(url)
        assert first == second and one != two
        _, config = get(f"{url}config")
        told = json.loads(config)
        assert told["root"] == url.rstrip("/")
        assert len(told["components"]) == len(page.config["components"])
