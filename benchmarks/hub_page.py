"""The served app in a headless Chromium, for benchmarks that read the time from the page itself."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LIMIT_MS = 120_000  # of one wait


@contextmanager
def opened() -> Iterator[Any]:
    """The page of an app served on this machine, 1440 x 900 (playwright.sync_api.Page)."""
    os.environ.setdefault("VISION_HUB_OFFLINE", "1")
    from playwright.sync_api import sync_playwright

    import app

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with app.served() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(LIMIT_MS)
        page.goto(url)
        yield page
        browser.close()
