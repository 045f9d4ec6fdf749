"""Photographs for the restore recipes: reading, the check against benchmarks, random patches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from training.graphics import graphics

Pyramid = tuple[np.ndarray, ...]  # a picture, and copies of it reduced by integer factors

log = logging.getLogger("training")

SUFFIXES = {".jpg", ".jpeg", ".png"}
FOLDERS = ("bsds500", "wallpapers")  # of the data folder
SMALLEST = 128  # px of the shorter side: a patch to be reduced to 32 px must fit
NEVER = {"val", "validation"}  # BSDS500/val holds BSD68, a benchmark
# Set12 (04) and Set5 (the fifth) contain parts of these two pictures of BSDS500
CUT_FOR_BENCHMARKS = {"12003", "302003"}


def picture_files(folder: Path) -> list[Path]:
    """Every picture below `folder` in a fixed order, without the folders that hold benchmarks."""
    files = (p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    files = (p for p in files if p.stem not in CUT_FOR_BENCHMARKS)
    return sorted(p for p in files if not NEVER & set(p.relative_to(folder).parts))


def read_rgb(path: Path, longest: int | None = None) -> np.ndarray:
    """(H, W, 3) uint8; a longer side than `longest` px is scaled down to it."""
    with Image.open(path) as image:
        if longest:
            image.draft("RGB", (longest, longest))  # lets the JPEG decoder skip pixels
        rgb = image.convert("RGB")
    if longest and max(rgb.size) > longest:
        rgb.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(rgb)


def fingerprint(picture: np.ndarray) -> np.ndarray:
    """256 bits that survive another decoder or format: is each pixel of a 17x16 thumbnail
    brighter than its left neighbour?"""
    small = Image.fromarray(picture).convert("L").resize((17, 16), Image.Resampling.BOX)
    grey = np.asarray(small, dtype=np.int16)
    return (grey[:, 1:] > grey[:, :-1]).ravel()


def overlaps(
    pictures: Sequence[np.ndarray], benchmarks: Iterable[np.ndarray], bits: int = 24
) -> list[int]:
    """Indices of `pictures` that match a benchmark picture, in any rotation or reflection."""
    table = np.stack([fingerprint(p) for p in pictures])
    found = set[int]()
    for benchmark in benchmarks:
        for turned in symmetries(benchmark):
            distance = (table != fingerprint(turned)).sum(axis=1)
            found.update(np.flatnonzero(distance <= bits).tolist())
    return sorted(found)


def symmetries(picture: np.ndarray) -> list[np.ndarray]:
    """The eight rotations and reflections of a picture."""
    turns = [np.rot90(picture, k) for k in range(4)]
    return [np.ascontiguousarray(t) for turn in turns for t in (turn, turn[:, ::-1])]


def training_pictures(
    folder: Path, benchmarks: Path | None, longest: int = 1100
) -> list[np.ndarray]:
    """Photographs of `FOLDERS` below `folder`, without those in the `benchmarks`.

    Raises:
        SystemExit: there are none.
    """
    files = [path for name in FOLDERS for path in picture_files(folder / name)]
    pictures = [
        p for p in (read_rgb(path, longest) for path in files) if min(p.shape[:2]) >= SMALLEST
    ]
    if not pictures:
        places = " or ".join(str(folder / name) for name in FOLDERS)
        raise SystemExit(f"No pictures in {places}: see training/DATA.md.")
    if benchmarks is None:
        log.warning("training pictures are not compared with benchmarks; use --benchmarks for that")
    else:
        known = [read_rgb(p) for p in sorted(benchmarks.rglob("*.png"))]
        same = set(overlaps(pictures, known))
        log.info("%d of %d pictures are benchmarks: left out", len(same), len(pictures))
        pictures = [p for i, p in enumerate(pictures) if i not in same]
    log.info("%d pictures, %.0f MP", len(pictures), sum(p.size for p in pictures) / 3e6)
    return pictures


@dataclass(frozen=True)
class Mix:
    """What is mixed into the photographs, so that no colour or drawing is foreign to a network."""

    drawn: int = 400  # pictures of `training.graphics`
    share: float = 0.1  # of the patches that come from them
    recolour: float = (
        0.3  # share of the patches with permuted, half of them also inverted, channels
    )

    def patches(
        self, pictures: Sequence[np.ndarray], levels: Callable[[np.ndarray], Pyramid], seed: int
    ) -> Patches:
        """Patches of photographs and drawn pictures; `levels` makes the pyramid of each."""
        drawn = [levels(p) for p in graphics(self.drawn, seed=seed)]
        return Patches([levels(p) for p in pictures], drawn, self.share, self.recolour)


class Patches:
    """Draws random patches, each pixel equally likely, randomly rotated and mirrored.

    Args:
        pyramids: one tuple per picture: the picture and, optionally, copies reduced by integer
            factors, which give the matching patches.
        drawn: the same of drawn pictures (`training.graphics`).
        share: of the patches that come from `drawn`, 0..1.
        recolour: share of the patches with permuted channels, half of them also with some
            channels inverted.
    """

    def __init__(
        self,
        pyramids: Sequence[Pyramid],
        drawn: Sequence[Pyramid] = (),
        share: float = 0.0,
        recolour: float = 0.0,
    ) -> None:
        self.pyramids, self.recolour = [*pyramids, *drawn], recolour
        area = np.array([p[-1].shape[0] * p[-1].shape[1] for p in self.pyramids], dtype=float)
        photographs, graphics = area[: len(pyramids)], area[len(pyramids) :]
        self.share = area / photographs.sum()
        if drawn:
            self.share[: len(pyramids)] *= 1 - share
            self.share[len(pyramids) :] = graphics / graphics.sum() * share

    def draw(self, rng: np.random.Generator, batch: int, size: int) -> list[torch.Tensor]:
        """One (batch, 3, side, side) float tensor in 0..1 for each level of the pyramids;
        `size` is the side at the smallest level."""
        columns: list[list[np.ndarray]] = [[] for _ in self.pyramids[0]]
        for index in rng.choice(len(self.pyramids), batch, p=self.share):
            levels = self.pyramids[index]
            height, width = levels[-1].shape[:2]
            top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
            turns, mirror = int(rng.integers(4)), rng.integers(2)
            channels, inverted = self._colours(rng)
            for column, level in zip(columns, levels, strict=True):
                factor = level.shape[0] // height
                rows = slice(top * factor, (top + size) * factor)
                patch = level[rows, left * factor : (left + size) * factor]
                patch = np.rot90(patch, turns)[..., channels] ^ inverted
                column.append(patch[:, ::-1] if mirror else patch)
        return [to_tensor(np.stack(column)) for column in columns]

    def _colours(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The order of the channels, and for each 255 if it is inverted (x ^ 255), else 0."""
        if rng.random() >= self.recolour:
            return np.arange(3), np.zeros(3, np.uint8)
        inverted = 255 * rng.integers(0, 2, 3, dtype=np.uint8) * rng.integers(2, dtype=np.uint8)
        return rng.permutation(3), inverted


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float in 0..1, laid out channels last."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 255.0


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """(1, 3, H, W) -> (H, W, 3) float in 0..1, clipped."""
    return tensor[0].clamp(0, 1).permute(1, 2, 0).float().numpy()
