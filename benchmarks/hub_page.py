"""The served app in a headless Chromium, for benchmarks that read the time from the page itself."""

from __future__ import annotations

import os
import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LIMIT_MS = 120_000  # of one wait
# Milliseconds from an act to the end of the frame that shows what it drew: a message that is sent
# in an animation frame comes after that frame.
PAINTED = """(act) => new Promise((done) => {
  const started = performance.now();
  act();
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => done(performance.now() - started);
    port2.postMessage(null);
  });
})"""


@dataclass(frozen=True, slots=True)
class Timed:
    """Milliseconds of one kind of move, and the goal for their median."""

    name: str
    times: Sequence[float]
    goal: float

    @property
    def median(self) -> float:
        """The median, in milliseconds."""
        return statistics.median(self.times)

    @property
    def row(self) -> str:
        """A row of a table in docs/performance.md: what was measured, its value and the goal."""
        met = "met" if self.median <= self.goal else "missed"
        return f"| {self.name} | {self.median:.0f} ms | ≤ {self.goal:g} ms | {met} |"

    def __str__(self) -> str:
        return (
            f"{self.name}: median {self.median:.0f} ms (goal {self.goal:g}), {min(self.times):.0f} "
            f"to {max(self.times):.0f} ms of {len(self.times)}"
        )


@dataclass(slots=True)
class Asked:
    """What the page asked of the server meanwhile, and how many modules ran a forward pass."""

    requests: list[str] = field(default_factory=list)
    forwards: int = 0


@contextmanager
def opened(checkpoints: Path | None = None) -> Iterator[Any]:
    """The page of an app served on this machine, 1440 x 900 (playwright.sync_api.Page).

    Args:
        checkpoints: a folder of weight files, as VISION_HUB_CHECKPOINTS names it.
    """
    os.environ.setdefault("VISION_HUB_OFFLINE", "1")
    if checkpoints is not None:
        os.environ["VISION_HUB_CHECKPOINTS"] = str(checkpoints)
    from playwright.sync_api import sync_playwright

    import app
    from core.settings import get_settings

    get_settings.cache_clear()

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


def open_lesson(page: Any, tab: str, key: str, view: str) -> Any:
    """The view of a lesson on the open page, when it has drawn; its class is `view`."""
    page.get_by_role("tab", name=tab, exact=True).click()
    page.locator(f"#lesson-{key} > button").first.click()
    page.wait_for_function(f"document.querySelector('#lesson-{key} .{view}')?.dataset.drawn")
    return page.locator(f"#lesson-{key} .{view}")


@contextmanager
def watched(page: Any) -> Iterator[Asked]:
    """Count requests of the page, and forward passes of the app, which runs in this process."""
    from torch.nn.modules.module import register_module_forward_pre_hook

    found = Asked()

    def note(request: Any) -> None:
        found.requests.append(request.url)

    def ran(*_: Any) -> None:
        found.forwards += 1

    page.on("request", note)
    hook = register_module_forward_pre_hook(ran)
    try:
        yield found
    finally:
        hook.remove()
        page.remove_listener("request", note)


def report(rows: Sequence[Timed]) -> int:
    """Print the times, and rows for docs/performance.md; return 1 if a goal is missed."""
    print(f"cores {os.cpu_count()}, load average {os.getloadavg()[0]:.1f}")
    for one in rows:
        print(one)
    print("\n| measured | value | goal |  |\n|---|---|---|---|")
    for one in rows:
        print(one.row)
    return int(any(one.median > one.goal for one in rows))
