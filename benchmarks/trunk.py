"""The cost of reading a picture's trunk feature maps second, compared with first.

    python -m benchmarks.trunk [--rounds 5]

The reader applies the class layer to every position of the last map. First means an empty output
store; second means that another reader has read the maps of that picture before. Both take turns on
the same decoded pictures in one run, so that other work on the machine affects both. Exits with 1
if the second costs more than the goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("chelsea.jpg", "coffee.jpg", "rocket.jpg", "temple.jpg")
SIZES = (224, 352)
GOAL = 0.30


def main() -> int:
    """Print a row for each input size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["VISION_HUB_OFFLINE"] = "1"
    print(f"{len(PICTURES)} pictures, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'input':>6} {'first':>9} {'second':>9} {'second / first':>15}   goal {GOAL:.2f}")
    worst = 0.0
    for size in SIZES:
        first, second = measure(size, rounds)
        worst = max(worst, second / first)
        print(f"{size:6} {first * 1e3:6.1f} ms {second * 1e3:6.1f} ms {second / first:15.3f}")
    return int(worst > GOAL)


def measure(size: int, rounds: int) -> tuple[float, float]:
    """Median seconds per picture of the dense reader, first and second."""
    from core import images
    from core.nets import trunk
    from core.serving import runtime

    view = trunk.View(size)
    times: dict[str, list[float]] = {"miss": [], "hit": []}
    pictures = [np.asarray(images.decode(ROOT / "examples" / name)) for name in PICTURES]
    dense(pictures[0], view)  # the model is in memory from here on
    for _ in range(rounds):
        for rgb in pictures:
            runtime.outputs().clear()
            for before in (False, True):
                if before:
                    runtime.outputs().clear()
                    trunk.read(rgb, view)  # another reader, earlier
                started = time.perf_counter()
                state = dense(rgb, view)
                times[state].append(time.perf_counter() - started)
    assert len(times["miss"]) == len(times["hit"])
    return statistics.median(times["miss"]), statistics.median(times["hit"])


def dense(rgb: np.ndarray, view: object) -> str:
    """Classes of every position of the map (r, r, 1000); whether the maps were cached."""
    from core.nets import trunk
    from core.serving import runtime

    assert isinstance(view, trunk.View)
    maps, info = trunk.read(rgb, view)
    with runtime.run("classify", trunk.KEY, trunk.build) as run:
        layer: Any = run.lease.built.module.classifier
        rows = maps.head[0].flatten(1).T  # (r * r, 1280)
        classes = runtime.forward(lambda: layer(rows.to(next(layer.parameters()).device)))
    assert classes.shape == (maps.head.shape[2] * maps.head.shape[3], 1000)
    return info.cache["features"]


if __name__ == "__main__":
    sys.exit(main())
