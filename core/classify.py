"""Image classification through timm: Vision Transformers (Dosovitskiy et al., 2021), a CNN, and a
hybrid that reads the maps of that CNN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.errors import CheckpointError
from core.nets import heads, transforms, trunk
from core.nets.heads import Maps
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Classification, RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What `inside` found: tensors (1, …) on the CPU, facts about the model, and the part of the
    picture that it saw, (x1, y1, x2, y2) in pixels."""

    tensors: tuple[torch.Tensor, ...]
    facts: Any
    seen: tuple[float, float, float, float]
    info: RunInfo


def predict(
    image: images.ImageLike,
    checkpoint: str = "auto",
    top_k: int = 5,
    temperature: float = 1.0,
    progress: Progress | None = None,
) -> Classification:
    """The `top_k` most probable classes of one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        top_k: 1 or more; values above the number of classes return all of them.
        temperature: divides the logits before the softmax, 0.05 to 100; above 1 is flatter.
        progress: called during a download with (fraction, message).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    top_k = checks.whole(top_k, "The number of classes (top_k)", low=1)
    temperature = checks.number(temperature, "The temperature", 0.05, 100)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    maps = Maps(picture.pixels, progress)

    def request() -> Classification:
        with runtime.run("classify", checkpoint, _build, progress) as run:
            logits = run.output(
                ("logits", picture.digest), lambda: _logits(run, picture.pixels(), maps)
            )
            maps.note(run)
            scores = softmax(logits / temperature)
            order = np.argsort(-scores, kind="stable")[:top_k]
            labels = run.lease.built.extra["labels"]
            names = tuple(labels[i] for i in order)
            doubt = _doubt(run, float(softmax(logits).max()))
            return Classification(names, scores[order].astype(np.float32), run.info(), doubt)

    return maps.serve(request)


def classes(checkpoint: str = "auto", progress: Progress | None = None) -> tuple[str, ...]:
    """The names of all classes that a checkpoint knows, in its own order.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("classify", checkpoint, _build, progress) as run:
        labels: tuple[str, ...] = run.lease.built.extra["labels"]
        return labels


def _doubt(run: runtime.Run, best: float) -> str:
    """A sentence if the best probability, at temperature 1, is that of a picture of none of the
    classes."""
    if best >= run.lease.resolved.checkpoint.unsure:
        return ""
    count = len(run.lease.built.extra["labels"])
    return (
        f"This is probably none of the {count:,} classes that the model knows: even the best gets "
        f"only {best:.0%}."
    )


def inside(
    image: images.ImageLike,
    checkpoint: str,
    name: str,
    compute: Callable[..., tuple[torch.Tensor, ...]],
    facts: Callable[[Any], Any],
    progress: Progress | None = None,
) -> Inside:
    """What happens inside a classifier on one picture, computed once and kept under `name`.

    Args:
        name: of the result in the output store; one for each `compute`.
        compute: from the model and its inputs (B, …) to tensors (B, …); it leaves no hook behind.
        facts: about the model; asked first, it may refuse the model with an error.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    maps = Maps(picture.pixels, progress)

    def request() -> Inside:
        with runtime.run("classify", checkpoint, _build, progress) as run:
            module, crop = run.lease.built.module, run.lease.built.extra.get("crop")
            known = facts(module)

            def passed() -> tuple[torch.Tensor, ...]:
                given = _inputs(run, picture.pixels(), maps)
                with run.watch.stage("forward"):
                    return run.batched(lambda *x: compute(module, *x), *given, same=name)

            tensors = run.output((name, picture.digest), passed)
            maps.note(run)
            return Inside(tensors, known, transforms.seen(picture.size, crop), run.info())

    return maps.serve(request)


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of (K,) logits."""
    shifted = np.exp(logits - logits.max())
    return shifted / shifted.sum()


def _logits(run: runtime.Run, rgb: images.RGB, maps: Maps) -> NDArray[np.float64]:
    if run.lease.resolved.checkpoint.loader == "trunk":
        logits = trunk.logits(run, trunk.features(run, rgb))  # (1, K)
    else:
        given = _inputs(run, rgb, maps)
        with run.watch.stage("forward"):
            (logits,) = run.batched(lambda *x: (run.lease.built.module(*x),), *given)  # (1, K)
    values = logits[0].double().numpy()
    if not np.all(np.isfinite(values)):
        raise checks.not_numbers()
    return values


def _inputs(run: runtime.Run, rgb: images.RGB, maps: Maps) -> tuple[torch.Tensor, ...]:
    """What the model takes: the picture (1, 3, s, s), or for a head the trunk's last map
    (1, 1280, r, r) and the mean (1, 1280) of another view."""
    view = run.lease.built.extra.get("view")
    if view is not None:
        return maps.of(run, view).head, maps.of(run, trunk.CLASSES).head.mean((2, 3))
    with run.watch.stage("prepare"):
        return (run.lease.built.extra["transform"](rgb),)


def _build(resolved: Resolved) -> Built:
    if resolved.checkpoint.loader == "trunk":
        return trunk.build(resolved)
    if resolved.checkpoint.loader == "torchvision":
        return _build_torchvision(resolved)
    config = state_dicts.starter_config(resolved.path, "classify")
    if config is not None:
        return _build_starter(resolved, config)
    return _build_timm(resolved)


def _build_starter(resolved: Resolved, config: dict[str, Any]) -> Built:
    from core.nets import vit

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
    labels = tuple(config["labels"])
    crop = config["crop_pct"]
    return Built(model, {"labels": labels, "transform": transform, "crop": crop})


def _build_hybrid(resolved: Resolved, config: dict[str, Any], view: trunk.View) -> Built:
    from core.nets import hybrid

    head = {f"head.{leaf}": weight for leaf, weight in trunk.class_layer().items()}
    model = _filled(lambda: hybrid.build(config["arch"]), resolved, head)
    return Built(model, {"labels": trunk.imagenet_names(), "view": view, "crop": view.crop})


def _build_timm(resolved: Resolved) -> Built:
    import timm
    from timm.data import resolve_model_data_config

    # A user's folder describes itself: its config holds class count, labels and transform.
    own = resolved.tier == "own" and resolved.path.with_name("config.json").is_file()
    name = f"local-dir:{resolved.path.parent}" if own else resolved.checkpoint.arch
    if not name:
        raise CheckpointError(f"{resolved.path.name} needs timm's config.json beside it.")
    model = _filled(lambda: timm.create_model(name), resolved)
    if not model.num_classes:
        raise CheckpointError(f"{resolved.path.name} has no classes, only features.")
    data_config = resolve_model_data_config(model)
    whole = data_config.get("crop_mode") == "squash"
    return Built(
        model,
        {
            "labels": _labels(model),
            "transform": transforms.timm_transform(data_config),
            "crop": None if whole else data_config["crop_pct"],
        },
    )


def _build_torchvision(resolved: Resolved) -> Built:
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
    return Built(model, {"labels": trunk.imagenet_names(), "transform": transform, "crop": crop})


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


def _labels(model: Any) -> tuple[str, ...]:
    """Labels from the file's config, ImageNet-1k names for 1,000 classes, or else numbers."""
    classes = int(model.num_classes)
    names = model.pretrained_cfg.get("label_names")
    if names and len(names) == classes:
        return tuple(names)
    if classes == 1000:
        return trunk.imagenet_names()
    return tuple(f"class {i}" for i in range(classes))
