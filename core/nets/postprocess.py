"""From what a detector's network gives for every query or token to its detections.

Each function takes logits and boxes (N, 4) cxcywh in 0..1 and returns (N, 4) xyxy boxes in pixels,
clipped to the picture, their scores, best first, and their class numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from core.imaging import overlaps

CANDIDATES, NMS_IOU = 300, 0.6
SAME_PLACE, WEAKER = 0.85, 0.7
Found = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def postprocess(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
) -> Found:
    """DETR's post-processing: softmax, best class except "no object", threshold, cxcywh to pixels.

    Args:
        logits: (Q, C + 1). boxes: (Q, 4) cxcywh in 0..1. size: (W, H) of the original picture.

    Returns:
        (N, 4) boxes clipped to the picture, (N,) scores descending, (N,) class indices.
    """
    probabilities = softmax(logits, axis=-1)  # (Q, C + 1)
    scores = probabilities[:, :-1].max(-1)  # (Q,)
    classes = probabilities[:, :-1].argmax(-1)  # (Q,)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > threshold]  # (N,)
    return corners(boxes[order], size), scores[order], classes[order]


def postprocess_sigmoid(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
) -> Found:
    """The post-processing of detectors whose classes are independent sigmoids, such as RT-DETR.

    There is no class "no object": a query can answer with several classes, and the Q best pairs of
    query and class are kept, as transformers' `RTDetrImageProcessor` does.

    Args:
        logits: (Q, C). boxes: (Q, 4) cxcywh in 0..1. size: (W, H) of the original picture.

    Returns:
        As `postprocess`.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))  # (Q, C)
    order = np.argsort(-scores, axis=None, kind="stable")[: len(logits)]
    order = order[scores.flat[order] > threshold]  # (N,) of Q * C
    queries, classes = np.divmod(order, scores.shape[1])
    found = scores.flat[order].astype(np.float32)
    return corners(boxes[queries], size), found, classes


def corners(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """(N, 4) cxcywh in 0..1 -> xyxy in pixels of a picture of `size` (W, H), clipped to it."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    limits = np.array([*size, *size], dtype=np.float32)
    found = np.concatenate([centre - half, centre + half], -1) * limits
    return np.clip(found, 0, limits).astype(np.float32)


def postprocess_nms(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
) -> Found:
    """The post-processing of a detector that predicts at every token: non-maximum suppression.

    Of the `CANDIDATES` best pairs of token and class, those are dropped that overlap a better one
    of their class by an IoU above `NMS_IOU`. Then those go that are clearly weaker than a box of
    another class in the same place: less than `WEAKER` of its score, IoU above `SAME_PLACE`.

    Args:
        logits: (N, C) of sigmoids. boxes: (N, 4) cxcywh in 0..1. size: (W, H) of the picture.

    Returns:
        As `postprocess`.
    """
    from torchvision.ops import batched_nms

    scores = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))  # (N, C)
    order = np.argsort(-scores, axis=None, kind="stable")[:CANDIDATES]
    order = order[scores.flat[order] > threshold]  # (K,) of N * C
    tokens, classes = np.divmod(order, scores.shape[1])
    found = corners(boxes[tokens], size)
    best = scores.flat[order].astype(np.float32)
    tensors = (torch.from_numpy(x) for x in (found, best, classes))
    keep = batched_nms(*tensors, NMS_IOU).numpy()
    return _without_rivals(found[keep], best[keep], classes[keep])


def _without_rivals(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], classes: NDArray[np.int64]
) -> Found:
    """What NMS within each class leaves: an animal that is also a "person" in the same place."""
    same = overlaps.iou(boxes.astype(np.float64), boxes.astype(np.float64)) > SAME_PLACE
    rivals = same & (classes[:, None] != classes) & (scores[:, None] < WEAKER * scores)
    keep = ~rivals.any(1)
    return boxes[keep], scores[keep], classes[keep]
