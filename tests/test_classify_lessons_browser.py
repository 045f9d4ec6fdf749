"""The views of Classify's lessons in a browser: one server and one page for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from core.lessons import logits, positions, why_this_class
from tests.browser import chromium, page_of
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, hub

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    """Classify with the first example and its result."""
    with hub() as url, chromium() as browser, page_of(browser) as page:
        page.set_default_timeout(1000 * PATIENCE)
        page.goto(url)
        page.locator("#classify-said [data-turn='1']:not([data-working])").wait_for(
            state="attached"
        )
        yield page


@contextmanager
def opened(page: Any, key: str, view: str) -> Iterator[Any]:
    """The view of a lesson, which is drawn; no request follows while it is used."""
    fold = page.locator(f"#lesson-{key} > button")
    fold.first.click()
    found = page.locator(f"#lesson-{key} .{view}")
    page.wait_for_function(f"document.querySelector('#lesson-{key} .{view}')?.dataset.drawn")
    with silent(page):
        yield found
    fold.first.click()  # closed, it does not run with the next test


@contextmanager
def silent(page: Any) -> Iterator[None]:
    """Nothing is asked of the server meanwhile."""
    asked: list[str] = []

    def note(request: Any) -> None:
        asked.append(request.url)

    page.on("request", note)
    yield
    page.remove_listener("request", note)
    assert [one for one in asked if "/queue/join" in one or "/file=" in one] == []


def drawn(view: Any) -> str:
    return str(view.get_attribute("data-drawn"))


def colour_at(canvas: Any, x: float, y: float) -> list[int]:
    """[r, g, b] of a canvas at shares of its width and height."""
    return list(
        canvas.evaluate(
            """(one, [x, y]) => [...one.getContext("2d").getImageData(
                Math.floor(x * one.width), Math.floor(y * one.height), 1, 1).data.slice(0, 3)]""",
            [x, y],
        )
    )


def test_positions_follow_clicks_keys_and_sliders(page):
    expected = positions.look()
    rows, columns = expected.grid
    with opened(page, "positions", "po") as view:
        size = view.locator(".po-picture").bounding_box()
        place = {"x": 2.5 * size["width"] / columns, "y": 1.5 * size["height"] / rows}
        view.locator(".po-picture").click(position=place)
        assert drawn(view).split()[0] == str(columns + 2)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowLeft")
        assert drawn(view).split()[0] == str(2 * columns + 1)
        said = view.locator(".po-said").inner_text().replace("\N{MINUS SIGN}", "-")
        mine = expected.of(2, 1).ravel()
        rest = np.delete(mine, 2 * columns + 1)
        assert (
            f"({rest.max():.2f})" in said
            and f"everywhere {rest.mean():.2f}".replace("-0.00", "0.00") in said
        )
        light, dark = (
            sum(colour_at(view.locator(".po-map"), (i % columns + 0.5) / columns,
                          (i // columns + 0.5) / rows))
            for i in (int(np.argmax(np.where(mine < 1, mine, -2))), int(mine.argmin()))
        )  # fmt: skip
        assert light > dark
        view.locator(".po-row").fill("1")
        view.locator(".po-column").fill(str(columns))
        view.get_by_label("A colour scale for each map").check()
        assert drawn(view) == f"{columns - 1} true"
        sheet = view.locator(".po-sheet").bounding_box()
        view.locator(".po-sheet").click(position={"x": sheet["width"] / 2, "y": 2})
        assert drawn(view).split()[0] == str(columns // 2)


def test_the_loss_follows_class_temperature_and_type(page):
    expected = logits.look(EXAMPLES / "chelsea.jpg")
    best = int(expected.values.argmax())
    with opened(page, "logits", "lo") as view:
        numbers = view.locator(".lo-said")
        assert f"cross-entropy is {expected.cross_entropy(expected.labels[best]):.3f}" in (
            numbers.inner_text()
        )
        view.locator(".lo-true").fill("teapot")
        view.locator(".lo-true").press("Enter")
        view.locator(".lo-temp").fill("0.6")  # its power of ten
        temperature = float(drawn(view).split()[0])
        assert temperature == pytest.approx(10**0.6, abs=0.01)
        loss = expected.cross_entropy("teapot", 10**0.6)
        assert f"cross-entropy is {loss:.3f}" in numbers.inner_text()
        twice = view.locator(".lo-twice-body").inner_text()
        assert f"{expected.softmax_twice('teapot'):.3f}" in twice and "5.909" in twice
        assert "Both agree" in view.locator(".lo-naive-said").inner_text()
        view.locator(".lo-add").fill("120")
        assert "infinite" in view.locator(".lo-naive-body").inner_text()
        assert "NaN" in view.locator(".lo-naive-body").inner_text()
        view.locator("[data-type=float16]").click()
        view.locator(".lo-body button").first.focus()
        page.keyboard.press("Enter")
        assert drawn(view).split()[1:] == [str(best), "120", "float16"]
        view.locator(".lo-true").fill("no such thing")
        view.locator(".lo-true").press("Enter")
        assert "knows no class" in view.locator(".lo-unknown").inner_text()


def test_another_class_brings_other_maps_and_the_rest_needs_no_request(page):
    expected = why_this_class.explain(EXAMPLES / "chelsea.jpg")
    second = expected.best[1][0]
    state = "document.querySelector('#lesson-why-this-class .wy').dataset.drawn"
    fold = page.locator("#lesson-why-this-class > button").first
    fold.click()
    page.wait_for_function(f"{state}?.endsWith('true|{expected.label}')")
    page.locator("#lesson-why-this-class .wy-classes button").nth(1).click()
    page.wait_for_function(f"{state}?.endsWith('true|{second}')")
    view = page.locator("#lesson-why-this-class .wy")
    with silent(page):
        view.locator(".wy-grid button").nth(2).focus()
        page.keyboard.press("Enter")
        view.locator(".wy-opacity").fill("1")
        view.locator(".wy-step").fill("4")
        assert drawn(view) == f"2|1|false|4|true|{second}"
        found = why_this_class.explain(EXAMPLES / "chelsea.jpg", label=second).maps[2]
        rows, columns = found.values.shape
        bright, dark = (
            sum(colour_at(view.locator(".wy-grid canvas").nth(2), (i % columns + 0.5) / columns,
                          (i // columns + 0.5) / rows))
            for i in (int(found.values.argmax()), int(found.values.argmin()))
        )  # fmt: skip
        assert bright > 600 and dark < 120  # the ends of the scale, without the picture
        assert view.locator(".wy-rows tr").count() == len(expected.maps) + 1
        assert "cells hidden" in view.locator(".wy-hidden-said").inner_text()
    fold.click()
