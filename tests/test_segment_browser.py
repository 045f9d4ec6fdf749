"""The Segment tab on a 12-megapixel photograph in a real browser: by mouse, and by keys alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from core import images
from tests.accessible import faults
from tests.browser import chromium, page_of, steady, tab
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, hub

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECONDS = 1000 * PATIENCE
SIZE = (4000, 3000)
DATA = "document.querySelector('#segment-canvas .pp').dataset"


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 megapixels that a camera wrote lying on its side, with the EXIF mark that says so."""
    with Image.open(EXAMPLES / "astronaut.jpg") as small:
        upright = small.convert("RGB").resize(SIZE, Image.Resampling.BILINEAR)
    exif = Image.Exif()
    exif[0x0112] = 6  # show it a quarter turn clockwise
    path = tmp_path_factory.mktemp("photo") / "photo.jpg"
    upright.transpose(Image.Transpose.ROTATE_90).save(path, quality=90, exif=exif)
    return path


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with hub() as url, chromium() as browser, page_of(browser) as opened:
        opened.set_default_timeout(SECONDS)
        opened.goto(url)
        tab(opened, "Segment")
        yield opened


class Hand:
    """Works on the canvas of the tab, in pixels of the upright original, and hears what is sent."""

    def __init__(self, page: Any, photograph: Path) -> None:
        self.page = page
        self.sent: list[dict[str, Any]] = []
        self.hovers = 0
        self.upright = np.asarray(images.from_any(photograph))
        assert self.upright.shape == (SIZE[1], SIZE[0], 3)
        page.on("request", self._hear)
        page.locator("#picture input[type=file]").first.set_input_files(photograph)
        status = "document.querySelector('#segment-canvas .pp-status')?.innerText"
        # Not that of the picture before, which may still be shown as ready.
        wide = f"Number({DATA}.seen?.split(',')[2]) > {SIZE[0] // 2}"
        page.wait_for_function(f"{wide} && {status}?.includes('Ready')")
        self.canvas = page.locator("#segment-canvas .pp-canvas")
        page.evaluate("window.scrollTo(0, 0)")  # all of the canvas is seen from there

    def _hear(self, request: Any) -> None:
        if "/queue/join" in request.url and request.post_data:
            data = json.loads(request.post_data).get("event_data")
            if isinstance(data, dict) and "gesture" in data:
                self.sent.append(data)
            elif isinstance(data, dict) and "point" in data:
                self.hovers += 1

    def seen(self) -> list[float]:
        return [float(v) for v in self.page.evaluate(f"{DATA}.seen").split(",")]

    def spot(self, x: float, y: float) -> tuple[float, float]:
        box, (x1, y1, x2, y2) = self.canvas.bounding_box(), self.seen()
        return (
            box["x"] + (x + 0.5 - x1) / (x2 - x1) * box["width"],
            box["y"] + (y + 0.5 - y1) / (y2 - y1) * box["height"],
        )

    def click(self, x: float, y: float, button: str = "left") -> None:
        self.page.mouse.click(*self.spot(x, y), button=button)

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.page.mouse.move(*self.spot(x1 - 0.5, y1 - 0.5))
        self.page.mouse.down()
        self.page.mouse.move(*self.spot(x2 - 0.5, y2 - 0.5), steps=4)
        self.page.mouse.up()

    def act(self, name: str) -> None:
        self.page.locator(f"#segment-canvas [data-act={name}]").click()

    def settled(self) -> dict[str, Any]:
        """The newest gesture, when its masks are painted."""
        self.page.wait_for_function(f"{DATA}.painted === {DATA}.seq")
        newest = max(self.sent, key=lambda data: data["seq"])
        assert newest["seq"] == int(self.page.evaluate(f"{DATA}.seq"))
        return newest

    def slack(self) -> float:
        """Pixels of the photograph under one pixel of the screen."""
        x1, _, x2, _ = self.seen()
        return max(0.5, (x2 - x1) / self.canvas.bounding_box()["width"])


@pytest.fixture
def hand(page: Any, photograph: Path) -> Hand:
    close = page.locator('#picture [aria-label="Remove Image"]')
    if close.count():
        close.click()
        page.wait_for_function(f"{DATA}.empty === 'true'")
    return Hand(page, photograph)


def test_thirty_clicks_by_mouse(hand: Hand) -> None:
    rng = np.random.default_rng(5)
    # Far enough apart that none falls on another, which would remove it.
    cells = [(c, r) for r in range(5) for c in range(6)]
    wanted = [
        (int(250 + 620 * c + rng.integers(0, 200)), int(200 + 560 * r + rng.integers(0, 180)))
        for c, r in cells
    ]
    slack = hand.slack()
    for i, spot in enumerate(wanted):
        hand.click(*spot, button="right" if i % 3 == 2 else "left")
    points = hand.settled()["objects"][0]["points"]
    assert len(points) == 30 and [p[2] for p in points] == [int(i % 3 != 2) for i in range(30)]
    assert np.abs(np.array(points)[:, :2] - wanted).max() <= slack
    assert [data["seq"] for data in hand.sent] == sorted(data["seq"] for data in hand.sent)
    assert len(hand.sent) == 30, "no click was lost"
    assert "Mask" in hand.page.locator("#segment-canvas .pp-status").inner_text()

    hand.act("undo")
    hand.act("undo")
    assert len(hand.settled()["objects"][0]["points"]) == 28
    hand.act("redo")
    assert hand.settled()["objects"][0]["points"] == points[:29]
    hand.page.wait_for_timeout(400)
    hand.click(*wanted[4])  # on a point
    assert hand.settled()["objects"][0]["points"] == [*points[:4], *points[5:29]]

    hand.act("add-object")
    hand.drag(1200, 500, 2600, 1900)
    second = hand.settled()["objects"][1]
    assert np.abs(np.subtract(second["box"], [1200, 500, 2600, 1900])).max() <= 2 * slack

    hand.page.mouse.move(*hand.spot(2000, 1200))
    for _ in range(10):
        hand.page.mouse.wheel(0, -240)
    hand.page.wait_for_function(f"{DATA}.detail && {DATA}.zoom > 20")
    for spot in [(2000, 1200), (2005, 1196)]:
        hand.click(*spot)
    points = hand.settled()["objects"][1]["points"]
    assert points == [[2000, 1200, 1], [2005, 1196, 1]], "zoomed in, to the very pixel"
    hand.act("whole")

    hand.page.mouse.move(*hand.spot(3300, 2500))
    hand.page.wait_for_function(f"{DATA}.preview")
    assert hand.hovers
    hand.page.mouse.move(5, 5)
    assert not hand.page.evaluate(f"{DATA}.preview || ''")
    assert len(hand.page.locator("#segment-canvas .pp-objects li").all()) == 2


def test_the_picture_under_the_pointer_is_the_original_upright(hand: Hand) -> None:
    hand.page.wait_for_function(  # encoding may end before the browser has decoded 12 megapixels
        """() => {
            const canvas = document.querySelector('#segment-canvas .pp-canvas');
            return canvas.getContext('2d').getImageData(9, 9, 1, 1).data[3] === 255;
        }"""
    )
    for x, y in [(300, 2700), (3700, 250), (1900, 1500)]:
        shown = hand.page.evaluate(
            """([fx, fy]) => {
                const canvas = document.querySelector('#segment-canvas .pp-canvas');
                const at = [Math.floor(canvas.width * fx), Math.floor(canvas.height * fy)];
                return [...canvas.getContext('2d').getImageData(...at, 1, 1).data].slice(0, 3);
            }""",
            [(x + 0.5) / SIZE[0], (y + 0.5) / SIZE[1]],
        )
        around = hand.upright[y - 4 : y + 4, x - 4 : x + 4].reshape(-1, 3).mean(axis=0)
        assert np.abs(around - shown).max() < 30, (x, y)
    hand.act("full")
    hand.page.wait_for_function("document.fullscreenElement")
    steady(hand.page, "#segment-canvas .pp-canvas")
    hand.click(3700, 250)
    slack = hand.slack()
    points = hand.settled()["objects"][0]["points"]
    hand.page.evaluate("document.exitFullscreen()")
    hand.page.wait_for_function("!document.fullscreenElement")
    assert np.abs(np.array(points)[:, :2] - [[3700, 250]]).max() <= slack


def test_by_keyboard_alone(hand: Hand) -> None:
    press = hand.page.keyboard.press
    hand.page.locator("#segment-canvas [data-act=add-object]").focus()
    press("Tab")
    assert hand.page.evaluate("document.activeElement.className") == "pp-canvas"
    x, y = SIZE[0] // 2, SIZE[1] // 2
    wanted = []
    for i in range(8):
        press("Shift+ArrowRight" if i % 2 else "ArrowDown")
        x, y = (x + 200, y) if i % 2 else (x, y + 40)
        press("Control+ArrowLeft")
        x -= 1
        press("Shift+Enter" if i == 3 else "Enter")
        wanted.append([x, y, int(i != 3)])
    assert hand.settled()["objects"][0]["points"] == wanted
    press("Control+z")
    press("Control+z")
    press("Control+y")
    press("Delete")  # the nearest one
    assert hand.settled()["objects"][0]["points"] == wanted[:6]
    press("n")
    press("b")
    for _ in range(4):
        press("Shift+ArrowLeft")
    press("Shift+ArrowUp")
    press("b")
    box = hand.settled()["objects"][1]["box"]
    assert (box[2] - box[0], box[3] - box[1]) == (800, 200)
    for _ in range(5):
        press("+")
    press("ArrowRight")
    press("Enter")
    assert len(hand.settled()["objects"][1]["points"]) == 1
    status = hand.page.locator("#segment-canvas [role=status]")
    assert "own guess" in status.inner_text()
    assert "Object 2" in hand.canvas.get_attribute("aria-label")


def test_the_lessons_open_on_the_prompts_and_follow_them(hand: Hand) -> None:
    page = hand.page
    hand.click(2000, 1500)
    hand.settled()
    for key, what in (
        ("which-click-helped", "table tbody tr"),
        ("prompt-to-mask", "svg g"),
        ("encoder-features", "img"),
    ):
        page.locator(f"#lesson-{key} > button").first.click()
        page.locator(f"#lesson-{key} {what}").first.wait_for()
        assert faults(page, f"#lesson-{key}") == []
    rows = "document.querySelectorAll('#lesson-which-click-helped tbody tr').length"
    assert page.evaluate(rows) == 1
    hand.canvas.scroll_into_view_if_needed()
    hand.click(2400, 1700)
    hand.settled()
    page.locator("#lesson-which-click-helped-refresh").click()
    page.wait_for_function(f"{rows} === 2")
    page.locator("#lesson-which-click-helped-take").click()
    page.locator("#lesson-which-click-helped-said").get_by_text("is now the reference").wait_for()
    page.locator("#lesson-which-click-helped-refresh").click()
    page.locator("#lesson-which-click-helped").get_by_text("helped most").wait_for()
    page.locator("#picture [aria-label='Remove Image']").click()
    page.wait_for_function(f"{rows} === 0")
    said = page.locator("#lesson-prompt-to-mask-said")
    said.get_by_text("Choose a picture first.").wait_for()
    assert page.locator("#lesson-encoder-features-colours img").count() == 0


def test_a_reload_keeps_the_prompts(hand: Hand) -> None:
    hand.click(1500, 900)
    hand.act("add-object")
    hand.drag(1200, 1500, 2600, 2400)
    drawn = [(one["name"], one["points"], one["box"]) for one in hand.settled()["objects"]]
    assert len(drawn) == 2 and drawn[0][1] and drawn[1][2]
    names = hand.page.locator("#segment-canvas .pp-objects li").all_inner_texts()
    hand.sent.clear()
    hand.page.reload()
    hand.page.locator("#segment-canvas .pp-objects li").nth(1).wait_for()
    again = hand.settled()
    assert again["gesture"] == "preset" and len(again["want"]) == 2
    assert [(one["name"], one["points"], one["box"]) for one in again["objects"]] == drawn
    assert hand.page.locator("#segment-canvas .pp-objects li").all_inner_texts() == names
