"""Object detection: DETR (Carion et al., 2020) and its successors through transformers, the
detectors on the trunk (`core.nets.detector`), and torchvision's with anchors.

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
from core.nets import anchored, detector, transforms, trunk
from core.nets.anchored import Anchored, AnchoredNet
from core.nets.heads import Maps
from core.nets.postprocess import Found, postprocess, postprocess_nms, postprocess_sigmoid
from core.nets.timed import timed
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Detections, RunInfo

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Kind = Literal["softmax", "sigmoid", "dense"]
Arrays = tuple[NDArray[Any], ...]


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
    finest first. A dense detector with anchors has `anchored`; its logits (1, K, 1) and boxes
    are those of pairs of box and class. `labels` are the names of the classes by their number.
    `size` is (W, H). `seconds` are those of the pass when it ran, the trunk's included; preparing
    the picture is not.
    """

    layers_logits: NDArray[np.float32]
    layers_boxes: NDArray[np.float32]
    kind: Kind
    labels: dict[int, str]
    levels: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    info: RunInfo
    seconds: float = 0.0
    anchored: Anchored | None = None

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
        if self.anchored is not None:
            return self.anchored.answers(self.logits, self.boxes, threshold, self.size)
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
    found = _inside(picture, checkpoint, progress)
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
    return _inside(picture, checkpoint, progress)


def classes(checkpoint: str = "auto") -> tuple[str, ...]:
    """The names of the classes that a checkpoint knows.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        return tuple(dict.fromkeys(run.extra.labels.values()))


def parameters(checkpoint: str = "auto") -> tuple[int, int]:
    """How many a checkpoint's own network has, and the trunk that it reads (0: it reads none).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        own, view = sum(p.numel() for p in run.model.parameters()), run.extra.view
    if view is None:
        return own, 0
    with trunk.leased() as base:
        classes = {id(p) for p in base.model.get_classifier().parameters()}  # which it does not use
        return own, sum(p.numel() for p in base.model.parameters() if id(p) not in classes)


def _inside(picture: images.Picture, checkpoint: str, progress: Progress | None) -> Inside:
    maps = Maps(picture.pixels, progress)

    def request() -> Inside:
        with runtime.run("detect", checkpoint, _build, progress) as run:
            view, kind, (h, w) = run.extra.view, run.extra.kind, picture.size

            def compute() -> Arrays:
                if view is not None:
                    return _tokens(run, maps.of(run, view))
                return _queries(run, picture.pixels())

            logits, boxes, *more, spent = run.output(("queries", picture.digest), compute)
            maps.note(run)
            seconds, labels = float(spent[0]), run.extra.labels
            if isinstance(run.model, AnchoredNet):
                logits, boxes, pairs = anchored.read(logits, boxes, more, run.model.net)
                place = pairs.shapes, (w, h), run.info(), seconds, pairs
                return Inside(logits, boxes, kind, labels, *place)
            dense = view is not None and kind == "dense"
            sides = [view.size // stride for stride in detector.LEVELS] if view and dense else []
            levels = tuple((side, side) for side in sides)
            return Inside(logits, boxes, kind, labels, levels, (w, h), run.info(), seconds)

    return maps.serve(request)


def _tokens(run: runtime.Run[Detector], maps: trunk.Features) -> Arrays:
    """Logits and boxes of a network that begins with the trunk's maps."""
    module: Any = run.model

    def heads(*parts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return detector.by_layer(module, detector.pack(*parts))

    with run.watch.stage("forward"):
        out = run.batched(timed(heads), maps.head, maps.stride16, maps.stride8)
    *arrays, spent = _checked(out)
    return (*arrays, spent + maps.seconds)


def _queries(run: runtime.Run[Detector], rgb: images.RGB) -> Arrays:
    with run.watch.stage("prepare"):
        assert run.extra.transform is not None  # only networks on the trunk have none
        x = run.extra.transform(rgb)  # (1, 3, h, w)

    def queries(batch: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return detector.by_layer(run.model, batch)

    with run.watch.stage("forward"):
        # Only pictures of one size share a pass: padding to a common size would move the boxes.
        out = run.batched(timed(queries), x)  # (1, L, Q, C), (1, L, Q, 4), …
    return _checked(out)


def _checked(out: tuple[torch.Tensor, ...]) -> Arrays:
    """Without the batch: (L, Q, C) logits, (L, Q, 4) boxes, and the rest."""
    arrays = tuple(one[0].numpy() for one in out)
    if not all(np.all(np.isfinite(one)) for one in arrays[:2]):
        raise checks.not_numbers()
    return arrays


def _build(resolved: Resolved) -> Built[Detector]:
    if resolved.checkpoint.loader == "torchvision":
        return _build_anchored(resolved)
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


def _build_anchored(resolved: Resolved) -> Built[Detector]:
    arch = resolved.checkpoint.arch
    model = anchored.build(arch, state_dicts.read(resolved.path), resolved.path.name)
    prepared = transforms.rcnn_transform(model.net.transform)
    return Built(model, Detector(anchored.labels(arch), "dense", prepared))


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
