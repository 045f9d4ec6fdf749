"""The cost of reading a picture's trunk feature maps second, compared with first.

    python -m benchmarks.trunk [--rounds 5]

Two readers: the class layer at every position of the last map (224 px), and the classify starter,
whose head reads the maps of its own view (352 px) and the mean vector of the trunk's (224 px).
First means an empty output store; second means that another reader, the head of another tab for
example, has read the maps of that picture before. Both take turns on the same decoded pictures in
one run, so that other work on the machine affects both. Exits with 1 if the second costs more than
the goal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ("chelsea.jpg", "coffee.jpg", "rocket.jpg", "temple.jpg")
GOAL = 0.30
STARTER = "classify-starter"


def main() -> int:
    """Print a row for each reader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    os.environ["VISION_HUB_OFFLINE"] = "1"
    print(f"{len(PICTURES)} pictures, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    print(f"{'reader':22} {'first':>9} {'second':>9} {'second / first':>15}   goal {GOAL:.2f}")
    worst = 0.0
    for name, (reader, views) in readers().items():
        first, second = measure(reader, views, rounds)
        worst = max(worst, second / first)
        print(f"{name:22} {first * 1e3:6.1f} ms {second * 1e3:6.1f} ms {second / first:15.3f}")
    return int(worst > GOAL)


def readers() -> dict[str, tuple[Callable[[np.ndarray], str], list[Any]]]:
    """Each reader by its name, and the views that it reads."""
    from core.nets import heads, trunk
    from core.sources import state_dicts

    file = ROOT / "weights" / f"{STARTER}.safetensors"
    view = heads.view_of(state_dicts.read_header(file)[1], file.name)
    assert view is not None
    return {
        f"class layer, {trunk.CLASSES.size} px": (dense, [trunk.CLASSES]),
        f"{STARTER}, {view.size} px": (starter, [view, trunk.CLASSES]),
    }


def measure(
    reader: Callable[[np.ndarray], str], views: list[Any], rounds: int
) -> tuple[float, float]:
    """Median seconds per picture of a reader, first and second."""
    from core import images
    from core.nets import trunk
    from core.serving import runtime

    times: dict[str, list[float]] = {"miss": [], "hit": []}
    pictures = [np.asarray(images.decode(ROOT / "examples" / name)) for name in PICTURES]
    reader(pictures[0])  # the models are in memory from here on
    for _ in range(rounds):
        for rgb in pictures:
            for before in (False, True):
                runtime.outputs().clear()
                for view in views if before else ():
                    trunk.read(rgb, view)  # another reader, earlier
                started = time.perf_counter()
                state = reader(rgb)
                times[state].append(time.perf_counter() - started)
    assert len(times["miss"]) == len(times["hit"])
    return statistics.median(times["miss"]), statistics.median(times["hit"])


def starter(rgb: np.ndarray) -> str:
    """The starter's classes; whether the maps were cached."""
    from core import classify

    return classify.predict(rgb, STARTER).info.cache["features"]


def dense(rgb: np.ndarray) -> str:
    """Classes of every position of the map (r, r, 1000); whether the maps were cached."""
    from core.nets import trunk
    from core.serving import runtime

    maps, info = trunk.read(rgb, trunk.CLASSES)
    with runtime.run("classify", trunk.KEY, trunk.build) as run:
        layer: Any = run.lease.built.module.classifier
        rows = maps.head[0].flatten(1).T  # (r * r, 1280)
        classes = runtime.forward(lambda: layer(rows.to(next(layer.parameters()).device)))
    assert classes.shape == (maps.head.shape[2] * maps.head.shape[3], 1000)
    return info.cache["features"]


if __name__ == "__main__":
    sys.exit(main())
