"""Object detection: DETR (Carion et al., 2020) and its successors through transformers, and the
detectors on the trunk (`core.nets.detector`).

Each of a DETR's Q object queries decodes to one box and its classes. No non-maximum suppression is
needed: the queries divide the objects among themselves. A convolutional detector needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.errors import CheckpointError
from core.nets import detector, transforms, trunk
from core.nets.heads import Maps
from core.nets.postprocess import Found, postprocess, postprocess_nms, postprocess_sigmoid
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Detections, RunInfo

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Kind = Literal["softmax", "sigmoid", "dense"]
Arrays = tuple[NDArray[Any], ...]
#: From a network and its input (B, …) to logits (B, L, Q, C), boxes (B, L, Q, 4), and more.
Compute = Callable[[Any, torch.Tensor], tuple[torch.Tensor, ...]]


@dataclass(frozen=True, slots=True)
class Detector:
    """What a detector needs beside its network.

    `labels` are its classes by their number; `kind` tells how to read the logits (`Inside`).
    `transform` makes (1, 3, h, w) of (H, W, 3) uint8; a network on the trunk has a `view` instead.
    """

    labels: dict[int, str]
    kind: Kind
    transform: Callable[[images.RGB], torch.Tensor] | None = None
    view: trunk.View | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What a detector predicts for one picture before anything is left out.

    `layers_logits` (L, Q, C) and `layers_boxes` (L, Q, 4) cxcywh in 0..1 are those after each of L
    decoder layers, the last of which is the answer; L is 1 where the model gives no others.
    `kind` tells how to read the logits: "softmax" with "no object" as the last class, "sigmoid",
    or "dense", sigmoids at every token of a pyramid, whose maps have `levels` (rows, columns),
    finest first. `labels` are the names of the classes by their number. `size` is (W, H).
    """

    layers_logits: NDArray[np.float32]
    layers_boxes: NDArray[np.float32]
    kind: Kind
    labels: dict[int, str]
    levels: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    info: RunInfo

    @property
    def logits(self) -> NDArray[np.float32]:
        """(Q, C) of the last layer."""
        return self.layers_logits[-1]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(Q, 4) cxcywh in 0..1 of the last layer."""
        return self.layers_boxes[-1]

    def answers(self, threshold: float) -> Found:
        """The detections above `threshold`, as Detect gives them: `postprocess`."""
        return _POSTPROCESS[self.kind](self.logits, self.boxes, threshold, self.size)


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
    found, _ = _inside(picture, checkpoint, progress)
    boxes, scores, numbers = found.answers(threshold)
    labels = tuple(found.labels.get(int(c), f"class {c}") for c in numbers)
    return Detections(boxes, scores, labels, found.size, found.info)


def inside(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Inside:
    """All predictions of the forward pass that `predict` makes and keeps; no other pass is made.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    return _inside(picture, checkpoint, progress)[0]


def recorded(
    image: images.ImageLike,
    checkpoint: str,
    name: str,
    compute: Compute,
    accepts: Callable[[Any], object],
    progress: Progress | None = None,
) -> tuple[Inside, Arrays]:
    """As `inside`, of a pass of which `compute` keeps more; done once and kept under `name`.

    Args:
        name: of the result in the output store; one for each `compute`.
        compute: gives logits and boxes as `detector.by_layer`, then other tensors (B, …), which are
            returned without the batch; it leaves no hook behind.
        accepts: is given the network first, and may refuse it with an error.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    return _inside(picture, checkpoint, progress, name, compute, accepts)


def classes(checkpoint: str = "auto") -> tuple[str, ...]:
    """The names of the classes that a checkpoint knows.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        return tuple(dict.fromkeys(run.extra.labels.values()))


def _inside(
    picture: images.Picture,
    checkpoint: str,
    progress: Progress | None,
    name: str = "queries",
    compute: Compute = detector.by_layer,
    accepts: Callable[[Any], object] | None = None,
) -> tuple[Inside, Arrays]:
    """The prediction by layer, and what else `compute` returns, kept under `name`."""
    maps = Maps(picture.pixels, progress)

    def request() -> tuple[Inside, Arrays]:
        with runtime.run("detect", checkpoint, _build, progress) as run:
            if accepts is not None:
                accepts(run.model)
            view, kind, (h, w) = run.extra.view, run.extra.kind, picture.size

            def passed() -> Arrays:
                if view is not None:
                    return _tokens(run, maps.of(run, view), name, compute)
                return _queries(run, picture.pixels(), name, compute)

            logits, boxes, *more = run.output((name, picture.digest), passed)
            maps.note(run)
            dense = view is not None and kind == "dense"
            sides = [view.size // stride for stride in detector.LEVELS] if view and dense else []
            levels = tuple((side, side) for side in sides)
            found = Inside(logits, boxes, kind, run.extra.labels, levels, (w, h), run.info())
            return found, tuple(more)

    return maps.serve(request)


def _tokens(
    run: runtime.Run[Detector], maps: trunk.Features, name: str, compute: Compute
) -> Arrays:
    """What `compute` says of a network that begins with the trunk's maps."""

    def heads(*parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return compute(run.model, detector.pack(*parts))

    with run.watch.stage("forward"):
        return _checked(run.batched(heads, maps.head, maps.stride16, maps.stride8, same=name))


def _queries(run: runtime.Run[Detector], rgb: images.RGB, name: str, compute: Compute) -> Arrays:
    with run.watch.stage("prepare"):
        assert run.extra.transform is not None  # only networks on the trunk have none
        x = run.extra.transform(rgb)  # (1, 3, h, w)
    with run.watch.stage("forward"):
        # Only pictures of one size share a pass: padding to a common size would move the boxes.
        return _checked(run.batched(lambda batch: compute(run.model, batch), x, same=name))


def _checked(out: tuple[torch.Tensor, ...]) -> Arrays:
    """Without the batch: (L, Q, C) logits, (L, Q, 4) boxes, and the rest."""
    arrays = tuple(one[0].numpy() for one in out)
    if not all(np.all(np.isfinite(one)) for one in arrays[:2]):
        raise checks.not_numbers()
    return arrays


def _build(resolved: Resolved) -> Built[Detector]:
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
    return Built(model, Detector(labels, answers, transform))


def _build_on_trunk(resolved: Resolved, settings: dict[str, Any]) -> Built[Detector]:
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    with torch.device("meta"):
        model = detector.from_settings(settings)
    state_dicts.assign(model, state, resolved.path.name)
    labels = dict(enumerate(settings["classes"]))
    view = trunk.View(settings["trunk"]["size"], None, dilated=True)
    kind: Kind = "dense" if settings["kind"] == "cnn" else "sigmoid"
    return Built(model, Detector(labels, kind, view=view))


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


# By the model_type in config.json: the class in transformers, and how to read its answers.
_KINDS: dict[str, tuple[str, Kind]] = {
    "detr": ("Detr", "softmax"),
    "rt_detr": ("RTDetr", "sigmoid"),
    "rt_detr_v2": ("RTDetrV2", "sigmoid"),
    "d_fine": ("DFine", "sigmoid"),
    "yolos": ("Yolos", "softmax"),
}
_POSTPROCESS = {
    "softmax": postprocess,
    "sigmoid": postprocess_sigmoid,
    "dense": postprocess_nms,
}
