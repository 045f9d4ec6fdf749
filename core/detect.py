"""Object detection with DETR (Carion et al., 2020), through transformers.

Each of Q object queries decodes to one box and one class; the last class is "no object". No
non-maximum suppression is needed: the queries divide the objects among themselves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.nets import transforms
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Detections

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
QueryOutputs = tuple[NDArray[np.float32], NDArray[np.float32]]


def predict(
    image: images.ImageLike,
    checkpoint: str = "auto",
    threshold: float = 0.7,
    progress: Progress | None = None,
) -> Detections:
    """Objects in one picture, best first, with scores above `threshold` (0..1).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    threshold = checks.number(threshold, "The threshold", 0, 1)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    with runtime.run("detect", checkpoint, _build, progress) as run:
        queries = run.output(("queries", picture.digest), lambda: _queries(run, picture.pixels()))
        names = run.lease.built.extra["labels"]
        h, w = picture.size
        boxes, scores, classes = postprocess(*queries, threshold, (w, h))
        labels = tuple(names.get(int(c), f"class {c}") for c in classes)
        return Detections(boxes, scores, labels, (w, h), run.info())


def postprocess(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """DETR's post-processing: softmax, best class except "no object", threshold, cxcywh to pixels.

    Args:
        logits: (Q, C + 1). boxes: (Q, 4) cxcywh in 0..1. size: (W, H) of the original picture.

    Returns:
        (N, 4) boxes clipped to the picture, (N,) scores descending, (N,) class indices.
    """
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = shifted / shifted.sum(-1, keepdims=True)  # (Q, C + 1)
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
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
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


def _queries(run: runtime.Run, rgb: images.RGB) -> QueryOutputs:
    with run.watch.stage("prepare"):
        x = run.lease.built.extra["transform"](rgb)  # (1, 3, h, w)

    def queries(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = run.lease.built.module(pixel_values=batch)
        return out.logits.float(), out.pred_boxes.float()

    with run.watch.stage("forward"):
        # Only pictures of one size share a pass: padding to a common size would move the boxes.
        out = run.batched(queries, x)  # (1, Q, C + 1), (1, Q, 4)
    logits, boxes = out[0][0].numpy(), out[1][0].numpy()
    if not (np.all(np.isfinite(logits)) and np.all(np.isfinite(boxes))):
        raise checks.not_numbers()
    return logits, boxes  # (Q, C + 1), (Q, 4)


def _build(resolved: Resolved) -> Built:
    from transformers import DetrConfig, DetrForObjectDetection

    settings = _config(resolved)
    config = DetrConfig.from_dict(settings["detr"])
    config.auxiliary_loss = False  # for training only, and it changes the forward pass
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    model = state_dicts.from_pretrained(DetrForObjectDetection, config, state, resolved.path.name)
    transform = transforms.detr_transform(settings["size"], settings["mean"], settings["std"])
    labels = {int(i): name for i, name in (config.id2label or {}).items()}
    return Built(model, {"labels": labels, "transform": transform})


def _config(resolved: Resolved) -> dict[str, Any]:
    """The header of a starter's file, or the config.json (and processor's) beside a full one."""
    starter = state_dicts.starter_config(resolved.path, "detect")
    if starter is not None:
        return starter
    config = state_dicts.config_beside(resolved.path)
    processor = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    size = processor.get("size")
    if not isinstance(size, dict) or "shortest_edge" not in size:
        # Older files hold one number, and the longest edge separately.
        shortest = size if isinstance(size, int) else 800
        size = {"shortest_edge": shortest, "longest_edge": processor.get("max_size", 1333)}
    return {
        "detr": config,
        "size": size,
        "mean": processor.get("image_mean", IMAGENET_MEAN),
        "std": processor.get("image_std", IMAGENET_STD),
    }
