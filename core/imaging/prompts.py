"""Validate point and box prompts against the picture.

Segment Anything itself silently accepts NaN or points far outside and returns some mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import checks
from core.errors import InputError
from core.types import PointPrompts

MAX_POINTS = 1000
Points = Sequence[Sequence[float]]
_POINTS = "Each point must be [x, y, label]: finite numbers, with label 1 or 0."


def parse_points(points: Points, size: tuple[int, ...]) -> PointPrompts:
    """[[x, y, label], …] checked against a picture of `size` (H, W)."""
    array = checks.numbers(points)
    if array is None or array.ndim not in (1, 2):
        raise InputError(_POINTS)
    if len(array) > MAX_POINTS:
        raise InputError(f"There are {len(array)} points; at most {MAX_POINTS} are allowed.")
    if not array.size and len(array) == 0:
        array = array.reshape(0, 3)
    if array.ndim != 2 or array.shape[1] != 3 or not np.all(np.isin(array[:, 2], (0, 1))):
        raise InputError(_POINTS)
    limits = np.array([size[1], size[0]])
    if np.any(array[:, :2] < 0) or np.any(array[:, :2] > limits):
        raise InputError(
            f"A point lies outside the picture, which is {size[1]} x {size[0]} pixels."
        )
    return PointPrompts(array[:, :2], array[:, 2].astype(np.int64))


def parse_box(box: Sequence[float] | None, size: tuple[int, ...]) -> NDArray[np.float32] | None:
    """[x1, y1, x2, y2] with ordered corners, clipped to a picture of `size` (H, W)."""
    if box is None:
        return None
    corners = checks.numbers(box)
    if corners is None or corners.shape != (4,):
        raise InputError("A box must be [x1, y1, x2, y2] in pixels.")
    low, high = np.minimum(corners[:2], corners[2:]), np.maximum(corners[:2], corners[2:])
    limits = np.array([size[1], size[0]], dtype=np.float32)
    low, high = np.clip(low, 0, limits), np.clip(high, 0, limits)
    if np.any(high - low < 1):
        raise InputError("The box must lie on the picture and be at least one pixel wide and high.")
    return np.concatenate([low, high]).astype(np.float32)
