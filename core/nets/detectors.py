"""Build a detector from its file: one of transformers, one on the trunk, or one of torchvision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch

from core.errors import CheckpointError
from core.nets import anchored, detector, phrases, transforms, trunk
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Resolved
from core.types import RGB

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
Kind = Literal["softmax", "sigmoid", "dense", "words"]


@dataclass(frozen=True, slots=True)
class Detector:
    """What a detector needs beside its network.

    `labels` are its classes by their number; `kind` tells how to read the logits
    (`core.detect.Inside`).
    `transform` makes (1, 3, h, w) of (H, W, 3) uint8; a network on the trunk has a `view` instead.
    One of kind "words" has no classes but a `reader` of what the user types.
    """

    labels: dict[int, str]
    kind: Kind
    transform: Callable[[RGB], torch.Tensor] | None = None
    view: trunk.View | None = None
    reader: phrases.Reader | None = None


def build(resolved: Resolved) -> Built[Detector]:
    """The network of a resolved file, the names of its classes, and how it sees a picture.

    Raises:
        CheckpointError: the file does not fit.
    """
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
    transform = _transform(settings)
    if answers == "words":
        reader = phrases.reader(resolved.path, config.max_text_len)
        return Built(model, Detector({}, answers, transform, reader=reader))
    labels = {int(i): name for i, name in (config.id2label or {}).items()}
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


def _transform(settings: dict[str, Any]) -> Callable[[RGB], torch.Tensor]:
    size, mean, std = settings["size"], settings["mean"], settings["std"]
    if "shortest_edge" in size:
        # YOLOS reads whole patches only.
        patch = int(settings["detr"].get("patch_size", 1))
        return transforms.detr_transform(size, mean, std, patch)
    if size["height"] != size["width"]:
        raise CheckpointError(
            "Detect reads square inputs only, not {height} x {width}.".format(**size)
        )
    if settings["detr"].get("model_type") == "rf_detr":
        return transforms.sampled_transform(size["height"], mean, std)
    return transforms.square_transform(size["height"], mean, std)


def _config(resolved: Resolved) -> dict[str, Any]:
    """The config.json (and processor's) beside a full file."""
    config = state_dicts.config_beside(resolved.path)
    processor = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    size = processor.get("size")
    kind = config.get("model_type", "detr")
    # DETR's successors squeeze the picture and do not normalise it.
    squared = kind not in ("detr", "yolos", phrases.KIND)
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
    "rf_detr": ("RfDetr", "sigmoid"),
    "yolos": ("Yolos", "softmax"),
    phrases.KIND: ("GroundingDino", "words"),
}
