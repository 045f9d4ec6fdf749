"""A headless Chromium for the browser tests.

Use `chromium()` in a module-scoped fixture: Playwright's sync API keeps an event loop in the
thread that it runs in, so it must not outlive the module that needs it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.conftest import PATIENCE

DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_windows: dict[tuple[Any, ...], tuple[Any, list[str]]] = {}  # those of `page_again`


def executable() -> str | None:
    """Path of the browser: $CHROMIUM, or what the system has; None where there is none.

    The headless shell is Chromium without the windows of a desktop, and takes a quarter less of the
    processor for the same pages.
    """
    asked = os.environ.get("CHROMIUM")
    if asked:
        return shutil.which(asked)
    names = (
        "chromium-headless-shell",
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    )
    return next((path for name in names if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser (playwright.sync_api.Browser); skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = executable()
    if path is None:
        reason = (
            "no Chromium here: install the package chromium-headless-shell, or chromium, or set "
            "CHROMIUM to its path"
        )
        # Continuous integration sets this, so that a missing browser hides no fault there.
        if os.environ.get("VISION_HUB_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            for key in [key for key in _windows if key[0] is browser]:
                del _windows[key]
            browser.close()


@contextmanager
def page_of(
    browser: Any,
    *,
    viewport: dict[str, int] | None = None,
    scale: float = 1,
    touch: bool = False,
    dark: bool = False,
) -> Iterator[Any]:
    """A page in a fresh context; fails at the end if the page logged an error.

    Args:
        viewport: CSS pixels, `DESKTOP` unless told.
        scale: device pixels per CSS pixel.
        touch: a touch screen, with the media query that tells of it.
        dark: the colour scheme that the page is asked for.
    """
    context = browser.new_context(
        viewport=viewport or DESKTOP,
        device_scale_factor=scale,
        has_touch=touch,
        is_mobile=touch,
        color_scheme="dark" if dark else "light",
    )
    try:
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        errors = watch_errors(page)
        try:
            yield page
        except BaseException:
            print("the page logged:", errors)  # often why the test failed
            raise
        assert not errors, errors
    finally:
        context.close()


@contextmanager
def page_again(
    browser: Any, *, viewport: dict[str, int] | None = None, touch: bool = False
) -> Iterator[Any]:
    """As `page_of`, in a window that later tests of the module use again, one at a time.

    A new window, and the first run of the page's scripts in it, cost several times what loading the
    page once more does. Nothing that the page keeps survives the test: scripts, cookies, storage
    and permissions end with it. Listeners stay, so they must touch only objects of their own test;
    for routes, or scripts of the context, use `page_of`.
    """
    key = (browser, tuple((viewport or DESKTOP).items()), touch)
    if key not in _windows:
        context = browser.new_context(
            viewport=viewport or DESKTOP, has_touch=touch, is_mobile=touch, color_scheme="light"
        )
        page = context.new_page()
        _windows[key] = (page, watch_errors(page))
    page, errors = _windows.pop(key)
    errors.clear()
    page.context.set_default_timeout(1000 * PATIENCE)
    page.set_default_timeout(1000 * PATIENCE)
    try:
        yield page
        assert not errors, errors
        _leave(page)
    except BaseException:
        print("the page logged:", errors)  # often why the test failed
        page.context.close()
        raise
    _windows[key] = (page, errors)


def _leave(page: Any) -> None:
    """Take away what the test's page has stored or was allowed, and the page itself."""
    page.evaluate("localStorage.clear(); sessionStorage.clear()")
    page.context.clear_cookies()
    page.context.clear_permissions()
    page.goto("about:blank")


def steady(page: Any, selector: str) -> None:
    """Wait until an element has the same place and size at two looks, a fifth of a second apart."""
    page.wait_for_function(
        """selector => {
            const box = document.querySelector(selector).getBoundingClientRect();
            const [now, before] = [JSON.stringify(box), window.steadyBefore];
            window.steadyBefore = now;
            return now === before;
        }""",
        arg=selector,
        polling=200,
    )


def watch_errors(page: Any) -> list[str]:
    """A list that fills with the console errors and uncaught exceptions of the page."""
    errors: list[str] = []
    ended: list[str] = []  # uploads
    left: list[str] = []  # streams of answers that ended because the page was left

    def heard(message: Any) -> None:
        # Gradio ends its stream when a page is left, and reports its own doing as an error: once
        # for the stream, and once for each answer that was still to come.
        if "AbortError: signal is aborted" in message.text and ".close (" in message.text:
            left.append(message.text)
            return
        if left and "Connection errored out" in message.text:
            return
        # Gradio asks how an upload goes on; a short one has ended by then. The browser reports
        # that, and then Gradio once more.
        late = "404" in message.text and "/upload_progress?" in str(message.location)
        if late:
            ended.append(str(message.location))
        elif message.type == "error" and message.text == "Response" and ended:
            late = bool(ended.pop())
        if message.type == "error" and not late:
            errors.append(f"{message.text} ({message.location.get('url', '')})")

    page.on("console", heard)
    page.on("domcontentloaded", lambda _: left.clear())  # the next page has streams of its own
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def tab(page: Any, name: str) -> None:
    """Open a tab of the app by its title."""
    page.get_by_role("tab", name=name, exact=True).click()


def without_picture(page: Any) -> None:
    """Remove the page's picture, and close its messages, for a test that finds the page in use."""
    # At once: some close by themselves meanwhile, and a click would wait for the next one.
    page.evaluate("document.querySelectorAll('.toast-close').forEach((toast) => toast.click())")
    page.wait_for_function("!document.querySelector('.toast-body')")
    remove = page.locator('#picture [aria-label="Remove Image"]')
    if remove.count():
        remove.click()
    page.wait_for_function("document.body.dataset.picture === 'none'")
