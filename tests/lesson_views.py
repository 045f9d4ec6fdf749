"""What browser tests of Classify's lessons do with the page: open a view, see what it has drawn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from tests.accessible import faults
from tests.conftest import PATIENCE


def begun(page: Any, url: str) -> Any:
    """The page of the app, when Classify has answered the first example."""
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(url)
    page.locator("#classify-said [data-turn='1']:not([data-working])").wait_for(state="attached")
    return page


@contextmanager
def opened(page: Any, key: str, view: str, again: bool = False) -> Iterator[Any]:
    """The view of a lesson, which is drawn; no request follows while it is used, and axe finds no
    serious fault in what it shows then.

    Opened `again` in one module it fetches while it still shows what it had drawn before.
    """
    fold = page.locator(f"#lesson-{key} > button")
    fold.first.click()
    found = page.locator(f"#lesson-{key} .{view}")
    page.wait_for_function(f"document.querySelector('#lesson-{key} .{view}')?.dataset.drawn")
    with nullcontext() if again else silent(page):
        yield found
    found_faults = faults(page, f"#lesson-{key}")
    assert not found_faults, found_faults
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
