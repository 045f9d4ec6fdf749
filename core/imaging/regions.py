"""Masks as shapes: small holes and islands, run lengths, and size words for three masks."""

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

    As segment_anything's `remove_small_regions`, which needs OpenCV: pixels that touch at a corner
    are connected, and if every island is small the largest stays.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool; `mask` itself if nothing is small.
    """
    if min_area <= 1 or not mask.any():  # no region is smaller than one pixel
        return mask
    mask = _without_small(~mask, min_area, "holes", mask)
    return _without_small(mask, min_area, "islands", mask)


def _without_small(parts: BoolMask, min_area: float, kind: str, mask: BoolMask) -> BoolMask:
    from scipy import ndimage

    labels, count = ndimage.label(parts, structure=np.ones((3, 3), bool))
    # In bands: NumPy counts and looks up with eight bytes per pixel.
    rows = list(bands.bands(len(labels), labels.shape[1] * 8))
    sizes = np.zeros(count + 1, np.int64)
    for band in rows:
        sizes += np.bincount(labels[band].ravel(), minlength=count + 1)
    small = sizes < min_area
    small[0] = False  # label 0 is the background
    if not small.any():
        return mask
    if kind == "islands" and small[1:].all():
        small[1 + int(np.argmax(sizes[1:]))] = False
    found = mask.copy()
    for band in rows:
        found[band][small[labels[band]]] = kind == "holes"
    return found


def names_by_area(areas: Sequence[int]) -> tuple[str, ...]:
    """One word for the size of each of three masks; () for any other number."""
    if len(areas) != len(NAMES):
        return ()
    order = sorted(range(len(areas)), key=lambda i: -areas[i])
    return tuple(NAMES[order.index(i)] for i in range(len(areas)))


def runs(mask: BoolMask) -> Runs:
    """Run lengths down the columns of (H, W), alternating outside and inside, outside first."""
    flat = mask.T.reshape(-1)  # no copy for column order ("F")
    ends = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0] if flat[0] else [], [0], ends, [len(flat)]])
    return np.diff(edges).astype(np.int32)


def box(counts: Runs, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The first and last columns and rows inside, xyxy; zeros for an empty mask."""
    ends = np.cumsum(counts, dtype=np.int64)
    first, last = ends[:-1:2], ends[1::2] - 1  # first and last pixel of each inside run
    if not len(first):
        return 0.0, 0.0, 0.0, 0.0
    height = size[0]
    left, right = first // height, last // height
    one_column = left == right  # longer runs continue in the next column
    top = np.where(one_column, first % height, 0).min()
    bottom = np.where(one_column, last % height, height - 1).max()
    return float(left.min()), float(top), float(right.max()), float(bottom)
