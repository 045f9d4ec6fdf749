"""The name of somebody's file is shown as it is: it never becomes HTML or Markdown."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser

import gradio as gr
import pytest

from core import types
from core.checkpoints import Checkpoint
from core.errors import CheckpointError
from core.sources import own_files, resolver
from demos import _page
from demos.shell import card, owner, picker, ui

NAMES = [
    "x<img src=q onerror=alert(1)>",
    "**bold** _it_ `code` ~~no~~",
    "[a](javascript:alert(1)) ![b](c.png)",
    "<!-- --> &lt;img&gt; $$x^2$$ #1 \\",
    "www.example.org http:x a@b.org",
    "> quote\n\n# head\n- item",
    "Ünicode 网络 v1.0 (final)",
]


def seen(markup: str) -> tuple[set[str], str]:
    """The tags of HTML, and the words that a reader sees."""
    tags, words = set(), []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.add(tag)
            assert not [name for name, _ in attributes if name.startswith("on")]

        def handle_data(self, data):
            words.append(data)

    Reader().feed(markup)
    return tags, " ".join("".join(words).split())


@pytest.fixture(params=NAMES)
def checkpoint(request, monkeypatch):
    """A checkpoint of somebody's, of that name."""
    made = Checkpoint(
        f"own:{request.param}", "classify", "timm", "file", "MIT", title=request.param, tier="own"
    )
    monkeypatch.setattr(resolver, "find", lambda *_: made)
    monkeypatch.setattr(
        own_files, "scan", lambda: own_files.Scan((made,), (f"{request.param} is odd.",))
    )
    return made


def test_in_the_card(checkpoint):
    markdown = pytest.importorskip("markdown_it").MarkdownIt(
        "gfm-like", {"html": True, "linkify": False}
    )
    text, _ = card.show(checkpoint.key, "classify")
    tags, words = seen(markdown.render(text))
    assert tags <= {"h3", "ul", "li", "strong"}
    assert words.startswith(" ".join(checkpoint.title.split()) + " Source:")
    assert "$$" not in text and "www." not in text and "http:" not in text


def test_in_the_card_when_it_cannot_be_found(monkeypatch):
    def fail(*_):
        raise CheckpointError("There is no x<img src=q>.")

    monkeypatch.setattr(resolver, "find", fail)
    text, _ = card.show("own:x", "classify")
    assert "<" not in text and html.unescape(text) == "There is no x<img src=q>."


def test_in_pickers_info_and_lists(checkpoint, monkeypatch):
    name = " ".join(checkpoint.title.split())
    info = types.RunInfo(
        checkpoint.title, "own", "cpu", "fp32", note=f"{checkpoint.title} answered."
    )
    model = {"checkpoint": checkpoint.title, "tier": "own", "mb": 1, "pinned": False}
    status = {"models": [model], "outputs": {"values": 0, "used_mb": 0, "budget_mb": 1}}
    status |= {"used_mb": 1, "budget_mb": 2, "device": "cpu", "precision": "fp32"}
    status |= dict.fromkeys(("hits", "misses", "evictions", "load_seconds"), 0)
    monkeypatch.setattr(owner, "status", lambda: status)
    for markup in (
        *(picker.describe(checkpoint.key, "classify"), ui.info_html(info)),
        *(owner.meter_html(), own_html(monkeypatch)),
    ):
        tags, words = seen(markup)
        assert not tags & {"img", "script", "a", "em", "code"}, markup
        assert name in words


def own_html(monkeypatch):
    monkeypatch.setenv("VISION_HUB_CHECKPOINTS", "/somewhere")
    from core.settings import get_settings

    get_settings.cache_clear()
    try:
        return _page.own_html()
    finally:
        monkeypatch.delenv("VISION_HUB_CHECKPOINTS")
        get_settings.cache_clear()


def test_in_messages(checkpoint, monkeypatch):
    """The page shows them as HTML, clients as text."""
    warned = []
    monkeypatch.setattr(gr, "Warning", warned.append)
    ui.warn(f"{checkpoint.title} is damaged.")
    error = ui.as_gradio_error(CheckpointError(f"{checkpoint.title} is damaged."))
    for sentence in (*warned, error.message):
        assert not re.search(r"[<>]", sentence) and "is damaged." in sentence
