"""Promptable segmentation with Segment Anything (Kirillov et al., 2023).

The heavy image encoder runs once per picture and its embedding is kept as a value; every click then
runs only the light prompt encoder and mask decoder, and what those gave is kept too. Nothing of a
request stays on a model, so users share models and never pictures.

    predict             masks for points and a box; refinement from click to click
    embed               the encoder's pass alone, as soon as a picture is in
    everything_stream   masks of a grid of points, as they come; everything_steps, everything

A page passes an `images.Picture`, so that a click neither decodes nor hashes the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import torch

from core import images, regions, runtime, sam_clicks, sam_engines, sam_grid, state_dicts
from core.errors import CheckpointError, InputError
from core.prompts import Points, parse_box, parse_points
from core.runtime import Built
from core.sam_clicks import Clicks, Logits
from core.sam_engines import Embedding, Engine, SamEngine
from core.sam_grid import POINTS_PER_BATCH, points_per_batch
from core.transforms import refuse_narrow_size
from core.types import GridStep, Mask, Masks, RunInfo
from core.weights import Progress, Resolved

__all__ = [
    "POINTS_PER_BATCH",
    "Embedding",
    "GridStep",
    "Mask",
    "embed",
    "everything",
    "everything_steps",
    "everything_stream",
    "points_per_batch",
    "predict",
]

MAX_REFINING = 64  # clicks of which each refines the mask before
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
Everything = tuple[list[Mask], RunInfo]


def embed(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> RunInfo:
    """Run the image encoder now, so that the first click finds its embedding.

    Args:
        progress: told of a download, and then how far the encoder's pass is.
    """
    picture = _picture(image)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        _embedding(run, picture, progress)
        return run.info()


def predict(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
    multimask: bool = True,
    mask_input: Logits | None = None,
    progress: Progress | None = None,
    *,
    refine: int | None = None,
    min_area: float = 0,
    max_side: int | None = None,
) -> Masks:
    """Masks for point and box prompts, best predicted IoU first.

    Args:
        points: [x, y, label] each, pixels of the upright picture; label 1 include, 0 exclude.
        box: [x1, y1, x2, y2] in pixels, or None.
        multimask: three masks (whole, part, sub-part) while the prompt is a single point, one
            otherwise, where a prompt is no longer ambiguous.
        mask_input: (1, h, w) low-resolution logits of an earlier answer, to refine it.
        refine: every click refines the mask that the clicks before it gave, whose low-resolution
            logits go back into the model; the box, where there is one, comes first. The number
            says which of the three masks of the first click was meant (0 without a choice). The
            logits are found again in the store or computed anew: the answer depends on the
            prompts alone. None: each answer is given from all prompts at once.
        min_area: holes and islands of fewer pixels are removed from the masks.
        max_side: the masks are drawn on the picture shrunk to this longest side, which is quicker
            where they are only looked at; None for the picture's own size.

    Raises:
        InputError: no prompt, a point outside the picture, a box without area, logits that are
            not this checkpoint's, a value out of range.
        CheckpointError, OutOfMemory.
    """
    picture = _picture(image)
    prompts, corners = parse_points(points, picture.size), parse_box(box, picture.size)
    if not len(prompts.points) and corners is None:
        raise InputError("Click a point on the picture or draw a box first.")
    _check_options(len(prompts.points), mask_input, refine, min_area)
    view = picture.size if max_side is None else _shrunk(picture.size, max_side)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        _check_mask_input(mask_input, run.lease.built.extra["engine"])
        clicks = Clicks(
            run, picture.digest, picture.size, corners, multimask, lambda: _embedding(run, picture)
        )
        if refine is None:
            low_res, scores = clicks.answer(prompts, mask_input)
        else:
            low_res, scores = clicks.refined(prompts, refine)
        run.cache.setdefault("embedding", "hit")  # a kept answer needs none
        with run.watch.stage("decode"):
            masks, stability = sam_clicks.enlarged(
                clicks.engine, low_res, picture.size, view, min_area
            )
        names = regions.names_by_area([int(np.count_nonzero(mask)) for mask in masks])
        return Masks(masks, scores.copy(), run.info(), low_res.copy(), stability, names)


def everything_stream(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    progress: Progress | None = None,
    *,
    pred_iou_thresh: float | None = None,
    stability_score_thresh: float | None = None,
    min_area: float = 0,
    points_per_batch: int | None = None,
) -> Generator[GridStep, None, Everything]:
    """Prompt with a grid of points and keep the masks that are sure, stable and not doubled.

    A generator that yields a `GridStep` after each batch of points, with the masks that hold so
    far, and can be closed between batches; it returns (masks, largest first; RunInfo). Equal to
    `SamAutomaticMaskGenerator.generate` with the same settings and no crops.

    Args:
        points_per_side: 2 to 64.
        pred_iou_thresh, stability_score_thresh: 0..1; None for those of the checkpoint.
        min_area: holes and islands of fewer pixels are removed, and masks that are smaller.
        points_per_batch: None for what suits the size of the picture. Halved when memory runs out.
    """
    options = sam_grid.GridOptions(
        points_per_side, pred_iou_thresh, stability_score_thresh, min_area, points_per_batch
    )
    picture = _picture(image)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        embedding = _embedding(run, picture)
        masks = yield from sam_grid.steps(run, embedding, options)
        return sorted(masks, key=lambda mask: -mask.area), run.info()


def everything_steps(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    progress: Progress | None = None,
) -> Generator[float, None, Everything]:
    """`everything_stream` that yields only the share done (0..1)."""
    stream = everything_stream(image, checkpoint, points_per_side, progress)
    with closing(stream):
        while True:
            try:
                step = next(stream)
            except StopIteration as stop:
                return stop.value
            yield step.done


def everything(
    image: images.ImageLike, checkpoint: str = "auto", points_per_side: int = 16
) -> Everything:
    """`everything_steps` run to its end."""
    return runtime.finish(everything_steps(image, checkpoint, points_per_side))


def _picture(image: images.ImageLike) -> images.Picture:
    picture = images.picture(image)
    refuse_narrow_size(*picture.size)
    return picture


def _check_options(
    points: int, mask_input: Logits | None, refine: int | None, min_area: float
) -> None:
    if not 0 <= min_area < float("inf"):
        raise InputError("The smallest area must be a number of pixels, 0 or more.")
    if refine is None:
        return
    if refine not in (0, 1, 2):
        raise InputError("The mask to refine must be 0, 1 or 2.")
    if mask_input is not None:
        raise InputError("Give either refine or mask_input, not both.")
    if points > MAX_REFINING:
        raise InputError(f"At most {MAX_REFINING} clicks can refine one another; clear some.")


def _check_mask_input(mask_input: Logits | None, engine: Engine) -> None:
    if mask_input is None:
        return
    expected = (1, *engine.mask_input_size())
    if mask_input.shape != expected or not np.all(np.isfinite(mask_input)):
        raise InputError(f"The earlier mask must be finite logits of shape {expected}.")


def _shrunk(size: tuple[int, int], max_side: int) -> tuple[int, int]:
    """(H, W) of `images.resize_max`."""
    if not max_side >= 1:
        raise InputError("The longest side of the masks must be at least one pixel.")
    factor = min(1.0, max_side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _embedding(
    run: runtime.Run, picture: images.Picture, progress: Progress | None = None
) -> Embedding:
    engine: Engine = run.lease.built.extra["engine"]

    def tell(done: float) -> None:
        if progress is not None:
            progress(done, "Reading the picture")

    def encode() -> Embedding:
        rgb = picture.pixels()

        def compute() -> tuple[torch.Tensor, ...]:
            with sam_engines.followed(engine.blocks(), tell):
                return engine.encode(rgb)

        with run.watch.stage("encode"):
            features = runtime.forward(compute)
        return Embedding(tuple(part.float() for part in features), picture.size)

    return run.output(("embedding", picture.digest), encode, "embedding")


def _build(resolved: Resolved) -> Built:
    config = state_dicts.starter_config(resolved.path, "segment")
    if config is not None:
        from core.models import sam as small

        thresholds = {**sam_grid.THRESHOLDS, **config.get("everything", {})}
        return _filled(lambda: small.build(**config["sam"]), resolved, thresholds)
    from segment_anything import sam_model_registry

    if resolved.checkpoint.arch not in ("vit_b", "vit_l", "vit_h"):
        raise CheckpointError(f"{resolved.path.name} is not a SAM ViT-B, ViT-L or ViT-H file.")
    return _filled(sam_model_registry[resolved.checkpoint.arch], resolved, sam_grid.THRESHOLDS)


def _filled(create: Callable[[], Any], resolved: Resolved, thresholds: dict[str, float]) -> Built:
    with torch.device("meta"):
        model = create()
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    state_dicts.assign(model, state, resolved.path.name)
    # These two buffers are constants that no file holds, so they are still on `meta`.
    model.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    model.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return Built(model, {**thresholds, "engine": SamEngine(model)})
