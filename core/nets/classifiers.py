"""Build a classifier from its file: a network of timm, a starter of our own, or the trunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from core.errors import CheckpointError
from core.nets import heads, transforms, trunk
from core.nets.trunk import Classifier
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Resolved


def build(resolved: Resolved) -> Built[Classifier]:
    """The network of a resolved file, the names of its classes, and how it sees a picture.

    Raises:
        CheckpointError: the file does not fit.
    """
    if resolved.checkpoint.loader == "trunk":
        return trunk.build(resolved)
    if resolved.checkpoint.loader == "torchvision":
        return _build_torchvision(resolved)
    config = state_dicts.starter_config(resolved.path, "classify")
    if config is not None:
        return _build_starter(resolved, config)
    return _build_timm(resolved)


def _build_starter(resolved: Resolved, config: dict[str, Any]) -> Built[Classifier]:
    from core.nets import vit

    if config.get("network") == "lenet":
        return _build_lenet(resolved, config)
    view = heads.view_of(config, resolved.path.name)
    if view is not None:
        return _build_hybrid(resolved, config, view)
    model = _filled(lambda: vit.build(config["arch"]), resolved)
    side = config["input_size"]
    data_config = {
        "input_size": (3, side, side),
        "mean": tuple(config["mean"]),
        "std": tuple(config["std"]),
        "crop_pct": config["crop_pct"],
        "interpolation": config["interpolation"],
    }
    transform = transforms.timm_transform(data_config)
    return Built(model, Classifier(tuple(config["labels"]), config["crop_pct"], transform))


def _build_hybrid(
    resolved: Resolved, config: dict[str, Any], view: trunk.View
) -> Built[Classifier]:
    from core.nets import hybrid

    head = {f"head.{leaf}": weight for leaf, weight in trunk.class_layer().items()}
    model = _filled(lambda: hybrid.build(config["arch"]), resolved, head)
    return Built(model, Classifier(trunk.imagenet_names(), view.crop, view=view))


def _build_lenet(resolved: Resolved, config: dict[str, Any]) -> Built[Classifier]:
    from core.nets import lenet

    labels = tuple(config["labels"])
    model = _filled(lambda: lenet.LeNet(len(labels)), resolved)
    return Built(model, Classifier(labels, 1.0, lenet.transform))


def _build_timm(resolved: Resolved) -> Built[Classifier]:
    import timm
    from timm.data import resolve_model_data_config

    # A user's folder describes itself: its config holds class count, labels and transform.
    own = resolved.tier == "own" and resolved.path.with_name("config.json").is_file()
    name = f"local-dir:{resolved.path.parent}" if own else resolved.checkpoint.arch
    if not name:
        raise CheckpointError(f"{resolved.path.name} needs timm's config.json beside it.")
    model = _filled(lambda: timm.create_model(name), resolved)
    if not model.num_classes and not resolved.checkpoint.features:
        raise CheckpointError(f"{resolved.path.name} has no classes, only features.")
    data_config = resolve_model_data_config(model)
    crop = None if data_config.get("crop_mode") == "squash" else data_config["crop_pct"]
    return Built(model, Classifier(labels_of(model), crop, transforms.timm_transform(data_config)))


def _build_torchvision(resolved: Resolved) -> Built[Classifier]:
    """AlexNet (Krizhevsky et al., 2012) and GoogLeNet (Szegedy et al., 2015)."""
    from torchvision import models

    arch = resolved.checkpoint.arch
    # As the library builds it for its own weights.
    options = {"transform_input": True, "init_weights": False} if arch == "googlenet" else {}
    model = _filled(lambda: models.get_model(arch, weights=None, **options), resolved)
    if arch == "googlenet":  # its two classifiers for training stay in the file
        model.aux_logits, model.aux1, model.aux2 = False, None, None
    crop = 224 / 256
    data_config = {
        "input_size": (3, 224, 224),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "crop_pct": crop,
        "interpolation": "bilinear",
    }
    transform = transforms.timm_transform(data_config)
    return Built(model, Classifier(trunk.imagenet_names(), crop, transform))


def _filled(
    create: Callable[[], torch.nn.Module],
    resolved: Resolved,
    shared: state_dicts.StateDict | None = None,
) -> Any:
    """Load the weight file into a model built on `meta`, where nothing is initialised.

    Args:
        shared: weights that the file leaves out, since another file has them.
    """
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own") | (shared or {})
    with torch.device("meta"):
        model = create()
    state_dicts.assign(model, state, resolved.path.name)
    if state_dicts.has_meta(model):  # e.g. Swin's constant tables, never saved
        model = state_dicts.assign(create(), state, resolved.path.name)
    return model


def labels_of(model: Any) -> tuple[str, ...]:
    """Labels from the file's config, ImageNet-1k names for 1,000 classes, or else numbers."""
    classes = int(model.num_classes)
    names = model.pretrained_cfg.get("label_names")
    if names and len(names) == classes:
        return tuple(names)
    if classes == 1000:
        return trunk.imagenet_names()
    return tuple(f"class {i}" for i in range(classes))
