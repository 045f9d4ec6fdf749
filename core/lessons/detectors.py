"""Two to four detectors on the same picture: their boxes, costs, and where they agree.

Two boxes are one object if both have the same class and overlap enough. Each box is paired with at
most one of another detector, so that most pairs result, of the surest boxes (the Hungarian
algorithm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from core import checks, detect, images
from core.imaging import overlaps
from core.sources import resolver, several
from core.sources.resolver import Progress
from core.types import RunInfo

DENSE, QUERIES = "detect-cnn-starter", "detect-starter"
LOWEST = 0.05  # a box with a lower score is noise
# Data sets spell some classes in two ways.
_SAME = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorcycle": "motorbike",
    "couch": "sofa",
    "pottedplant": "potted plant",
    "tvmonitor": "tv",
}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one detector says of the picture.

    `boxes` (N, 4) xyxy in pixels, `scores` (N,) and `labels` are what Detect answers with, best
    first. `params` are those of its own network and `shared` those of the trunk that it reads, 0
    if it reads none; `seconds` of the pass when it ran. `needs_nms` says whether copies of an
    object are dropped afterwards.
    """

    title: str
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    params: int
    shared: int
    seconds: float
    licence: str
    needs_nms: bool
    info: RunInfo

    def above(self, threshold: float) -> Answer:
        """The same with the boxes whose score is above `threshold`."""
        some = self.scores > threshold
        labels = tuple(name for name, is_in in zip(self.labels, some, strict=True) if is_in)
        return replace(self, boxes=self.boxes[some], scores=self.scores[some], labels=labels)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The answers; `found_by`, for each answer (N,) how many detectors found what is in each box;
    and (n, n) `agreement`, of two answers twice the objects that they share over the boxes of both.
    `size` is (W, H)."""

    answers: tuple[Answer, ...]
    found_by: tuple[NDArray[np.int64], ...]
    agreement: NDArray[np.float32]
    size: tuple[int, int]


def other(key: str) -> str:
    """A detector of the other kind, with or without NMS, that needs no download."""
    if key in (DENSE, QUERIES):
        return QUERIES if key == DENSE else DENSE
    return QUERIES if resolver.find(key, "detect").loader == "torchvision" else DENSE


def look(
    image: images.ImageLike,
    checkpoints: Sequence[str] = (),
    threshold: float = 0.5,
    iou: float = 0.5,
    progress: Progress | None = None,
) -> Comparison:
    """The boxes of two to four detectors on one picture; one forward pass each, which is kept.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoints: keys of `core.checkpoints`; none for the two starters.
        threshold: boxes with a lower score are left out, 0 to 1.
        iou: boxes of a class that overlap by as much are the same object, 0 to 1.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: not two to four checkpoints, or one twice, or a number is out of range.
        CheckpointError, OutOfMemory.
    """
    threshold = checks.number(threshold, "The threshold", 0, 1)
    iou = checks.number(iou, "The IoU", 0, 1)
    keys = several.chosen(checkpoints, "detect", (DENSE, QUERIES), "detectors")
    picture = images.picture(image)
    answers = tuple(_answer(picture, key, progress).above(threshold) for key in keys)
    height, width = picture.size
    return Comparison(answers, *together(answers, iou), (width, height))


def together(
    answers: Sequence[Answer], iou: float
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.float32]]:
    """`found_by` and `agreement` of a `Comparison`."""
    count = len(answers)
    found_by = [np.ones(len(one.labels), dtype=np.int64) for one in answers]
    agreement = np.eye(count, dtype=np.float32)
    for i in range(count):
        for j in range(i + 1, count):
            mine, theirs = pairs(answers[i], answers[j], iou)
            found_by[i][mine] += 1
            found_by[j][theirs] += 1
            boxes = len(answers[i].labels) + len(answers[j].labels)
            agreement[i, j] = agreement[j, i] = 2 * len(mine) / boxes if boxes else 1.0
    return tuple(found_by), agreement


def pairs(a: Answer, b: Answer, iou: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of the boxes of `a` and of `b` that show the same objects."""
    overlap = overlaps.iou(a.boxes.astype(np.float64), b.boxes.astype(np.float64))
    mine, theirs = ([spelled(name) for name in one.labels] for one in (a, b))
    alike = np.array([[one == other for other in theirs] for one in mine], dtype=bool)
    fits = alike.reshape(overlap.shape) & (overlap >= iou)
    sure = np.outer(a.scores.astype(np.float64), b.scores.astype(np.float64))
    rows, columns = linear_sum_assignment(np.where(fits, -1 - sure, 0.0))
    some = fits[rows, columns]
    return rows[some], columns[some]


def spelled(label: str) -> str:
    """The usual spelling of a class, so that names of two data sets can be compared."""
    return _SAME.get(label.lower(), label.lower())


def _answer(picture: images.Picture, key: str, progress: Progress | None) -> Answer:
    inside = detect.inside(picture, key, progress)
    boxes, scores, numbers = inside.answers(0.0)
    names = tuple(inside.labels.get(int(c), f"class {c}") for c in numbers)
    own, shared = detect.parameters(inside.info.checkpoint)
    known = resolver.find(inside.info.checkpoint, "detect")
    return Answer(
        known.title or known.key, boxes, scores, names, own, shared, inside.seconds,
        known.licence, inside.kind == "dense", inside.info,
    )  # fmt: skip
