"""Pictures for the reconstruct recipe, kept as memory-mapped uint8 arrays.

DATA.md describes the data folder; a cache of arrays is written to `<data>/.cache`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from training.restore_data import overlaps, picture_files

log = logging.getLogger("training")

Pictures = NDArray[np.uint8]  # (N, H, W, 3)
PHOTOGRAPHS = ("flower_photos", "caltech101", "bsds500", "wallpapers")


def read_square(path: Path, side: int) -> Pictures:
    """The whole picture squeezed to (side, side, 3), as the app feeds it to the model."""
    with Image.open(path) as image:
        image.draft("RGB", (2 * side, 2 * side))  # lets the JPEG decoder skip pixels
        return np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))


def cached(path: Path, make: Callable[[], Pictures]) -> Pictures:
    """The array at `path`, memory-mapped; computed and written there if missing."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.npy")
        np.save(partial, make())
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def held_out(data: Path, side: int, count: int = 100) -> Pictures:
    """(count, side, side, 3): the first pictures of BSDS500's val folder, never trained on."""
    files = bsds_files(data, "val")[:count]
    if len(files) < count:
        raise SystemExit(f"{count} pictures of BSDS500's val wanted in {data}, {len(files)} there.")
    return np.stack([read_square(path, side) for path in files])


def bsds_files(data: Path, part: str) -> list[Path]:
    """The pictures of BSDS500's `train`, `test` or `val`, in `images` in the original tree."""
    root = data / "bsds500"
    return sorted(p for place in (root, root / "images") for p in (place / part).glob("*.jpg"))


def photographs(data: Path, side: int) -> Pictures:
    """(N, side, side, 3) training photographs, without held-out ones.

    Raises:
        SystemExit: none of the folders exists.
    """

    files = [p for name in PHOTOGRAPHS for p in picture_files(data / name)]
    if not files:
        raise SystemExit(f"No pictures below {data}: see training/DATA.md.")

    def make() -> Pictures:
        pictures = np.stack([read_square(path, side) for path in files])
        same = overlaps(list(pictures), held_out(data, side))
        log.info("%d photographs, %d left out as held-out ones", len(pictures), len(same))
        return np.delete(pictures, same, axis=0)

    # Different training or held-out files are a new collection and checked again.
    names = "\n".join(map(str, [*files, *bsds_files(data, "val")]))
    mark = hashlib.sha256(names.encode()).hexdigest()[:12]
    return cached(data / ".cache" / f"photographs-{side}-{mark}.npy", make)


def epoch_order(count: int, batch: int, step: int, seed: int) -> NDArray[np.int64]:
    """(batch,) indices of step `step`: every picture once per epoch, reshuffled each epoch."""
    steps = count // batch
    epoch, place = divmod(step, steps)
    order = np.random.default_rng([seed, epoch, 1]).permutation(count)
    return order[place * batch : (place + 1) * batch]


def crop_to(
    x: torch.Tensor, side: int, scale: tuple[float, float], ratio: float, rng: np.random.Generator
) -> torch.Tensor:
    """A random crop of each picture, flipped half the time: (B, 3, H, W) -> (B, 3, side, side).

    Args:
        scale: minimum and maximum share of the area.
        ratio: maximum ratio of the crop's sides.
    """
    count = len(x)
    area = np.sqrt(rng.uniform(*scale, count))
    skew = np.exp(rng.uniform(-1, 1, count) * np.log(ratio) / 2)
    width, height = np.minimum(area * skew, 1), np.minimum(area / skew, 1)
    theta = np.zeros((count, 2, 3), dtype=np.float32)
    theta[:, 0, 0] = width * rng.choice([-1, 1], count)
    theta[:, 1, 1] = height
    theta[:, 0, 2] = rng.uniform(-1, 1, count) * (1 - width)
    theta[:, 1, 2] = rng.uniform(-1, 1, count) * (1 - height)
    grid = F.affine_grid(torch.from_numpy(theta), [count, 3, side, side], align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
