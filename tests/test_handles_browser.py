"""The handle between before and after, by keyboard alone, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser import chromium, page_of
from tests.live import hub

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with hub() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def test_the_handle_is_a_slider_and_moves_by_keys(browser: Any, url: str) -> None:
    with page_of(browser) as page:
        page.goto(f"{url}?tab=denoise")
        handle = page.locator("#denoise-result [role=slider]")
        handle.wait_for()
        assert handle.get_attribute("aria-label") == "Before and after"
        picture = page.locator("#denoise-result img").first
        page.locator("#denoise-use").focus()
        for _ in range(20):  # backwards from the button below it
            page.keyboard.press("Shift+Tab")
            if page.evaluate("document.activeElement.getAttribute('role')") == "slider":
                break
        before = value(handle)
        for key, share in (
            ("ArrowRight", before + 2),
            ("ArrowLeft", before),
            ("PageDown", before - 10),
            ("End", 100),
            ("Home", 0),
            ("PageUp", 10),
        ):
            page.keyboard.press(key)
            page.wait_for_function(
                "([handle, share]) => Math.abs(handle.getAttribute('aria-valuenow') - share) <= 1",
                arg=[handle.element_handle(), share],
            )
            seen = place(handle, picture)
            assert abs(seen - share) <= 1.5, (key, seen, share)


def value(handle: Any) -> int:
    return int(handle.get_attribute("aria-valuenow"))


def place(handle: Any, picture: Any) -> float:
    """Where the handle is drawn, in percent of the picture."""
    line, box = handle.bounding_box(), picture.bounding_box()
    return float(100 * (line["x"] + line["width"] / 2 - box["x"]) / box["width"])
