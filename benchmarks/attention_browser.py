"""From a click on a patch, or a move of layer, head or temperature, to the painted attention.

    python -m benchmarks.attention_browser [--moves 30] [--small]

Serves the app on this machine, opens *Who looks at whom* on Classify in a headless Chromium, and
reads the time from the page itself: from the event to the end of the frame in which all maps, heads
and distances have been drawn. It measures the starter and a network of ViT-B/16's size, whose
weights are random, since time does not depend on them; `--small` is a quick run with ViT-Ti's.
Meanwhile the page must ask nothing of the server, and no module may run a forward pass; the program
fails if one does. Run it on an idle machine. Needs Chromium (the `chromium` package, or
CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import hub_page, networks
from core.sources import resolver
from demos.shell import picker

CLICK_MS, MOVE_MS = 150.0, 50.0
_VIEW = "#lesson-attention .at"
# The facts tell how many heads there are; the view has as many when it has drawn them.
_DRAWN = f"""() => {{
  const facts = document.querySelector('#lesson-attention-facts').innerText;
  const heads = /14 x 14 patches, \\d+ layers of (\\d+) heads/.exec(facts);
  return heads && document.querySelector('{_VIEW} .at-heads').children.length === Number(heads[1]);
}}"""
# What each kind of move does with a number that is new every time.
ACTS = {
    "patch click to all maps": """
      const canvas = root.querySelector('.at-picture'), box = canvas.getBoundingClientRect();
      const place = { clientX: box.left + box.width * ((i * .37 + .1) % 1),
                      clientY: box.top + box.height * ((i * .53 + .1) % 1), bubbles: true };
      canvas.dispatchEvent(new MouseEvent('click', place));""",
    "layer to paint": """
      const slider = root.querySelector('.at-layer');
      slider.value = String(1 + i % Number(slider.max));
      slider.dispatchEvent(new Event('input', { bubbles: true }));""",
    "head to paint": """
      const list = root.querySelector('.at-head');
      list.selectedIndex = i % list.options.length;
      list.dispatchEvent(new Event('change', { bubbles: true }));""",
    "temperature to paint": """
      const slider = root.querySelector('.at-temp');
      slider.value = String(-.9 + .06 * (i % 40));
      slider.dispatchEvent(new Event('input', { bubbles: true }));""",
}


def by_page(moves: int, folder: Path, name: str) -> list[hub_page.Timed]:
    """The times on the served page, with the starter and with the network `name` in `folder`."""
    with hub_page.opened(folder) as page:
        hub_page.open_lesson(page, "Classify", "attention", "at")
        found = [*measure(page, "starter", moves)]
        _choose_own(page)
        found += measure(page, name, moves)
        page.locator(f"{_VIEW} .at-all > summary").click()
        return [*found, *measure(page, f"{name} with its whole matrix", moves)]


def _choose_own(page: Any) -> None:
    """The only checkpoint of the owner's folder, when the lesson has drawn its attention."""
    own = next(c for c in resolver.of_task("classify") if c.tier == "own")
    label = next(name for name, key in picker.choices("classify") if key == own.key)
    page.locator("#classify-checkpoint input").click()
    page.get_by_role("option", name=label, exact=True).click()
    page.wait_for_function(_DRAWN)


def measure(page: Any, network: str, moves: int) -> Iterator[hub_page.Timed]:
    """The times of each kind of move.

    Raises:
        RuntimeError: the page asked the server for something, or a forward pass ran.
    """
    with hub_page.watched(page) as asked:
        for name, act in ACTS.items():
            script = f"""i => ({hub_page.PAINTED})(() => {{
              const root = document.querySelector('{_VIEW}');
              delete root.dataset.drawn;
              {act}
              if (!root.dataset.drawn) throw new Error('nothing was drawn');
            }})"""
            times = []
            for i in range(1, moves + 2):
                times.append(float(page.evaluate(script, i)))
                page.wait_for_timeout(50)
            goal = CLICK_MS if "click" in name else MOVE_MS
            # The first one warms the browser up.
            yield hub_page.Timed(f"attention, {network}: {name}", times[1:], goal)
    if asked.requests or asked.forwards:
        raise RuntimeError(f"{asked.forwards} forward passes, and requests: {asked.requests}")


def main() -> int:
    """Print the times; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--moves", type=int, default=30)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        networks.write(Path(folder), small=asked.small, tasks=("classify",))
        rows = by_page(asked.moves, Path(folder), "ViT-Ti/16" if asked.small else "ViT-B/16")
    print("no request, no forward pass")
    return hub_page.report(rows)


if __name__ == "__main__":
    sys.exit(main())
