"""What a second click on the same picture costs, against the first, with SAM ViT-B.

    python -m benchmarks.segment_click

The weights are random: the time does not depend on them. Both clicks run in one process, so the
ratio is within one run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

GOAL = 50.0


def main() -> int:
    """Print seconds and the ratio; 1 where the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--clicks", type=int, default=9)
    clicks = parser.parse_args().clicks
    with tempfile.TemporaryDirectory() as folder:
        _random_sam(Path(folder) / "sam_vit_b_random.safetensors")
        os.environ["VISION_HUB_CHECKPOINTS"] = folder
        return _measure(clicks)


def _random_sam(path: Path) -> None:
    from safetensors.torch import save_file
    from segment_anything import sam_model_registry

    save_file(sam_model_registry["vit_b"]().state_dict(), path)


def _measure(clicks: int) -> int:
    from core import segment, weights

    key = next(c.key for c in weights.of_task("segment") if c.tier == "own")
    picture = np.random.default_rng(0).integers(0, 256, (768, 1024, 3), dtype=np.uint8)
    grey = np.full((768, 1024, 3), 127, np.uint8)
    segment.predict(grey, [[10, 10, 1]], checkpoint=key)  # loads the model; another picture
    times = []
    for i in range(clicks + 1):
        started = time.perf_counter()
        result = segment.predict(picture, [[(100 + 50 * i) % 1024, 300, 1]], checkpoint=key)
        times.append(time.perf_counter() - started)
        wanted = "hit" if i else "miss"
        if result.info.cache["embedding"] != wanted:
            raise RuntimeError(f"click {i}: the embedding was a {result.info.cache['embedding']}")
    later = statistics.median(times[1:])
    ratio = times[0] / later
    print(f"SAM ViT-B, random weights, 768 x 1024, load average {os.getloadavg()[0]:.1f}")
    print(f"first click   {times[0]:8.3f} s (encoder pass)")
    print(f"later clicks  {later:8.3f} s (median of {clicks}, no encoder pass)")
    print(f"ratio         {ratio:8.1f}   (goal {GOAL:g})")
    return int(ratio < GOAL)


if __name__ == "__main__":
    sys.exit(main())
