"""The answer of each tab: one event for each gesture, and nothing old beside a new sentence."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import detect, restore
from core.errors import InputError
from tests.browser import PHONE, page_of, tab, without_picture
from tests.conftest import PATIENCE, wait_for
from tests.live import EXAMPLES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECONDS = 1000 * PATIENCE
# Key of a tab, the tabs to open, and two pictures that it takes.
TABS = {
    "classify": (["Classify"], "coffee.jpg", "rocket.jpg"),
    "detect": (["Detect"], "astronaut.jpg", "hopper.jpg"),
    "segment": (["Segment"], "coffee.jpg", "flower.jpg"),
    "reconstruct": (["Reconstruct"], "flower.jpg", "chelsea.jpg"),
    "denoise": (["Restore", "Denoise"], "small.png", "small-2.png"),
    "super_resolve": (["Restore", "Super-resolution"], "small.png", "small-2.png"),
    "deblur": (["Restore", "Deblur"], "small.png", "small-2.png"),
}
SHOWN = {
    "classify": "#classify-result .bars",
    "detect": "#detect-result img",
    "segment": "#segment-canvas .pp-canvas",
    "reconstruct": "#reconstruct-pasted img",
}
DROP = """([selector, name, content]) => {
  const target = document.querySelector(selector);
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    target.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
}"""
COPY = """async (content) => {
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  const item = new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) });
  await navigator.clipboard.write([item]);
}"""
ANSWERED = """([key, before]) => {
  const done = document.querySelector(`#${key}-said [data-turn]:not([data-working])`);
  return done !== null && done.dataset.turn !== before;
}"""


class Hand:
    """What a person does on one tab without a picture, and how many events the page sends for it.

    The tests share a window, since opening the page takes longer than most of them.
    """

    def __init__(self, page: Any, key: str) -> None:
        self.page, self.key, self.turn = page, key, ""
        self.joins: list[dict[str, Any]] = []
        self.streams: set[Any] = set()
        page.on("request", self._heard)
        for event in ("requestfinished", "requestfailed"):
            page.on(event, self._ended)
        without_picture(page)
        titles, *self.files = TABS[key]
        for title in titles:
            tab(page, title)
        page.locator(f"#{key}-said .placeholder:not([data-working])").wait_for()
        wait_for(lambda: page.wait_for_timeout(300) or not self.streams)
        self.joins.clear()

    def _heard(self, request: Any) -> None:
        if "/queue/data" in request.url:
            self.streams.add(request)
        if request.method == "POST" and "/queue/join" in request.url:
            self.joins.append(json.loads(request.post_data))

    def _ended(self, request: Any) -> None:
        self.streams.discard(request)

    def upload(self, path: Path) -> None:
        self.page.locator("#picture input[type=file]").first.set_input_files(path)

    def drop(self, path: Path) -> None:
        content = base64.b64encode(path.read_bytes()).decode()
        self.page.evaluate(DROP, ["#picture img", path.name, content])

    def clear(self) -> None:
        self.page.locator('#picture [aria-label="Remove Image"]').click()
        self.page.locator(f"#{self.key}-said .placeholder:not([data-working])").wait_for()

    def answered(self) -> None:
        """Until there is an answer that is not of the picture before."""
        self.page.wait_for_function(ANSWERED, arg=[self.key, self.turn], timeout=SECONDS)
        done = self.page.locator(f"#{self.key}-said [data-turn]:not([data-working])")
        self.turn = done.get_attribute("data-turn")

    def refused(self) -> str:
        alert = self.page.locator(f"#{self.key}-said [role=alert]")
        alert.wait_for()
        return str(alert.inner_text())

    @property
    def shown(self) -> Any:
        return self.page.locator(SHOWN.get(self.key, f"#{self.key}-result img")).first


@pytest.fixture(scope="module")
def desktop(browser: Any, url: str) -> Iterator[Any]:
    with page_of(browser) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield arrived(page, url)


@pytest.fixture(scope="module")
def phone(browser: Any, url: str) -> Iterator[Any]:
    with page_of(browser, viewport=PHONE) as page:
        yield arrived(page, url)


def arrived(page: Any, url: str) -> Any:
    page.goto(url)
    page.locator("#classify-said [data-turn]:not([data-working])").wait_for(state="attached")
    return page


@pytest.mark.parametrize("key", TABS)
def test_one_gesture_is_one_event(desktop: Any, key: str) -> None:
    page, hand = desktop, Hand(desktop, key)
    first, second = (EXAMPLES / name for name in hand.files)

    def gestures() -> Iterator[str]:
        hand.upload(first)
        hand.answered()
        yield "upload"
        if key in ("super_resolve", "deblur"):  # wired by the same lines as Denoise
            return
        hand.drop(second)
        hand.answered()
        yield "drop on a picture"
        hand.drop(second)
        hand.answered()
        yield "drop of the same once more"
        hand.clear()
        yield "clear"
        examples = page.locator("#picture-examples button")
        examples.first.click()
        hand.answered()
        yield "example"
        examples.nth(1).click()
        hand.answered()
        yield "example on a picture"
        hand.clear()
        yield "clear of an example"
        page.evaluate(COPY, base64.b64encode((EXAMPLES / "small.png").read_bytes()).decode())
        page.locator('#picture [aria-label="Paste from clipboard"]').click()
        hand.answered()
        yield "paste"
        page.keyboard.press("Escape")
        hand.drop(first)
        hand.answered()
        yield "drop on what was pasted"

    for number, done in enumerate(gestures(), 1):
        sent = [one["fn_index"] for one in hand.joins]
        assert len(sent) == number, (done, sent)
        assert len(set(sent)) == 1, (done, sent)


# Dropping is the same script for every tab; one quick tab and one long job show it.
@pytest.mark.parametrize(
    ("way", "key"), [*(("upload", key) for key in TABS), ("drop", "classify"), ("drop", "deblur")]
)
def test_a_refused_picture_leaves_nothing_of_the_one_before(
    request: pytest.FixtureRequest, key: str, way: str, tmp_path: Path
) -> None:
    bad = tmp_path / "note.png"
    bad.write_bytes(b"this is no picture at all")
    page = request.getfixturevalue("phone" if way == "upload" else "desktop")
    hand = Hand(page, key)
    good = EXAMPLES / hand.files[0]
    hand.upload(good)
    hand.answered()
    hand.shown.wait_for()
    if way == "upload":
        hand.clear()
        hand.upload(bad)
    else:
        hand.drop(bad)
    sentence = hand.refused()
    assert "picture" in sentence and "Error" not in sentence and sentence.endswith(".")
    assert not hand.shown.is_visible()
    assert page.locator(f"#{key}-info").inner_text().strip() == ""
    downloads = page.locator(f"#tab-{key}, #restore-{key}").locator("button:visible")
    names = [one.inner_text() for one in downloads.all() if one.is_enabled()]
    assert not [name for name in names if name.startswith("Download")]
    assert page.get_by_text("Error", exact=True).count() == 0, "a bare pill"
    hand.turn = ""
    hand.clear()
    hand.upload(good)
    hand.answered()
    hand.shown.wait_for()
    assert page.locator(f"#{key}-said [role=alert]").count() == 0


def test_a_run_that_fails_is_said_in_the_place_of_the_answer(
    desktop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, hand = desktop, Hand(desktop, "detect")
    hand.upload(EXAMPLES / hand.files[0])
    hand.answered()

    def fails(*_: object, **__: object) -> None:
        raise InputError("There is too little memory for this.")

    with monkeypatch.context() as patch:
        patch.setattr(detect, "predict", fails)
        page.locator("#detect-run").click()
        assert hand.refused() == "There is too little memory for this."
        assert not hand.shown.is_visible()
        assert page.locator("#detect-info").inner_text().strip() == ""
    hand.turn = ""
    page.locator("#detect-run").click()
    hand.answered()
    hand.shown.wait_for()


def test_a_value_out_of_range_is_said_there_too(desktop: Any) -> None:
    page, hand = desktop, Hand(desktop, "reconstruct")
    hand.upload(EXAMPLES / hand.files[0])
    hand.answered()
    page.get_by_role("button", name="More settings").locator("visible=true").click()
    field = page.get_by_label("Seed")
    field.fill("-5")
    field.press("Enter")
    assert "0" in hand.refused()
    assert not hand.shown.is_visible()
    field.fill("5")
    field.press("Enter")
    hand.shown.wait_for()


def test_cancel_says_so_and_leaves_no_answer_of_another_picture(
    desktop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()

    def slow(*_: object, **__: object) -> Iterator[float]:
        while not go_on.wait(0.5):
            yield 0.1

    page, hand = desktop, Hand(desktop, "denoise")
    hand.upload(EXAMPLES / hand.files[0])
    hand.answered()
    try:
        monkeypatch.setattr(restore, "steps", slow)
        hand.drop(EXAMPLES / hand.files[1])
        page.locator("#denoise-said [data-working]").wait_for()
        assert not hand.shown.is_visible()
        page.locator("#denoise-cancel").click()
        page.locator("#denoise-said").get_by_text("Cancelled").wait_for()
        assert not hand.shown.is_visible()
    finally:
        go_on.set()
