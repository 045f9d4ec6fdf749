"""The cost of a click on Segment, compared with the usual demo and the bare library.

    python -m benchmarks.segment [--write]

SAM ViT-B with random weights: the time does not depend on them. The usual demo encodes the picture
at every click; the bare library decodes on an embedding that it keeps. Both use the library's
layers, the app its faster ones. All run in turns in one process, so the ratios are within one run.
Then a headless Chromium clicks on the page, with the starter. Exits with 1 if a goal is missed;
`--write` puts the table into docs/performance.md. Run it on an idle machine. Needs Chromium (the
`chromium` package, or CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.goals import Goal, Section, machine
from benchmarks.segment_browser import GOAL_MS, by_page
from benchmarks.serve import tell
from core.settings import get_settings

DEMO_GOAL = 100.0  # the usual demo's click over ours, at least
BARE_GOAL = 1.15  # our click over the bare library's, at most
SIZE = (768, 1024)


def main() -> int:
    """Print seconds and ratios; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clicks", type=int, default=15)
    parser.add_argument("--encodings", type=int, default=2, help="clicks of the usual demo")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    options = parser.parse_args()
    before = machine()
    pages = by_page(options.clicks)  # first, while the process is small
    with tempfile.TemporaryDirectory() as folder:
        _random_sam(Path(folder) / "sam_vit_b_random.safetensors")
        os.environ["VISION_HUB_CHECKPOINTS"] = folder
        os.environ.setdefault("VISION_HUB_PRECISION", "fp32")  # as in the bare library
        get_settings.cache_clear()
        section = _section(*_measure(options.clicks, options.encodings), pages)
    section.say(f"`python -m benchmarks.segment`, on {before} at the start.")
    return tell(section, options.write)


def _random_sam(path: Path) -> None:
    from safetensors.torch import save_file
    from segment_anything import sam_model_registry

    save_file(sam_model_registry["vit_b"]().state_dict(), path)


def _stock(path: Path) -> Any:
    """The library's network from the same file, with its own layers."""
    from safetensors.torch import load_file
    from segment_anything import sam_model_registry

    sam = sam_model_registry["vit_b"]()
    sam.load_state_dict(load_file(path))
    return sam.eval()


def _seconds(click: Callable[[int], None], number: int) -> float:
    started = time.perf_counter()
    click(_across(number))
    return time.perf_counter() - started


def _across(number: int) -> int:
    """Across the picture, never the same place twice."""
    return 20 + number * 977 % 1000


def _measure(clicks: int, encodings: int) -> tuple[list[float], list[float], list[float]]:
    """Seconds of each click: ours from the second on, the bare library's, the usual demo's."""
    import torch
    from segment_anything import SamPredictor

    from core import images, segment
    from core.sources import resolver

    checkpoint = next(c for c in resolver.of_task("segment") if c.tier == "own")
    key = checkpoint.key
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    picture = images.picture(rgb)
    segment.embed(picture, key)
    predictor = SamPredictor(_stock(Path(checkpoint.source)))

    def bare(x: int) -> None:
        predictor.predict(np.array([[x, 300]]), np.ones(1))

    def ours(x: int) -> None:
        found = segment.predict(picture, [[x, 300, 1]], checkpoint=key)
        if found.info.cache["embedding"] != "hit" or found.info.cache["decode"] != "miss":
            raise RuntimeError(f"this click was to be decoded and no more: {found.info.cache}")

    def demo(x: int) -> None:
        predictor.set_image(rgb)
        bare(x)

    with torch.inference_mode():
        usual = [_seconds(demo, number) for number in range(encodings)]
        for warm in (bare, ours):  # the first run pays for memory allocation
            _seconds(warm, encodings)
        numbers = range(encodings + 1, encodings + 1 + clicks)
        pairs = [(_seconds(ours, number), _seconds(bare, number)) for number in numbers]
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs], usual


def _section(
    ours: list[float], bare: list[float], usual: list[float], pages: dict[str, list[float]]
) -> Section:
    section = Section("segment")
    section.say(
        f"SAM ViT-B with random weights, a picture of {SIZE[1]} x {SIZE[0]}; the usual demo "
        "encodes the picture at every click, while the bare library and the app keep its "
        "embedding. The page is Segment with the starter in a headless Chromium, timed from the "
        "button going up to the frame with the mask; if the user aims first, the preview has "
        "already decoded that point."
    )
    click = statistics.median(ours)
    against_bare = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    section.check(
        Goal("usual demo's click over ours", statistics.median(usual) / click, DEMO_GOAL),
        Goal("our click over the bare library's", against_bare, BARE_GOAL, False),
        Goal("usual demo's click", statistics.median(usual), unit=" s"),
        Goal("our click, median", 1000 * click, unit=" ms"),
        *(
            Goal(f"click to painted mask, {how}", statistics.median(times), GOAL_MS, False, " ms")
            for how, times in pages.items()
        ),
    )
    return section


if __name__ == "__main__":
    sys.exit(main())
