"""What a click on Segment costs, against the usual demo and against the bare library.

    python -m benchmarks.segment

SAM ViT-B with random weights: the time does not depend on them. The usual demo encodes the picture
at every click; the bare library decodes on an embedding that it keeps. All run in one process and
by turns, so the ratios are within one run. Exits with 1 where a goal is missed.
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

import numpy as np

DEMO_GOAL = 100.0  # the usual demo's click over ours, at least
BARE_GOAL = 1.15  # our click over the bare library's, at most
SIZE = (768, 1024)


def main() -> int:
    """Print seconds and ratios; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clicks", type=int, default=15)
    parser.add_argument("--encodings", type=int, default=2, help="clicks of the usual demo")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _random_sam(Path(folder) / "sam_vit_b_random.safetensors")
        os.environ["VISION_HUB_CHECKPOINTS"] = folder
        os.environ.setdefault("VISION_HUB_PRECISION", "fp32")  # as the bare library has it
        return _report(*_measure(options.clicks, options.encodings))


def _random_sam(path: Path) -> None:
    from safetensors.torch import save_file
    from segment_anything import sam_model_registry

    save_file(sam_model_registry["vit_b"]().state_dict(), path)


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

    from core import images, runtime, segment, weights

    key = next(c.key for c in weights.of_task("segment") if c.tier == "own")
    rgb = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    picture = images.picture(rgb)
    segment.embed(picture, key)
    with runtime.run("segment", key, segment._build) as run:
        predictor = SamPredictor(run.lease.built.module)

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
            for warm in (bare, ours):  # what runs first pays for memory
                _seconds(warm, encodings)
            numbers = range(encodings + 1, encodings + 1 + clicks)
            pairs = [(_seconds(ours, number), _seconds(bare, number)) for number in numbers]
    return [mine for mine, _ in pairs], [theirs for _, theirs in pairs], usual


def _report(ours: list[float], bare: list[float], usual: list[float]) -> int:
    click = statistics.median(ours)
    against_demo = statistics.median(usual) / click
    against_bare = statistics.median(mine / theirs for mine, theirs in zip(ours, bare, strict=True))
    print(f"SAM ViT-B, random weights, {SIZE[0]} x {SIZE[1]}, load {os.getloadavg()[0]:.1f}")
    print(f"the usual demo's click       {statistics.median(usual):8.3f} s (encodes each time)")
    print(f"the bare library's click     {statistics.median(bare):8.3f} s (embedding kept)")
    print(f"our second and later clicks  {click:8.3f} s (median of {len(ours)})")
    print(f"usual demo / ours   {against_demo:8.1f}   (goal: at least {DEMO_GOAL:g})")
    print(f"ours / bare library {against_bare:8.3f}   (goal: at most {BARE_GOAL:g})")
    return int(against_demo < DEMO_GOAL or against_bare > BARE_GOAL)


if __name__ == "__main__":
    sys.exit(main())
