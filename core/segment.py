"""Promptable segmentation with Segment Anything (Kirillov et al., 2023).

The heavy image encoder runs once per picture and its embedding is stored as a value; each click
runs only the light prompt encoder and mask decoder, whose outputs are stored too. No request leaves
state on a model, so users share models but never pictures.

    predict             masks for points and a box; refinement from click to click
    embed               the encoder's pass alone, as soon as a picture arrives
    everything_stream   masks from a grid of points, as they come; everything_steps, everything
    click_gains, features, embedding_picture, parts    for learners

The page passes an `images.Picture`, so that a click neither decodes nor hashes the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core import checks, images
from core.errors import InputError
from core.imaging import regions
from core.imaging.prompts import Points, parse_box, parse_points
from core.imaging.sizes import fitted
from core.sam import clicks as sam_clicks
from core.sam import insight, models, shapes
from core.sam.clicks import Clicks, Logits
from core.sam.engines import Embedding, Engine
from core.sam.everything import everything, everything_defaults, everything_steps, everything_stream
from core.sam.grid import POINTS_PER_BATCH, points_per_batch
from core.sam.insight import ClickGain, Part
from core.sam.models import build as _build
from core.serving import runtime
from core.sources.resolver import Progress
from core.types import GridStep, Mask, Masks, RunInfo

__all__ = [
    "POINTS_PER_BATCH",
    "Embedding",
    "GridStep",
    "Mask",
    "click_gains",
    "embed",
    "embedding_picture",
    "everything",
    "everything_defaults",
    "everything_steps",
    "everything_stream",
    "features",
    "parts",
    "points_per_batch",
    "predict",
]

MAX_REFINING = 64  # the longest chain of refining clicks


def embed(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> RunInfo:
    """Run the image encoder now, so that the first click finds its embedding.

    Args:
        progress: called during a download, and then with the encoder's progress.
    """
    picture = models.picture(image)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        models.embedding(run, picture, progress)
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
        multimask: three masks of different sizes while the prompt is a single point, one otherwise,
        when the prompt is no longer ambiguous.
        mask_input: (1, h, w) low-resolution logits of an earlier answer, to refine it.
        refine: each click refines the mask of the clicks before it, whose low-resolution logits go
        back into the model; the box, if any, comes first. The number picks one of the three masks
        of the first click (0 if there is no choice). Logits come from the store or are computed
        again: the result depends on the prompts alone. None: all prompts are used at once.
        min_area: smaller holes and islands are removed from the masks, in pixels.
        max_side: draw masks on the picture shrunk to this longest side, which is faster if they are
        only displayed; None for full size.

    Raises:
        InputError: no prompt, a point outside the picture, a box without area, logits that are
            not this checkpoint's, a value out of range.
        CheckpointError, OutOfMemory.
    """
    multimask = checks.flag(multimask, "multimask")
    picture = models.picture(image)
    prompts, corners = parse_points(points, picture.size), parse_box(box, picture.size)
    if not len(prompts.points) and corners is None:
        raise InputError("Click a point on the picture or draw a box first.")
    _check_options(len(prompts.points), mask_input, refine, min_area)
    view = picture.size if max_side is None else _shrunk(picture.size, max_side)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        _check_mask_input(mask_input, run.extra.engine)
        clicks = Clicks(
            run,
            picture.digest,
            picture.size,
            corners,
            multimask,
            lambda: models.embedding(run, picture),
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


def click_gains(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
    *,
    refine: int | None = None,
    reference: NDArray[np.bool_] | None = None,
    max_side: int | None = 1024,
) -> list[ClickGain]:
    """Which click helped: the change made by the box and then by each point, in order.

    Args:
        refine: as in `predict`; also picks the mask to follow of a first click's three.
        reference: (H, W) bool, the desired mask; each step then has its true IoU.
        max_side: IoU is taken on masks of this longest side; None for the picture's own size.

    Raises:
        InputError: as `predict`; or the reference differs in size from the picture.
    """
    picture = models.picture(image)
    if reference is not None and reference.shape != picture.size:
        raise InputError("The reference mask's size differs from the picture's.")
    first = 1 if box is None else 0
    answers = []
    for count in range(first, max(first, len(points)) + 1):
        found = predict(picture, points[:count], box, checkpoint, refine=refine, max_side=max_side)
        meant = min(refine or 0, len(found.masks) - 1)
        answers.append((found.masks[meant], float(found.scores[meant])))
    return insight.click_gains(answers, reference, first)


def features(
    image: images.ImageLike, checkpoint: str = "auto"
) -> tuple[NDArray[np.float32], RunInfo]:
    """The embedding, (C, rows, columns): one vector for each place that lies on the picture."""
    picture = models.picture(image)
    with runtime.run("segment", checkpoint, _build) as run:
        embedding = models.embedding(run, picture)
        engine = run.extra.engine
        rows, columns = engine.places(embedding)
        found = embedding.features[-1][0, :, :rows, :columns].float().cpu().numpy()
        return found, run.info()


def embedding_picture(image: images.ImageLike, checkpoint: str = "auto") -> images.RGB:
    """The embedding as colours: its three principal components, (rows, columns, 3) uint8.

    One pixel for each place of the embedding on the picture; similar colours are places that the
    encoder describes similarly.
    """
    return insight.pca_picture(features(image, checkpoint)[0])


def parts(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
) -> list[Part]:
    """The tensors of prompt encoder and mask decoder for this prompt, from the loaded model.

    `core.sam.diagram.svg` draws them.
    """
    picture = models.picture(image)
    prompts, corners = parse_points(points, picture.size), parse_box(box, picture.size)
    with runtime.run("segment", checkpoint, _build) as run:
        embedding = models.embedding(run, picture)
        clicks = Clicks(run, picture.digest, picture.size, corners, True, lambda: embedding)
        return shapes.read(clicks, embedding, prompts)


def _check_options(
    points: int, mask_input: Logits | None, refine: int | None, min_area: float
) -> None:
    checks.number(min_area, "The smallest area", low=0, unit="pixels")
    if refine is None:
        return
    checks.whole(refine, "The mask to refine", 0, 2)
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
    checks.number(max_side, "The longest side of the masks", low=1, unit="pixels")
    return fitted(size, max_side)
