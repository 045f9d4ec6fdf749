"""Remake docs/images: every tab with a result, at 1440x900 and 390x844.

    python -m scripts.screenshots [--only segment] [--dark]

Needs Chromium (the `chromium` package, or CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images"
EXAMPLES = ROOT / "examples"
SIZES = {"desktop": (1440, 900), "phone": (390, 844)}
LIMIT = 90_000  # milliseconds


def choose(page: Any, key: str, name: str) -> None:
    """Upload a picture while the tab `key` is open, and wait for its answer."""
    answer = f"#{key}-said [data-turn]:not([data-working])"
    page.locator(answer).wait_for(state="attached")  # of the picture before
    before = page.locator(answer).get_attribute("data-turn")
    page.locator("#picture input[type=file]").first.set_input_files(str(EXAMPLES / name))
    page.wait_for_function(
        "([answer, before]) => {"
        " const found = document.querySelector(answer);"
        " return found && found.dataset.turn !== before; }",
        arg=[answer, before],
    )


def choose_to_cut(page: Any, name: str) -> None:
    """The same on Segment, until the picture can be clicked on."""
    choose(page, "segment", name)
    page.wait_for_function(
        "document.querySelector('#segment-canvas .pp-status').innerText.includes('Ready')"
    )


def _open(page: Any, title: str) -> None:
    page.get_by_role("tab", name=title, exact=True).click()


def classify(page: Any) -> None:
    """The example that is there on arrival, and its classes."""
    page.locator("#classify-result .bars li").first.wait_for()


def detect(page: Any) -> None:
    """Boxes on the example that is there on arrival."""
    _open(page, "Detect")
    page.locator("#detect-result img").wait_for()


def segment(page: Any) -> None:
    """One click on the astronaut."""
    _open(page, "Segment")
    choose_to_cut(page, "astronaut.jpg")
    page.locator("#segment-canvas").scroll_into_view_if_needed()
    canvas = page.locator("#segment-canvas .pp-canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] * 0.42, "y": box["height"] * 0.65})
    done = "document.querySelector('#segment-canvas .pp-status').innerText.includes('Mask')"
    page.wait_for_function(done)


def reconstruct(page: Any) -> None:
    """The three views."""
    _open(page, "Reconstruct")
    choose(page, "reconstruct", "flower.jpg")
    page.locator("#reconstruct-pasted img").wait_for()


def denoise(page: Any) -> None:
    """A noisy picture, before and after."""
    _restore(page, "Denoise", "denoise", "noisy.png")


def super_resolve(page: Any) -> None:
    """A small picture, before and after."""
    _restore(page, "Super-resolution", "super_resolve", "small.png")


def deblur(page: Any) -> None:
    """A blurred picture, before and after."""
    _restore(page, "Deblur", "deblur", "blurred.png")


def _restore(page: Any, title: str, key: str, name: str) -> None:
    _open(page, "Restore")
    _open(page, title)
    choose(page, key, name)
    page.locator(f"#{key}-info .info").wait_for()


VIEWS: dict[str, Callable[[Any], None]] = {
    view.__name__.replace("_", "-"): view
    for view in (classify, detect, segment, reconstruct, denoise, super_resolve, deblur)
}


def shoot(browser: Any, url: str, name: str, size: str, dark: bool) -> Path:
    """One screenshot of the first screen; phones show the whole length."""
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
        is_mobile=size == "phone",
        has_touch=size == "phone",
    )
    page = context.new_page()
    page.set_default_timeout(LIMIT)
    page.goto(url)
    VIEWS[name](page)
    page.wait_for_timeout(800)  # fonts and fades
    page.evaluate("window.scrollTo(0, 0)")
    path = OUT / f"{name}-{size}{'-dark' if dark else ''}.png"
    page.screenshot(path=str(path), full_page=size == "phone")
    context.close()
    return path


@contextmanager
def visited() -> Iterator[tuple[str, Any]]:
    """The address of the app, served meanwhile, and a headless Chromium."""
    from playwright.sync_api import sync_playwright

    import app

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with app.served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield url, browser
        browser.close()


def main() -> None:
    """Serve the app, take the pictures, close."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=VIEWS)
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    with visited() as (url, browser):
        for name in [options.only] if options.only else VIEWS:
            for size in SIZES:
                print(shoot(browser, url, name, size, options.dark))


if __name__ == "__main__":
    main()
