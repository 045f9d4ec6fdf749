"""A small app around the point-prompt canvas, and a hand to use it with, for the browser tests.

Its model is trivial: discs around the points, so that a test knows every pixel of the mask.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import gradio as gr
import numpy as np

from demos.canvas.answers import (
    canvas_answer,
    canvas_command,
    canvas_message,
    canvas_object,
    canvas_picture,
    mask_url,
    served,
)
from demos.canvas.component import PointPrompter
from demos.canvas.gestures import Choice, Painted, Prompted, parse_gesture, parse_object
from tests.browser import tab
from tests.conftest import PATIENCE, wait_for

SLOW_SECONDS = 0.7  # of a preview while `Demo.slow` is set
SIZES = {"wide": (640, 400), "tall": (300, 900), "large": (4000, 3000), "tiny": (40, 30)}


def picture(width: int, height: int) -> np.ndarray:
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.dstack([x, y, np.full_like(x, 120)]).astype(np.uint8)


def disc_model(
    points: list, box: list | None, size: tuple[int, int], share: float = 10
) -> np.ndarray:
    width, height = size
    mask = np.zeros((height, width), bool)
    if box:
        mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])] = True
    radius = max(size) / share
    for px, py, label in points:  # only around the disc: a picture may have 12 million pixels
        left, top = max(0, int(px - radius)), max(0, int(py - radius))
        part = mask[top : int(py + radius) + 2, left : int(px + radius) + 2]
        y, x = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        part[np.hypot(x - px, y - py) < radius] = bool(label)
    return mask


class Demo:
    """The app under test, and every gesture that reached it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.hovers: list[dict[str, Any]] = []
        self.size = (1, 1)
        self.answered = 0
        self.hold = False  # keep the answer to a first point back until `release`
        self.slow = threading.Event()  # previews take a while while it is set
        self.held, self.let_go = threading.Event(), threading.Event()  # or wait for the other
        self.release = threading.Event()
        self.shown: dict[str, Any] = {}
        with gr.Blocks(analytics_enabled=False) as self.page, gr.Tabs():
            with gr.Tab("Pick"):
                buttons = {name: gr.Button(name, elem_id=f"pick-{name}") for name in SIZES}
                preset = gr.Button("preset", elem_id="pick-preset")
                same = gr.Button("same", elem_id="pick-same")
                none = gr.Button("none", elem_id="pick-none")
                message = gr.Button("message", elem_id="pick-message")
                segments = gr.Button("segments", elem_id="pick-segments")
            with gr.Tab("Canvas"):
                canvas = PointPrompter(label="Test picture", elem_id="pp")
            for name, button in buttons.items():
                button.click(lambda name=name: self.show(name), None, canvas)
            begin = [canvas_object("Cup", points=[[100, 100, 1]], box=[50, 60, 300, 200])]
            preset.click(lambda: self.show("wide", begin), None, canvas)
            same.click(lambda: self.show("wide", of="its digest"), None, canvas)
            message.click(lambda: canvas_message(self.shown, "Reading."), None, canvas)
            none.click(lambda: PointPrompter(picture=None), None, canvas)
            segments.click(self.everything, None, canvas)
            canvas.prompt(
                self.answer, None, canvas, trigger_mode="multiple", show_progress="hidden"
            )
            canvas.hover(self.hover, None, canvas, trigger_mode="multiple", show_progress="hidden")
            canvas.detail(self.detail, None, canvas, show_progress="hidden")
            canvas.pick(self.pick, None, canvas, show_progress="hidden")
        self.page.queue(default_concurrency_limit=4)

    def show(self, name: str, objects: Any = (), of: str = "") -> Any:
        self.size = SIZES[name]
        rgb = picture(*self.size)
        self.shown = canvas_picture(rgb, alt=f"A {name} ramp", objects=objects, of=of)
        return PointPrompter(picture=self.shown)

    def answer(self, evt: gr.EventData) -> dict[str, Any]:
        gesture = parse_gesture(evt._data)
        active = gesture.object(gesture.active)
        assert active is not None
        self.seen.append({**evt._data, "points": active.points, "box": active.box})
        if self.hold and len(active.points) == 1:
            assert self.release.wait(PATIENCE)
        self.answered += 1
        masks = [self.painted(one) for one in gesture.objects if one.id in gesture.want]
        words = f"{len(active.points)} points"
        return canvas_answer(gesture, masks, status=words if masks else None)

    def painted(self, one: Prompted) -> Painted:
        mask = disc_model(one.points, one.box, self.size)
        if one.given:
            mask[: self.size[1] // 4] = True
        note = f"{mask.mean():.0%}"
        words = f"{len(one.points)} points"
        if len(one.points) != 1 or one.box or one.given:
            return Painted(one.rev, mask, note, words)
        whole = mask | disc_model(one.points, None, self.size, 4)
        three = [Choice(whole, "whole", "IoU 0.9"), Choice(mask, "part", "IoU 0.8")]
        chosen = 1 if one.choice is None else one.choice
        return Painted(one.rev, three[chosen].mask, note, words, three, chosen)

    def hover(self, evt: gr.EventData) -> Any:
        data = dict(evt._data)
        self.hovers.append(data)
        one = parse_object(data["object"])
        if self.slow.is_set():
            time.sleep(SLOW_SECONDS)
        assert not self.held.is_set() or self.let_go.wait(PATIENCE)
        mask = disc_model([*one.points, data["point"]], one.box, self.size)
        preview = {"picture": data["picture"], "seq": data["seq"], "mask": mask_url(mask)}
        return PointPrompter(preview=preview)

    def detail(self, evt: gr.EventData) -> Any:
        x1, y1, x2, y2 = evt._data["rect"]
        part = picture(*self.size)[y1:y2, x1:x2]
        answer = {"picture": evt._data["picture"], "rect": evt._data["rect"]}
        return PointPrompter(detail={**answer, "src": served(part, 1600)})

    def everything(self) -> Any:
        mask = np.zeros(self.size[::-1], bool)
        mask[: self.size[1] // 4] = True
        shown = {"picture": self.shown["id"], "src": mask_url(mask), "count": 1}
        return PointPrompter(segments=shown)

    def pick(self, evt: gr.EventData) -> Any:
        name = f"Picked at {evt._data['x']}, {evt._data['y']}"
        objects = [canvas_object(name, given="stripe")]
        return PointPrompter(command=canvas_command(evt._data["picture"], objects))

    @property
    def last(self) -> dict[str, Any]:
        return max(self.seen, key=lambda seen: seen["seq"])  # answered side by side


class Pad:
    """The canvas of one page, spoken to in pixels of the picture."""

    def __init__(self, page: Any, demo: Demo) -> None:
        self.page, self.demo = page, demo
        self.canvas = page.locator("#pp .pp-canvas")
        self.view = (0.0, 0.0, 1.0)  # what is seen: left, top in pixels of the picture, and zoom
        self.base = 0  # number of the gesture before the first one of the picture

    def open(self, name: str) -> Pad:
        tab(self.page, "Pick")
        before = self.page.evaluate("document.querySelector('#pp .pp')?.dataset.seq || ''")
        self.page.locator(f"#pick-{name}").click()
        self.page.wait_for_timeout(50)
        tab(self.page, "Canvas")
        self.canvas.wait_for()
        self.page.wait_for_function(
            "before => document.querySelector('#pp .pp').dataset.seq !== before", arg=before
        )
        self.page.wait_for_function("document.querySelector('#pp .pp-canvas').width > 1")
        self.base = self.sent()
        self.demo.seen.clear()
        return self

    def sent(self) -> int:
        """The number of the newest gesture."""
        return int(self.page.evaluate("document.querySelector('#pp .pp').dataset.seq"))

    def spot(self, x: float, y: float) -> tuple[float, float]:
        """Page coordinates of the middle of a pixel."""
        box, (w, h), (left, top, zoom) = self.canvas.bounding_box(), self.demo.size, self.view
        return (
            box["x"] + (x + 0.5 - left) / w * box["width"] * zoom,
            box["y"] + (y + 0.5 - top) / h * box["height"] * zoom,
        )

    def click(self, x: float, y: float, button: str = "left", key: str | None = None) -> None:
        if key:
            self.page.keyboard.down(key)
        self.page.mouse.click(*self.spot(x, y), button=button)
        if key:
            self.page.keyboard.up(key)

    def drag(self, x1: float, y1: float, x2: float, y2: float) -> None:
        self.page.mouse.move(*self.spot(x1 - 0.5, y1 - 0.5))
        self.page.mouse.down()
        self.page.mouse.move(*self.spot((x1 + x2) / 2, (y1 + y2) / 2))
        self.page.mouse.move(*self.spot(x2 - 0.5, y2 - 0.5))
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, name: str) -> None:
        self.page.locator(f"#pp [data-act={name}]").click()

    def settle(self, count: int) -> Pad:
        """Wait until so many gestures were answered and the newest answer is painted."""
        wait_for(lambda: len(self.demo.seen) >= count)
        self.painted()
        assert len(self.demo.seen) == self.sent() - self.base == count
        return self

    def painted(self) -> None:
        """Wait until the answer to the newest gesture is painted."""
        self.page.wait_for_function(
            "() => { const { painted, seq } = document.querySelector('#pp .pp').dataset;"
            " return painted === seq; }"
        )

    def colour(self, x: float, y: float) -> list[int]:
        """What the canvas shows at a pixel of the picture."""
        w, h = self.demo.size
        return self.page.evaluate(
            """([fx, fy]) => {
                const canvas = document.querySelector('#pp .pp-canvas');
                const [x, y] = [canvas.width * fx, canvas.height * fy];
                return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data];
            }""",
            [(x + 0.5) / w, (y + 0.5) / h],
        )

    def masked(self, x: float, y: float) -> bool:
        """Whether the mask covers a pixel (that has no marker on it)."""
        w, h = self.demo.size
        bare = [255 * x / (w - 1), 255 * y / (h - 1), 120]
        return float(np.abs(np.subtract(self.colour(x, y)[:3], bare)).max()) > 25

    def status(self) -> str:
        return self.page.locator("#pp .pp-status").inner_text()

    def count(self) -> str:
        return self.page.locator("#pp .pp-count").inner_text()


def touch_drag(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    session = page.context.new_cdp_session(page)
    steps = [np.add(start, np.subtract(end, start) * part) for part in (0.0, 0.3, 0.7, 1.0)]
    for index, (x, y) in enumerate(steps):
        kind = "touchMove" if index else "touchStart"
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
