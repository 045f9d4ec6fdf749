"""Batches for the detectors from stored maps of VOC 2007's pictures."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from training.detectors_loss import Targets

Array = NDArray[np.float32]
Half = NDArray[np.float16]
CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
GRID = 20
HEAD, REST = 384, 272  # stored channels: of the trunk's last map, of the two finer ones
KEPT = 0.4  # share of an object's area that must be left in a window


def held_out(name: str) -> bool:
    """A ninth of the names, by hash."""
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) % 9 == 0


@dataclass
class View:
    """Maps (N, GRID, GRID, HEAD + REST) float16, and N tables (n, 6) of class, xyxy in 0..1, and
    whether the object is to be ignored."""

    maps: NDArray[np.float16]
    objects: list[Array]


def load(folder: Path, name: str) -> tuple[View, list[str], list[int]]:
    """The view as far as it is computed; names and indices of its pictures."""
    rows = json.loads((folder / f"{name}.json").read_text())
    maps = np.load(folder / f"{name}.npy", mmap_mode="r")
    objects = [np.array(row["objects"], np.float32).reshape(-1, 6) for row in rows]
    return View(maps, objects), [row["id"] for row in rows], list(range(len(rows)))


def flipped(maps: Half, objects: Array) -> tuple[Half, Array]:
    """Mirror maps (h, w, c) and objects.

    The trunk pads its strided convolutions on the right and below, so its positions lie half a
    cell right of their centre; mirrored maps lie half a cell left. Moving all by one cell mends it;
    the finer map moves by one of its own cells.
    """
    h, w, c = maps.shape
    out = maps[:, ::-1].copy()
    fine = out[..., c - 160 :].reshape(h, w, 40, 2, 2)  # channels are (40, dy, dx)
    columns = fine[..., ::-1].transpose(0, 3, 1, 4, 2).reshape(h, 2, 2 * w, 40)
    columns = np.concatenate([columns[:, :, :1], columns[:, :, :-1]], 2)
    fine = columns.reshape(h, 2, w, 2, 40).transpose(0, 2, 4, 1, 3)
    out[..., c - 160 :] = fine.reshape(h, w, 160)
    moved = objects.copy()
    moved[:, 1] = 1 - objects[:, 3] + 1 / w
    moved[:, 3] = np.minimum(1 - objects[:, 1] + 1 / w, 1)
    return out, moved[moved[:, 3] - moved[:, 1] > 0.02]


def window(objects: Array, x: int, y: int, w: int, h: int, to: tuple[int, int]) -> Array:
    """The objects of a window of tokens that is put at `to` (x, y) of the new grid."""
    cells = objects.copy()
    cells[:, 1:5] *= GRID
    area = (cells[:, 3] - cells[:, 1]) * (cells[:, 4] - cells[:, 2])
    cells[:, [1, 3]] = cells[:, [1, 3]].clip(x, x + w)
    cells[:, [2, 4]] = cells[:, [2, 4]].clip(y, y + h)
    left = (cells[:, 3] - cells[:, 1]) * (cells[:, 4] - cells[:, 2]) / np.maximum(area, 1e-6)
    cells[:, 5] = np.where(left < KEPT, 1, cells[:, 5])
    cells[:, [1, 3]] += to[0] - x
    cells[:, [2, 4]] += to[1] - y
    cells[:, 1:5] /= GRID
    return cells[left > 0.05]


class Sampler:
    """Random pictures of several views, mirrored, or put together from windows."""

    def __init__(self, views: list[tuple[View, list[int]]]) -> None:
        self.views = views
        self.weights = np.array([len(indices) for _, indices in views], float)
        self.weights /= self.weights.sum()

    def one(self, rng: np.random.Generator) -> tuple[Half, Array]:
        """Maps (GRID, GRID, c) and objects of one picture."""
        view, indices = self.views[rng.choice(len(self.views), p=self.weights)]
        i = indices[rng.integers(len(indices))]
        maps, objects = view.maps[i], view.objects[i]
        return flipped(maps, objects) if rng.random() < 0.5 else (maps, objects)

    def mosaic(self, rng: np.random.Generator) -> tuple[Half, Array]:
        """Windows of two or four pictures side by side."""
        split_x = int(rng.integers(6, 15)) if rng.random() < 0.75 else GRID
        split_y = int(rng.integers(6, 15)) if rng.random() < 0.75 or split_x == GRID else GRID
        out = np.empty((GRID, GRID, HEAD + REST), np.float16)
        found = []
        for x0, x1 in ((0, split_x), (split_x, GRID)):
            for y0, y1 in ((0, split_y), (split_y, GRID)):
                w, h = x1 - x0, y1 - y0
                if not w * h:
                    continue
                maps, objects = self.one(rng)
                x, y = int(rng.integers(GRID - w + 1)), int(rng.integers(GRID - h + 1))
                if len(objects):  # around an object
                    _, ax, ay, bx, by, _ = objects[rng.integers(len(objects))]
                    x = int(np.clip((ax + bx) / 2 * GRID - w * rng.uniform(0.3, 0.7), 0, GRID - w))
                    y = int(np.clip((ay + by) / 2 * GRID - h * rng.uniform(0.3, 0.7), 0, GRID - h))
                out[y0:y1, x0:x1] = maps[y : y + h, x : x + w]
                found.append(window(objects, int(x), int(y), w, h, (x0, y0)))
        return out, np.concatenate(found)

    def batch(
        self, size: int, mosaics: float, rng: np.random.Generator
    ) -> tuple[torch.Tensor, Targets]:
        """(B, c, GRID, GRID) in channels_last, and the objects."""
        pairs = [self.mosaic(rng) if rng.random() < mosaics else self.one(rng) for _ in range(size)]
        maps = torch.from_numpy(np.stack([m for m, _ in pairs])).float().permute(0, 3, 1, 2)
        return maps, padded([o for _, o in pairs])


def padded(tables: list[Array]) -> Targets:
    """Tables (n, 6) of objects, filled up to the same number."""
    most = max(1, *(len(table) for table in tables))
    full = np.zeros((len(tables), most, 6), np.float32)
    real = np.zeros((len(tables), most), bool)
    for i, table in enumerate(tables):
        full[i, : len(table)] = table
        real[i, : len(table)] = True
    hard = full[..., 5] > 0.5
    return Targets(
        torch.from_numpy(full[..., 1:5]),
        torch.from_numpy(full[..., 0]).long(),
        torch.from_numpy(real & ~hard),
        torch.from_numpy(real & hard),
    )
