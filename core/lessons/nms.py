"""Non-maximum suppression: which box is dropped for which, and why DETR needs none.

Of two boxes of one class that overlap much, the one with the lower score is probably the same
object. NMS drops it; soft-NMS only lowers its score.
What goes before it depends on the detector: anchors of a pyramid fire (RetinaNet, SSD), or a first
stage proposes regions, which are cut out and read by a second one (Faster R-CNN).
Sources: Bodla et al., "Soft-NMS", 2017; Carion et al., "End-to-End Object Detection with
Transformers", 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, detect, images
from core.errors import InputError
from core.imaging import overlaps
from core.nets import postprocess
from core.sources.resolver import Progress

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Method = Literal["hard", "linear", "gaussian"]
METHODS: tuple[Method, ...] = ("hard", "linear", "gaussian")
DENSE, QUERIES = "detect-cnn-starter", "detect-starter"
LOWEST = 0.05  # a candidate with a lower score is noise


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Boxes before any suppression, best first.

    `boxes` (K, 4) xyxy in pixels, `scores` (K,), `classes` (K,) numbers, `tokens` (K,) the query,
    token or pair of `Inside` that each comes from, `levels` (K,) of the pyramid, 0 is the finest
    and -1 stands for a DETR, which has queries instead.
    """

    inside: detect.Inside
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: Indices
    tokens: Indices
    levels: Indices

    @property
    def proposals(self) -> Indices:
        """(K,) rows of the first stage's proposals; -1 where there is no first stage."""
        pairs = self.inside.anchored
        return np.full(len(self.tokens), -1) if pairs is None else pairs.rows[self.tokens]

    @property
    def limit(self) -> float:
        """The IoU above which the detector's own NMS drops a box."""
        pairs = self.inside.anchored
        return postprocess.NMS_IOU if pairs is None else pairs.iou


@dataclass(frozen=True, slots=True, eq=False)
class Suppressed:
    """`scores` (K,) after NMS, and `by` (K,) the box that dropped each, or lowered it most; -1 if
    none did."""

    scores: Array
    by: Indices


def candidates(found: detect.Inside, threshold: float = LOWEST) -> Candidates:
    """The pairs of query and class with a score above `threshold`, `CANDIDATES` of them at most.

    For softmax classes, each query has only its best class. A detector with anchors gives none
    below its own limit, in torchvision 0.05, or 0.001 for SSD.
    """
    z = found.logits.astype(np.float64)
    if found.kind == "softmax":
        scores = softmax(z, axis=1)[:, :-1]
        scores = np.where(scores == scores.max(1, keepdims=True), scores, 0)
    else:
        scores = 1 / (1 + np.exp(-np.clip(z, -60, 60)))  # (Q, C)
    order = np.argsort(-scores, axis=None, kind="stable")[: postprocess.CANDIDATES]
    order = order[scores.flat[order] > threshold]  # (K,) of Q * C
    tokens, classes = np.divmod(order, scores.shape[1])
    if found.anchored is not None:
        classes = found.anchored.classes[tokens]
    boxes = postprocess.corners(found.boxes[tokens], found.size)
    best, levels = scores.flat[order].astype(np.float32), _levels(found, tokens)
    return Candidates(found, boxes, best, classes, tokens, levels)


def _levels(found: detect.Inside, tokens: Indices) -> Indices:
    if found.anchored is not None:
        return found.anchored.levels[tokens]
    ends = np.cumsum([rows * columns for rows, columns in found.levels])
    return np.searchsorted(ends, tokens, side="right") if len(ends) else np.full(len(tokens), -1)


def suppress(
    boxes: NDArray[np.floating],
    scores: NDArray[np.floating],
    classes: Indices,
    method: Method = "hard",
    iou: float = 0.6,
    sigma: float = 0.5,
) -> Suppressed:
    """Non-maximum suppression within each class.

    The best box that is left is kept; others of its class are dropped if their IoU with it is above
    `iou` ("hard"), or then multiplied by 1 - IoU ("linear"), or always multiplied by
    exp(-IoU² / `sigma`) ("gaussian").

    Args:
        boxes: (K, 4) xyxy. scores: (K,). classes: (K,).

    Raises:
        InputError: the method or a number is wrong.
    """
    if method not in METHODS:
        raise InputError("The method must be hard, linear or gaussian.")
    iou = checks.number(iou, "The IoU", 0, 1)
    sigma = checks.number(sigma, "Sigma", 0.01, 10)
    overlap = overlaps.iou(boxes.astype(np.float64), boxes.astype(np.float64))
    left = np.ones(len(boxes), dtype=bool)
    now = scores.astype(np.float64)
    by, worst = np.full(len(boxes), -1), np.ones(len(boxes))
    while left.any():
        best = int(np.argmax(np.where(left, now, -1)))
        left[best] = False
        factor = _factors(overlap[best], method, iou, sigma)
        hit = left & (classes == classes[best]) & (factor < 1)
        more = hit & (factor < worst)
        by[more], worst[more] = best, factor[more]
        now[hit] *= factor[hit]
        if method == "hard":
            left &= ~hit
    return Suppressed(now, by)


def _factors(overlap: Array, method: Method, iou: float, sigma: float) -> Array:
    """What the scores of the others are multiplied by."""
    if method == "gaussian":
        return np.exp(-(overlap**2) / sigma)
    return np.where(overlap > iou, 0.0 if method == "hard" else 1 - overlap, 1.0)


def look(
    image: images.ImageLike,
    checkpoint: str = "auto",
    threshold: float = LOWEST,
    progress: Progress | None = None,
) -> Candidates:
    """All boxes of one picture before NMS.

    Args:
        checkpoint: a detector; "auto" is the starter with predictions at every place.
        threshold: of the score, 0 to 1.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    threshold = checks.number(threshold, "The threshold", 0, 1)
    found = detect.inside(image, DENSE if checkpoint == "auto" else checkpoint, progress)
    return candidates(found, threshold)


def compare(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> tuple[Candidates, Candidates]:
    """The boxes of a detector with predictions at every place, and of a DETR.

    One of them is the chosen checkpoint, the other one a starter.
    """
    picture = images.picture(image)
    chosen = detect.inside(picture, checkpoint, progress)
    other = detect.inside(picture, QUERIES if chosen.kind == "dense" else DENSE, progress)
    pair = (chosen, other) if chosen.kind == "dense" else (other, chosen)
    return candidates(pair[0]), candidates(pair[1])
