"""From a file to a SAM for `core.segment`, and from a picture to its embedding."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from core import images
from core.errors import CheckpointError
from core.nets.transforms import refuse_narrow
from core.sam import engines, grid
from core.sam.engines import Embedding, SamEngine, Segmenter
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved

PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
HEAVY = 0.5  # encoder seconds from which reading a picture is a long step


def picture(image: images.ImageLike) -> images.Picture:
    """The caller's picture, unless it is too narrow for the encoder."""
    named = images.picture(image)
    refuse_narrow(*named.size)
    return named


def embedding(
    run: runtime.Run[Segmenter], picture: images.Picture, progress: Progress | None = None
) -> Embedding:
    """The picture's embedding; encoded if it is not stored, once at a time.

    Args:
        progress: called with the encoder's progress.
    """
    kept, engine = run.extra, run.extra.engine

    def tell(done: float) -> None:
        if progress is not None:
            progress(done, "Reading the picture")

    def encode() -> Embedding:
        rgb = picture.pixels()

        def compute() -> tuple[torch.Tensor, ...]:
            started = time.perf_counter()
            with run.autocast(), engines.followed(engine.blocks(), tell):
                features = engine.encode(rgb)
            kept.seconds = time.perf_counter() - started
            return features

        # With a large SAM on a CPU, one picture takes as long as a hundred clicks or
        # classifications, which need not wait for it.
        long = not 0 < kept.seconds < HEAVY
        with run.watch.stage("encode"):
            features = runtime.forward(compute, long=long)
        return Embedding(tuple(part.float() for part in features), picture.size)

    return run.output(("embedding", picture.digest), encode, "embedding")


def build(resolved: Resolved) -> Built[Segmenter]:
    """The network of a weight file, its engine and its thresholds for everything mode."""
    if resolved.checkpoint.loader == "transformers":
        from core.sam import hf_engines

        return hf_engines.build(resolved)
    config = state_dicts.starter_config(resolved.path, "segment")
    if config is not None:
        from core.nets import sam as small

        thresholds = {**grid.THRESHOLDS, **config.get("everything", {})}
        return _filled(lambda: small.build(**config["sam"]), resolved, thresholds)
    from segment_anything import sam_model_registry

    if resolved.checkpoint.arch not in ("vit_b", "vit_l", "vit_h"):
        raise CheckpointError(f"{resolved.path.name} is not a SAM ViT-B, ViT-L or ViT-H file.")
    return _filled(sam_model_registry[resolved.checkpoint.arch], resolved, grid.THRESHOLDS)


def _filled(
    create: Callable[[], Any], resolved: Resolved, thresholds: dict[str, float]
) -> Built[Segmenter]:
    with torch.device("meta"):
        model = create()
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    state_dicts.assign(model, state, resolved.path.name)
    # These two buffers are constants that are in no file, so they are still on `meta`.
    model.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    model.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    _speed_up(model.image_encoder)
    return Built(model, Segmenter(SamEngine(model), thresholds))


def _speed_up(encoder: torch.nn.Module) -> None:
    try:
        from core.sam import attention
    except ImportError:  # a version with other layer names
        return
    attention.speed_up(encoder)
