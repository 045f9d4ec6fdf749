"""Object detection: DETR (Carion et al., 2020) and its successors through transformers, and the
detectors on the trunk (`core.nets.detector`).

Each of a DETR's Q object queries decodes to one box and its classes. No non-maximum suppression is
needed: the queries divide the objects among themselves. A convolutional detector needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.errors import CheckpointError
from core.nets import detector, transforms, trunk
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Detections

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CANDIDATES, NMS_IOU = 300, 0.6
QueryOutputs = tuple[NDArray[np.float32], NDArray[np.float32]]


class _NeedsMaps(Exception):  # no error: it asks for maps
    """The model begins with the trunk's maps of this view."""

    def __init__(self, view: trunk.View) -> None:
        super().__init__()
        self.view = view


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
    try:
        return _found(picture, checkpoint, threshold, progress)
    except _NeedsMaps as needed:
        # The trunk is loaded while this model is not held, so that either may make room.
        maps, _ = trunk.read(picture.pixels(), needed.view, progress)
    return _found(picture, checkpoint, threshold, progress, maps)


def classes(checkpoint: str = "auto") -> tuple[str, ...]:
    """The names of the classes that a checkpoint knows.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        return tuple(dict.fromkeys(run.lease.built.extra["labels"].values()))


def _found(
    picture: images.Picture,
    checkpoint: str,
    threshold: float,
    progress: Progress | None,
    maps: trunk.Features | None = None,
) -> Detections:
    with runtime.run("detect", checkpoint, _build, progress) as run:
        extra = run.lease.built.extra

        def compute() -> QueryOutputs:
            return _tokens(run, maps) if "view" in extra else _queries(run, picture.pixels())

        queries = run.output(("queries", picture.digest), compute)
        h, w = picture.size
        boxes, scores, found = extra["postprocess"](*queries, threshold, (w, h))
        labels = tuple(extra["labels"].get(int(c), f"class {c}") for c in found)
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


def postprocess_nms(
    logits: NDArray[np.float32],
    boxes: NDArray[np.float32],
    threshold: float,
    size: tuple[int, int],
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """The post-processing of a detector that predicts at every token: non-maximum suppression.

    Of the `CANDIDATES` best pairs of token and class, those are dropped that overlap a better one
    of their class by an IoU above `NMS_IOU`.

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
    return found[keep], best[keep], classes[keep]


def _tokens(run: runtime.Run, maps: trunk.Features | None) -> QueryOutputs:
    """Logits and boxes of a network that begins with the trunk's maps."""
    if maps is None:
        raise _NeedsMaps(run.lease.built.extra["view"])
    module: Any = run.lease.built.module

    def heads(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits, boxes = detector.answers(module, detector.pack(*parts))
        return logits.float(), boxes.float()

    with run.watch.stage("forward"):
        out = run.batched(heads, maps.head, maps.stride16, maps.stride8)
    return _checked(*out)


def _queries(run: runtime.Run, rgb: images.RGB) -> QueryOutputs:
    with run.watch.stage("prepare"):
        x = run.lease.built.extra["transform"](rgb)  # (1, 3, h, w)

    def queries(batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = run.lease.built.module(pixel_values=batch)
        return out.logits.float(), out.pred_boxes.float()

    with run.watch.stage("forward"):
        # Only pictures of one size share a pass: padding to a common size would move the boxes.
        out = run.batched(queries, x)  # (1, Q, C + 1), (1, Q, 4)
    return _checked(*out)


def _checked(logits_batch: torch.Tensor, boxes_batch: torch.Tensor) -> QueryOutputs:
    logits, boxes = logits_batch[0].numpy(), boxes_batch[0].numpy()
    if not (np.all(np.isfinite(logits)) and np.all(np.isfinite(boxes))):
        raise checks.not_numbers()
    return logits, boxes  # (Q, C + 1), (Q, 4)


def _build(resolved: Resolved) -> Built:
    starter = state_dicts.starter_config(resolved.path, "detect")
    if starter is not None and "trunk" in starter:
        return _build_on_trunk(resolved, starter)
    import transformers

    settings = starter or _config(resolved)
    kind = str(settings["detr"].get("model_type", "detr"))
    if kind not in _KINDS:
        raise CheckpointError(f"{resolved.path.name} is a {kind}, which Detect cannot read.")
    name, answers = _KINDS[kind]
    model_class = getattr(transformers, f"{name}ForObjectDetection")
    config = model_class.config_class.from_dict(settings["detr"])
    config.auxiliary_loss = False  # for training only, and it changes the forward pass
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    model = state_dicts.from_pretrained(model_class, config, state, resolved.path.name)
    labels = {int(i): name for i, name in (config.id2label or {}).items()}
    transform = _transform(settings)
    return Built(model, {"labels": labels, "transform": transform, "postprocess": answers})


def _build_on_trunk(resolved: Resolved, settings: dict[str, Any]) -> Built:
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    with torch.device("meta"):
        model = detector.from_settings(settings)
    state_dicts.assign(model, state, resolved.path.name)
    nms = settings["kind"] == "cnn"
    return Built(
        model,
        {
            "labels": dict(enumerate(settings["classes"])),
            "view": trunk.View(settings["trunk"]["size"], None, dilated=True),
            "postprocess": postprocess_nms if nms else postprocess_sigmoid,
        },
    )


def _transform(settings: dict[str, Any]) -> Callable[[images.RGB], torch.Tensor]:
    size, mean, std = settings["size"], settings["mean"], settings["std"]
    if "shortest_edge" in size:
        # YOLOS reads whole patches only.
        patch = int(settings["detr"].get("patch_size", 1))
        return transforms.detr_transform(size, mean, std, patch)
    if size["height"] != size["width"]:
        raise CheckpointError(
            "Detect reads square inputs only, not {height} x {width}.".format(**size)
        )
    return transforms.square_transform(size["height"], mean, std)


def _config(resolved: Resolved) -> dict[str, Any]:
    """The config.json (and processor's) beside a full file."""
    config = state_dicts.config_beside(resolved.path)
    processor = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    size = processor.get("size")
    kind = config.get("model_type", "detr")
    # DETR's successors squeeze the picture and do not normalise it.
    squared = kind not in ("detr", "yolos")
    if squared and not (isinstance(size, dict) and "height" in size):
        size = {"height": 640, "width": 640}
    if not isinstance(size, dict) or not {"shortest_edge", "height"} & set(size):
        # Older files hold one number, and the longest edge separately.
        shortest = size if isinstance(size, int) else 800
        size = {"shortest_edge": shortest, "longest_edge": processor.get("max_size", 1333)}
    plain = not processor.get("do_normalize", not squared)
    return {
        "detr": config,
        "size": size,
        "mean": (0.0,) * 3 if plain else processor.get("image_mean", IMAGENET_MEAN),
        "std": (1.0,) * 3 if plain else processor.get("image_std", IMAGENET_STD),
    }


# By the model_type in config.json: the class in transformers, and what reads its answers.
_KINDS = {
    "detr": ("Detr", postprocess),
    "rt_detr": ("RTDetr", postprocess_sigmoid),
    "rt_detr_v2": ("RTDetrV2", postprocess_sigmoid),
    "d_fine": ("DFine", postprocess_sigmoid),
    "yolos": ("Yolos", postprocess),
}
