"""How much boxes overlap: IoU, GIoU and DIoU of every pair.

Sources: Rezatofighi et al., "Generalized Intersection over Union", 2019; Zheng et al.,
"Distance-IoU Loss", 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]


def xyxy(boxes: NDArray[np.floating]) -> Boxes:
    """(N, 4) cxcywh -> (N, 4) xyxy."""
    centre, half = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64) / 2
    return np.concatenate([centre - half, centre + half], 1)


def cxcywh(boxes: NDArray[np.floating]) -> Boxes:
    """(N, 4) xyxy -> (N, 4) cxcywh."""
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    return np.concatenate([(low + high) / 2, high - low], 1)


def iou(one: Boxes, other: Boxes) -> Boxes:
    """(N, M) intersection over union of (N, 4) and (M, 4) boxes xyxy; 0 where both are empty."""
    return _iou(one, other)[0]


def giou(one: Boxes, other: Boxes) -> Boxes:
    """(N, M) IoU less the share of the smallest box around both that neither covers, -1 to 1."""
    found, union = _iou(one, other)
    around = _sides(*_around(one, other)).prod(-1)
    return found - _ratio(around - union, around)


def diou(one: Boxes, other: Boxes) -> Boxes:
    """(N, M) IoU less the squared distance of the centres over that of the corners of the smallest
    box around both, -1 to 1."""
    low, high = _around(one, other)
    diagonal = ((high - low) ** 2).sum(-1)
    gap = cxcywh(one)[:, None, :2] - cxcywh(other)[None, :, :2]
    return _iou(one, other)[0] - _ratio((gap**2).sum(-1), diagonal)


def _iou(one: Boxes, other: Boxes) -> tuple[Boxes, Boxes]:
    """(N, M) IoU and union."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    shared = _sides(low, high).prod(-1)
    areas = [_sides(boxes[:, :2], boxes[:, 2:]).prod(-1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - shared
    return _ratio(shared, union), union


def _around(one: Boxes, other: Boxes) -> tuple[Boxes, Boxes]:
    """(N, M, 2) corners of the smallest box around each pair."""
    low = np.minimum(one[:, None, :2], other[None, :, :2])
    return low, np.maximum(one[:, None, 2:], other[None, :, 2:])


def _sides(low: Boxes, high: Boxes) -> Boxes:
    return np.maximum(high - low, 0)


def _ratio(part: Boxes, whole: Boxes) -> Boxes:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
