"""Masks as shapes: small holes and islands, lengths of runs, words for the sizes of three masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.imaging import bands

BoolMask = NDArray[np.bool_]
Runs = NDArray[np.int32]
NAMES = ("largest", "middle", "smallest")


def remove_small(mask: BoolMask, min_area: float) -> BoolMask:
    """Fill holes of fewer than `min_area` pixels, then remove islands of fewer.

    The rule of segment_anything's `remove_small_regions`, which needs OpenCV: pixels that touch at
    a corner belong together, and where every island is small the largest stays.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool; `mask` itself where nothing is small.
    """
    if min_area <= 1 or not mask.any():  # nothing is smaller than one pixel
        return mask
    mask = _without_small(~mask, min_area, "holes", mask)
    return _without_small(mask, min_area, "islands", mask)


def _without_small(parts: BoolMask, min_area: float, kind: str, mask: BoolMask) -> BoolMask:
    from scipy import ndimage

    labels, count = ndimage.label(parts, structure=np.ones((3, 3), bool))
    # Some rows at a time: NumPy counts and looks up in eight bytes for each pixel.
    rows = list(bands.bands(len(labels), labels.shape[1] * 8))
    sizes = np.zeros(count + 1, np.int64)
    for band in rows:
        sizes += np.bincount(labels[band].ravel(), minlength=count + 1)
    small = sizes < min_area
    small[0] = False  # 0 is what lies outside the parts
    if not small.any():
        return mask
    if kind == "islands" and small[1:].all():
        small[1 + int(np.argmax(sizes[1:]))] = False
    found = mask.copy()
    for band in rows:
        found[band][small[labels[band]]] = kind == "holes"
    return found


def names_by_area(areas: Sequence[int]) -> tuple[str, ...]:
    """The size of each of three masks among them, in a word; () for another number."""
    if len(areas) != len(NAMES):
        return ()
    order = sorted(range(len(areas)), key=lambda i: -areas[i])
    return tuple(NAMES[order.index(i)] for i in range(len(areas)))


def runs(mask: BoolMask) -> Runs:
    """Lengths of runs down the columns of (H, W), outside and inside by turns, outside first."""
    flat = mask.T.reshape(-1)  # no copy where the mask lies by columns (order "F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0] if flat[0] else [], [0], ends, [len(flat)]])
    return np.diff(edges).astype(np.int32)


def box(counts: Runs, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Columns and rows of the first and last pixels inside, xyxy; zeros for an empty mask."""
    ends = np.cumsum(counts, dtype=np.int64)
    first, last = ends[:-1:2], ends[1::2] - 1  # pixels of each run inside, counted down columns
    if not len(first):
        return 0.0, 0.0, 0.0, 0.0
    height = size[0]
    left, right = first // height, last // height
    one_column = left == right  # longer runs reach from the bottom to the top of a column
    top = np.where(one_column, first % height, 0).min()
    bottom = np.where(one_column, last % height, height - 1).max()
    return float(left.min()), float(top), float(right.max()), float(bottom)
