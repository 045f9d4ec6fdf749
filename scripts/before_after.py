"""Remake docs/images/before-after-*.jpg: what the restore starters do to photographs.

    python -m scripts.before_after

People, lettering, nature and low light, each degraded with a seed, so that the original is known
and the gain can be printed under the picture. None was used in training.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from core import images, restore
from core.imaging import metrics
from core.types import Restoration
from scripts import strips
from scripts.make_examples import EXAMPLES, RGB, add_noise, blur, gaussian, motion, shrink

OUT = Path(__file__).resolve().parent.parent / "docs" / "images"
#: what it shows -> photograph and the crop (left, top, right, bottom) that is used
SCENES = {
    "people": ("hopper.jpg", (150, 40, 390, 220)),
    "lettering": ("astronaut.jpg", (60, 300, 300, 480)),
    "nature": ("chelsea.jpg", (110, 40, 350, 220)),
    "low light": ("rocket.jpg", (200, 240, 440, 420)),
}
Degrade = Callable[[RGB, int], RGB]
Run = Callable[[RGB], Restoration]

TASKS: dict[str, tuple[str, Degrade, Run]] = {
    "denoise": (
        "noise, sigma 25",
        lambda x, seed: add_noise(x, 25, seed),
        lambda x: restore.denoise(x, "denoise-starter", sigma=25),
    ),
    "super-resolve-x2": (
        "shrunk to a half",
        lambda x, seed: shrink(x, 2),
        lambda x: restore.super_resolve(x, "super-resolve-x2-starter", 2),
    ),
    "super-resolve-x4": (
        "shrunk to a quarter",
        lambda x, seed: shrink(x, 4),
        lambda x: restore.super_resolve(x, "super-resolve-x4-starter", 4),
    ),
    "deblur-gaussian": (
        "Gaussian blur, 1.5 px",
        lambda x, seed: blur(x, gaussian(1.5), seed),
        lambda x: restore.deblur(x, "deblur-starter"),
    ),
    "deblur-motion": (
        "motion blur, 7 px",
        lambda x, seed: blur(x, motion(7, 25.0), seed),
        lambda x: restore.deblur(x, "deblur-starter"),
    ),
}


def crop(name: str) -> RGB:
    """One of the scenes, undegraded."""
    file, (left, top, right, bottom) = SCENES[name]
    return np.asarray(images.decode(EXAMPLES / file))[top:bottom, left:right]


def scene(name: str, seed: int, how: str, degrade: Degrade, run: Run) -> RGB:
    """Before, after and original of one photograph, with PSNR where sizes allow."""
    clean = crop(name)
    before = degrade(clean, seed)
    after = run(before).image
    gain = f"{metrics.psnr(after, clean):.1f} dB"
    shown = strips.fitted(before, max(clean.shape[:2]))
    if before.shape == clean.shape:
        how = f"{how}: {metrics.psnr(before, clean):.1f} dB"
    cells = [(how, shown), (f"starter: {gain}", after), (f"original ({name})", clean)]
    return strips.row(cells)


def main() -> None:
    """Draw one picture a task."""
    for task, (how, degrade, run) in TASKS.items():
        rows = [scene(name, seed, how, degrade, run) for seed, name in enumerate(SCENES)]
        strips.save(strips.stacked(rows), OUT / f"before-after-{task}.jpg")


if __name__ == "__main__":
    main()
