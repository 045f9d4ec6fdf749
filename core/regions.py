"""Masks as shapes: small holes and islands, and words for the sizes of three masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import bands

BoolMask = NDArray[np.bool_]
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
