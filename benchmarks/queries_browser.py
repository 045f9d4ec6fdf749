"""From a move of the layer slider to the painted boxes and attention, on Detect with the starter.

    python -m benchmarks.queries_browser [--moves 30]

Serves the app on this machine, opens *What each query looks at* in a headless Chromium, moves the
slider, and reads the time from the page itself: from the slider's event to the end of the frame in
which all has been drawn. The boxes then glide to their places, which is not counted. Run it on an
idle machine. Needs Chromium (the `chromium` package, or CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from benchmarks import hub_page

GOAL_MS = 50.0
MOVE = f"""stage => ({hub_page.PAINTED})(() => {{
  const slider = document.querySelector('#lesson-queries .qy-stage');
  const root = document.querySelector('#lesson-queries .qy');
  slider.value = String(stage);
  slider.dispatchEvent(new Event('input', {{ bubbles: true }}));
  if (JSON.parse(root.dataset.drawn).stage !== stage) throw new Error('not drawn');
}})"""


def by_page(moves: int) -> list[float]:
    """Milliseconds of each move on the served page."""
    with hub_page.opened() as page:
        return measure(page, moves)


def measure(page: Any, moves: int) -> list[float]:
    """Milliseconds of each move between the layers of the first example."""
    view = hub_page.open_lesson(page, "Detect", "queries", "qy")
    stages = int(view.locator(".qy-stage").get_attribute("max")) + 1
    times = []
    for i in range(moves + 1):
        times.append(float(page.evaluate(MOVE, i % stages)))
        page.wait_for_timeout(400)  # until the boxes have come to rest
    return times[1:]  # the first one warms the browser up


def main() -> int:
    """Print the times; return 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--moves", type=int, default=30)
    times = by_page(parser.parse_args().moves)
    return hub_page.report([hub_page.Timed("layer slider of a query to paint", times, GOAL_MS)])


if __name__ == "__main__":
    sys.exit(main())
