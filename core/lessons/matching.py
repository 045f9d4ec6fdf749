"""How DETR is trained: each true box is matched with one query, and the rest learn "no object".

The cost of pairing query and true box is the weighted sum of a class, an L1 and a GIoU part. The
assignment with the least total cost is found exactly (the Hungarian algorithm); the loss is then
that of its pairs. All of it is arithmetic on one forward pass.
Sources: Carion et al., "End-to-End Object Detection with Transformers", 2020; for sigmoid classes
Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection" (RT-DETR), 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import softmax

from core import checks, detect, images
from core.errors import InputError
from core.imaging import overlaps
from core.sources.resolver import Progress

Kind = Literal["softmax", "sigmoid"]
Array = NDArray[np.float64]

#: Class, L1 and GIoU in the cost of a pair, as published, by the kind of classes.
WEIGHTS = {"softmax": (1.0, 5.0, 2.0), "sigmoid": (2.0, 5.0, 2.0)}
#: Class, L1 and GIoU in the loss.
LOSS_WEIGHTS = (1.0, 5.0, 2.0)
#: What an unmatched query counts in the class loss: DETR's weight of "no object", RT-DETR's alpha.
UNMATCHED = {"softmax": 0.1, "sigmoid": 0.75}
STARTER = "detect-starter"
_FOCAL_ALPHA, _TINY = 0.25, 1e-8
_MOST_BOXES = 100
_COPY = 0.5  # a detection that overlaps a better one by more IoU shows the same object
_START = 0.4  # detections with a better score become the first true boxes


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """The parts of the cost, (Q, T) each for Q queries and T true boxes, not yet weighted."""

    classes: Array
    l1: Array
    giou: Array

    def total(self, weights: Sequence[float]) -> Array:
        """(Q, T): the sum weighted by `weights` of class, L1 and GIoU."""
        return weights[0] * self.classes + weights[1] * self.l1 + weights[2] * self.giou


@dataclass(frozen=True, slots=True, eq=False)
class Loss:
    """The loss of an assignment, by parts, not yet weighted.

    `classes`, `l1` and `giou` are (P,), what each pair adds to its part; `unmatched` is what all
    queries without a true box add to the class loss.
    """

    classes: Array
    l1: Array
    giou: Array
    unmatched: float

    @property
    def parts(self) -> tuple[float, float, float]:
        """The class, L1 and GIoU loss."""
        return (
            float(self.classes.sum()) + self.unmatched,
            float(self.l1.sum()),
            float(self.giou.sum()),
        )

    @property
    def total(self) -> float:
        """The loss that the model is trained with, weighted as published."""
        return float(np.dot(LOSS_WEIGHTS, self.parts))


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """True boxes, and which query each was matched with.

    `boxes` (T, 4) are xyxy in 0..1 and `labels` (T,) class numbers; pair p joins the query
    `queries[p]` with the true box `truths[p]`.
    """

    inside: detect.Inside
    boxes: Array
    labels: NDArray[np.int64]
    costs: Costs
    queries: NDArray[np.int64]
    truths: NDArray[np.int64]
    weights: tuple[float, float, float]
    loss: Loss


def costs(
    logits: NDArray[np.floating],
    predicted: NDArray[np.floating],
    boxes: NDArray[np.floating],
    labels: NDArray[np.int64],
    kind: Kind,
) -> Costs:
    """The cost of pairing each query with each true box.

    Args:
        logits: (Q, C), with "no object" as the last class if `kind` is "softmax".
        predicted: (Q, 4) cxcywh in 0..1. boxes: (T, 4) cxcywh in 0..1. labels: (T,).
    """
    z = logits.astype(np.float64)
    if kind == "softmax":
        classes = -softmax(z, axis=1)[:, labels]
    else:  # as the focal loss would rate the class present, less as it would rate it absent
        p = _sigmoid(z[:, labels])
        present = _FOCAL_ALPHA * (1 - p) ** 2 * -np.log(p + _TINY)
        classes = present - (1 - _FOCAL_ALPHA) * p**2 * -np.log(1 - p + _TINY)
    l1 = np.abs(predicted.astype(np.float64)[:, None] - boxes[None]).sum(-1)
    return Costs(classes, l1, -overlaps.giou(overlaps.xyxy(predicted), overlaps.xyxy(boxes)))


def assign(cost: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(P,) queries and (P,) true boxes of the assignment with the least sum of (Q, T) costs."""
    queries, truths = linear_sum_assignment(cost)
    return queries.astype(np.int64), truths.astype(np.int64)


def loss(
    logits: NDArray[np.floating],
    predicted: NDArray[np.floating],
    boxes: NDArray[np.floating],
    labels: NDArray[np.int64],
    pairs: tuple[NDArray[np.int64], NDArray[np.int64]],
    kind: Kind,
    unmatched: float | None = None,
) -> Loss:
    """The loss of an assignment.

    Args:
        logits, predicted, boxes, labels, kind: as in `costs`.
        pairs: from `assign`.
        unmatched: the weight of "no object", or RT-DETR's alpha; as published if None.
    """
    rows, columns = pairs
    weight = UNMATCHED[kind] if unmatched is None else unmatched
    count = max(1, len(boxes))
    mine, theirs = predicted.astype(np.float64)[rows], boxes.astype(np.float64)[columns]
    corners = overlaps.xyxy(mine), overlaps.xyxy(theirs)
    z, wanted = logits.astype(np.float64), labels[columns]
    if kind == "softmax":
        each = _cross_entropy(z, rows, wanted, weight)
    else:
        each = _varifocal(z, rows, wanted, np.diagonal(overlaps.iou(*corners)), weight) / count
    paired = np.zeros(len(z), dtype=bool)
    paired[rows] = True
    return Loss(
        each[rows],
        np.abs(mine - theirs).sum(1) / count,
        (1 - np.diagonal(overlaps.giou(*corners))) / count,
        float(each[~paired].sum()),
    )


def _cross_entropy(
    z: Array, rows: NDArray[np.int64], wanted: NDArray[np.int64], weight: float
) -> Array:
    """(Q,) shares in the mean cross entropy in which "no object" has that weight."""
    target = np.full(len(z), z.shape[1] - 1)
    target[rows] = wanted
    most = z.max(1)
    logs = z[np.arange(len(z)), target] - most - np.log(np.exp(z - most[:, None]).sum(1))
    weights = np.where(target == z.shape[1] - 1, weight, 1.0)
    return -weights * logs / max(weights.sum(), 1e-12)


def _varifocal(
    z: Array, rows: NDArray[np.int64], wanted: NDArray[np.int64], ious: Array, alpha: float
) -> Array:
    """(Q,) varifocal losses: a matched query should score its IoU for its class, else 0."""
    target, mine = np.zeros_like(z), np.zeros_like(z)
    target[rows, wanted], mine[rows, wanted] = ious, 1
    weights = alpha * _sigmoid(z) ** 2 * (1 - mine) + target
    entropy = np.maximum(z, 0) - z * target + np.log1p(np.exp(-np.abs(z)))
    return (weights * entropy).sum(1)


def _sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(z, -60, 60)))


def look(
    image: images.ImageLike,
    boxes: Sequence[Sequence[Any]] | None = None,
    checkpoint: str = "auto",
    weights: Sequence[float] | None = None,
    unmatched: float | None = None,
    progress: Progress | None = None,
) -> Matching:
    """Match the queries of one picture with true boxes.

    Args:
        checkpoint: a key of `core.checkpoints`; "auto" is the one that Detect would use if that is
            a DETR, and otherwise the starter.
        boxes: [x1, y1, x2, y2, label] each, in pixels; the label is a class name or number. None:
            the model's own confident detections, slightly moved.
        weights: of class, L1 and GIoU in the cost, 0 to 20; as published if None.
        unmatched: as in `loss`, 0 to 1.

    Raises:
        InputError: the checkpoint is no DETR, or an argument is wrong.
        CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    found = detect.inside(picture, checkpoint, progress)
    if found.kind == "dense" and checkpoint == "auto":
        found = detect.inside(picture, STARTER, progress)
    if found.kind == "dense":
        raise InputError(
            "This detector answers at every place of the picture, so a true box is not matched "
            "with one query; choose a DETR, such as the starter DETR."
        )
    assert found.kind != "words"  # `inside` refuses those
    kind: Kind = found.kind
    chosen = checked_weights(WEIGHTS[kind] if weights is None else weights)
    if unmatched is not None:
        unmatched = checks.number(unmatched, "The weight of unmatched queries", 0, 1)
    given, labels = start(found) if boxes is None else truths(boxes, found)
    centred = overlaps.cxcywh(given)
    parts = costs(found.logits, found.boxes, centred, labels, kind)
    pairs = assign(parts.total(chosen))
    lost = loss(found.logits, found.boxes, centred, labels, pairs, kind, unmatched)
    return Matching(found, given, labels, parts, *pairs, chosen, lost)


def checked_weights(weights: Any) -> tuple[float, float, float]:
    """Three numbers, 0 to 20, not all of them 0.

    Raises:
        InputError: otherwise.
    """
    if not isinstance(weights, (list, tuple)) or len(weights) != 3:
        raise InputError("Give three weights: of the class, the L1 and the GIoU cost.")
    one, two, three = (checks.number(value, "A weight", 0, 20) for value in weights)
    if not one + two + three:
        raise InputError("At least one weight must be above 0, or all assignments cost the same.")
    return one, two, three


def start(found: detect.Inside) -> tuple[Array, NDArray[np.int64]]:
    """Up to six plausible true boxes (T, 4), xyxy in 0..1, and their classes (T,): the confident
    detections without copies, or else the best, each moved a little in its own way."""
    answers, scores, labels = found.answers(0.0)
    boxes = answers.astype(np.float64)
    chosen: list[int] = []
    for i in range(max(1, int((scores > _START).sum()))):
        if not np.any(overlaps.iou(boxes[[i]], boxes[chosen]) > _COPY):
            chosen.append(i)
    boxes, labels = boxes[chosen[:6]], labels[chosen[:6]]
    shares = boxes / np.array([*found.size, *found.size])
    sides = np.tile(np.maximum(shares[:, 2:] - shares[:, :2], 0.02), 2)
    moved = shares + np.random.default_rng(7).uniform(-0.08, 0.08, shares.shape) * sides
    low = np.clip(moved[:, :2], 0, 0.98)
    return np.concatenate([low, np.clip(moved[:, 2:], low + 0.02, 1)], 1), labels


def truths(boxes: Any, found: detect.Inside) -> tuple[Array, NDArray[np.int64]]:
    """(T, 4) boxes, xyxy in 0..1, and (T,) class numbers of [x1, y1, x2, y2, label] in pixels.

    Raises:
        InputError: a box or label is wrong.
    """
    if not isinstance(boxes, (list, tuple)) or len(boxes) > _MOST_BOXES:
        raise InputError(
            f"Give the true boxes as a list of [x1, y1, x2, y2, label], at most {_MOST_BOXES}."
        )
    w, h = found.size
    rows, labels = np.zeros((len(boxes), 4)), np.zeros(len(boxes), dtype=np.int64)
    for i, box in enumerate(boxes):
        if not isinstance(box, (list, tuple)) or len(box) != 5:
            raise InputError(f"True box {i + 1} must be [x1, y1, x2, y2, label].")
        rows[i] = [checks.number(value, f"A corner of true box {i + 1}") for value in box[:4]]
        x1, y1, x2, y2 = rows[i]
        if not (0 <= x1 < x2 <= w and 0 <= y1 < y2 <= h):
            raise InputError(
                f"True box {i + 1} must lie in the picture, 0 to {w} and 0 to {h}, with x1 < x2 "
                "and y1 < y2."
            )
        labels[i] = _label(box[4], found)
    return rows / np.array([w, h, w, h]), labels


def classes(found: detect.Inside) -> dict[int, str]:
    """The classes that a true box can have, by their number."""
    count = found.logits.shape[1] - (found.kind == "softmax")
    return {i: found.labels.get(i, f"class {i}") for i in range(count)}


def _label(value: Any, found: detect.Inside) -> int:
    known = classes(found)
    if isinstance(value, str):
        for number, name in known.items():
            if name.lower() == value.strip().lower():
                return number
        raise InputError(
            f"The checkpoint knows no class {value[:40]!r}; /detect lists its classes."
        )
    return checks.whole(value, "The number of a class", 0, len(known) - 1)
