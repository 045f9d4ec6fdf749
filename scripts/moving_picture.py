"""Remake docs/images/tour.webp: the real page at work, as a short animation for the README.

    python -m scripts.moving_picture [--dark] [--output FILE.webp]

Each scene is a view of `scripts.screenshots`, so both follow the page together; on Segment the
mouse then moves over a flower and clicks, to show the preview and the mask. Needs Chromium (the
`chromium` package, or CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from scripts.screenshots import LIMIT, OUT, VIEWS, choose_to_cut, visited

SIZE = (1200, 750)  # of the window
WIDTH = 900  # of the animation
MOST_BYTES = 1_500_000
QUALITIES = (80, 70, 60, 50, 40, 30)  # the first that fits
SCENES = ("classify", "detect", "segment", "denoise")
FLOWER = "flower.jpg"  # where the starter is at its best
WALK = ((0.12, 0.8), (0.5, 0.45))  # on the canvas, as shares of its sides; the last is clicked
HOLD, STEP = 2000, 70  # milliseconds of a result, and of one frame while the mouse moves
# A headless browser draws no mouse pointer.
POINTER = """() => {
  const dot = document.createElement("div");
  dot.style.cssText = "position:fixed;z-index:9999;width:16px;height:16px;border-radius:50%;" +
    "margin:-8px 0 0 -8px;background:#fff;border:3px solid #111;pointer-events:none;left:-99px";
  document.body.append(dot);
  addEventListener("mousemove", (event) => {
    dot.style.left = event.clientX + "px";
    dot.style.top = event.clientY + "px";
  }, true);
}"""


@dataclass
class Film:
    """Frames of a page and how long each is shown, in milliseconds."""

    page: Any
    frames: list[Image.Image] = field(default_factory=list)
    holds: list[int] = field(default_factory=list)

    def shoot(self, hold: int) -> None:
        """Add what the page shows now; an unchanged frame is only shown for longer."""
        shot = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        frame = shot.resize(
            (WIDTH, round(WIDTH * shot.height / shot.width)), Image.Resampling.LANCZOS
        )
        if self.frames and self.frames[-1].tobytes() == frame.tobytes():
            self.holds[-1] += hold
            return
        self.frames.append(frame)
        self.holds.append(hold)

    def content(self) -> bytes:
        """The animated WebP at the best quality of `QUALITIES` within `MOST_BYTES`.

        Raises:
            SystemExit: it is too large at every quality.
        """
        for quality in QUALITIES:
            buffer = io.BytesIO()
            first, *rest = self.frames
            first.save(
                buffer,
                "WEBP",
                save_all=True,
                append_images=rest,
                duration=self.holds,
                loop=0,
                quality=quality,
                method=6,
            )
            if buffer.tell() < MOST_BYTES:
                return buffer.getvalue()
        raise SystemExit(f"The animation is larger than {MOST_BYTES} bytes; use fewer scenes.")


def walk(film: Film) -> None:
    """Move over the canvas of Segment along `WALK`, with its preview, and click at the end."""
    choose_to_cut(film.page, FLOWER)
    film.page.evaluate("window.scrollTo(0, 0)")
    box = film.page.locator("#segment-canvas .pp-canvas").bounding_box()
    here = (box["x"] + box["width"] / 2, box["y"] + 5)
    for x, y in WALK:
        there = (box["x"] + x * box["width"], box["y"] + y * box["height"])
        for step in range(1, 9):
            share = step / 8
            film.page.mouse.move(*(a + share * (b - a) for a, b in zip(here, there, strict=True)))
            film.shoot(STEP)
        film.page.wait_for_timeout(600)  # the preview under the mouse
        film.shoot(HOLD // 3)
        here = there
    painted = "() => document.querySelector('#segment-canvas .pp').dataset.painted"
    before = film.page.evaluate(painted)
    film.page.mouse.click(*here)
    film.page.wait_for_function(f"before => ({painted})() !== before", arg=before)
    film.page.wait_for_timeout(300)
    film.shoot(HOLD)


def main() -> None:
    """Serve the app, film the scenes, write the animation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--output", type=Path, default=OUT / "tour.webp")
    options = parser.parse_args()
    with visited() as (url, browser):
        page = browser.new_page(
            viewport={"width": SIZE[0], "height": SIZE[1]},
            color_scheme="dark" if options.dark else "light",
        )
        page.set_default_timeout(LIMIT)
        page.goto(url)
        page.evaluate(POINTER)
        film = Film(page)
        for name in SCENES:
            VIEWS[name](page)
            if name == "segment":
                walk(film)
                continue
            page.wait_for_timeout(800)  # fonts and fades
            page.evaluate("window.scrollTo(0, 0)")
            film.shoot(HOLD)
        browser.close()
    content = film.content()
    options.output.write_bytes(content)
    print(f"{options.output}: {len(film.frames)} frames, {len(content) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
