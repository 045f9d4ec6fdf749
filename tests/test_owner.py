"""Pinning and unloading: for who opened the owner's link, and for nobody else."""

from __future__ import annotations

import http.client
import json
import uuid
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

import app
from core.errors import InputError
from core.serving import runtime
from demos.shell import owner as _owner
from tests.conftest import PATIENCE

REFUSAL = "Only the owner of this hub can do that."


def test_the_link_makes_the_owner():
    link = urlsplit(_owner.link("http://127.0.0.1:7860/"))
    assert link.query == f"owner={_owner.KEY}" and len(_owner.KEY) >= 20
    assert _owner.is_owner(SimpleNamespace(query_params={"owner": _owner.KEY}))
    for wrong in ({}, {"owner": ""}, {"owner": "é"}, {"owner": _owner.KEY[:-1]}):
        assert not _owner.is_owner(SimpleNamespace(query_params=wrong))


def test_others_are_refused():
    done = []
    act = _owner._owners(done.append)
    for owner in (False, None, "True", 1):
        with pytest.raises(InputError, match="Only the owner"):
            act(owner, "classify-starter")
    with pytest.raises(InputError, match="Choose a model"):
        act(True, None)
    assert done == []


@pytest.fixture(scope="module")
def page():
    with app.served_page() as built:
        yield built


class Session:
    """One page that is open, by Gradio's own protocol."""

    def __init__(self, page, query=""):
        self.address, self.query = urlsplit(page.local_url).netloc, query
        self.session = uuid.uuid4().hex
        self.page = page

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        kind = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body else None, kind)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        assert response.status == 200, text
        return text

    def call(self, fn, data):
        """Everything that the server says to one event."""
        index = next(i for i, made in self.page.fns.items() if fn(made))
        body = {"data": data, "fn_index": index, "session_hash": self.session}
        self._ask("POST", f"/gradio_api/queue/join{self.query}", body)
        return self._ask("GET", f"/gradio_api/queue/data?session_hash={self.session}")

    def open(self):
        return self.call(lambda made: made.fn is _owner._open, [])

    def press(self, elem_id, model):
        """Callers may send what they like as the hidden state; the server keeps its own."""
        blocks = self.page.blocks.values()
        button = next(b for b in blocks if getattr(b, "elem_id", "") == elem_id)
        return self.call(lambda made: (button._id, "click") in made.targets, [True, model])


@pytest.mark.slow
def test_a_visitor_cannot_unload_and_the_owner_can(page, settings, picture):
    from core import restore

    restore.deblur(picture(16, 16))
    loaded = lambda: [m["checkpoint"] for m in runtime.models().stats()["models"]]  # noqa: E731
    pinned = lambda: [m["pinned"] for m in runtime.models().stats()["models"]]  # noqa: E731
    assert loaded() == ["deblur-starter"]
    visitor = Session(page, "?owner=guess")
    visitor.open()
    for button in ("owner-unload", "owner-pin"):
        assert REFUSAL in visitor.press(button, "deblur-starter")
    assert (loaded(), pinned()) == (["deblur-starter"], [False])
    owner = Session(page, f"?owner={_owner.KEY}")
    owner.open()
    assert "pinned" in owner.press("owner-pin", "deblur-starter")
    assert pinned() == [True]
    assert REFUSAL not in owner.press("owner-unload", "deblur-starter")
    assert loaded() == []
    assert "is not in memory" in owner.press("owner-unload", "deblur-starter")
