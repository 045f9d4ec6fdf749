"""Average precision as PASCAL VOC defines it, at an IoU of 0.5."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
#: boxes (n, 4) xyxy, scores (n,), classes (n,)
Found = tuple[Array, Array, NDArray[np.int64]]


def _ious(box: Array, others: Array) -> Array:
    inter = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    both = inter.clip(0).prod(-1)
    area = (others[:, 2:] - others[:, :2]).prod(-1)
    result: Array = both / (area + (box[2:] - box[:2]).prod() - both + 1e-9)
    return result


def class_ap(truths: Sequence[Array], found: Sequence[Found], label: int, least: float) -> float:
    """AP of one class: area under the interpolated curve of precision over recall.

    `truths` are tables (n, 6) of class, xyxy, ignored. A second box on an object is wrong; boxes on
    ignored objects count for nothing. NaN where no picture has the class.
    """
    own = [table[table[:, 0] == label] for table in truths]
    count = sum(int((table[:, 5] == 0).sum()) for table in own)
    if not count:
        return float("nan")
    rows = [
        (score, i, box)
        for i, (boxes, scores, classes) in enumerate(found)
        for box, score, c in zip(boxes, scores, classes, strict=True)
        if c == label
    ]
    rows.sort(key=lambda row: -row[0])
    taken = [np.zeros(len(table), bool) for table in own]
    right = []
    for _, i, box in rows:
        overlap = _ious(box, own[i][:, 1:5]) if len(own[i]) else np.zeros(1, np.float32)
        j = int(overlap.argmax())
        if overlap[j] < least:
            right.append(0.0)
        elif own[i][j, 5]:
            continue
        else:
            right.append(float(not taken[i][j]))
            taken[i][j] = True
    hits = np.cumsum(right)
    precision = hits / np.arange(1, len(hits) + 1)
    recall = hits / count
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def mean_ap(
    truths: Sequence[Array], found: Sequence[Found], classes: int, least: float = 0.5
) -> tuple[float, list[float]]:
    """The mean over the classes, and each class."""
    each = [class_ap(truths, found, label, least) for label in range(classes)]
    return float(np.nanmean(each)), each
