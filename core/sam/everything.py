"""Everything mode of Segment: all masks from a grid of points, or only the things among them."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing

from core import images
from core.imaging import things
from core.sam import grid, models
from core.sam.engines import Segmenter
from core.sam.models import build as _build
from core.serving import runtime
from core.sources.resolver import Progress
from core.types import GridStep, Mask, RunInfo

Everything = tuple[list[Mask], RunInfo]


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
    only_things: bool | None = False,
) -> Generator[GridStep, None, Everything]:
    """Prompt with a grid of points and keep masks that are confident, stable and not duplicates.

    A generator that yields a `GridStep` after each batch of points, with the masks kept so far, and
    can be closed between batches; it returns (masks, RunInfo). All masks, largest first, equal
    those of `SamAutomaticMaskGenerator.generate` with the same settings and no crops.

    Args:
        points_per_side: 2 to 64.
        pred_iou_thresh, stability_score_thresh: 0..1; None uses the checkpoint's own.
        min_area: smaller holes, islands and masks are removed, in pixels.
        points_per_batch: None picks one for the picture's size. Halved when memory runs out.
        only_things: keep only things, not ground, best first (`core.imaging.things`). None: only
        for starters, which need it.
    """
    options = grid.GridOptions(
        points_per_side, pred_iou_thresh, stability_score_thresh, min_area, points_per_batch
    )
    picture = models.picture(image)
    with runtime.run("segment", checkpoint, _build, progress) as run:
        embedding = models.embedding(run, picture)
        starter = run.lease.resolved.tier == "starter"
        if not (starter if only_things is None else only_things):
            masks = yield from grid.steps(run, embedding, options)
            return sorted(masks, key=lambda mask: -mask.area), run.info()
        selection = things.Selection(picture.pixels())
        steps = grid.steps(run, embedding, options.with_defaults(_candidates(run)))
        with closing(steps):
            while True:
                try:
                    step = next(steps)
                except StopIteration as stop:
                    return selection.of(stop.value), run.info()
                yield GridStep(step.done, tuple(selection.of(step.masks)))


def everything_defaults(checkpoint: str = "auto") -> tuple[float, float, bool]:
    """Everything mode's default thresholds for predicted IoU and stability (0..1), and whether a
    mask must be a thing."""
    with runtime.run("segment", checkpoint, _build) as run:
        only_things = run.lease.resolved.tier == "starter"
        limits = _candidates(run)
        return (
            float(limits["pred_iou_thresh"]),
            float(limits["stability_score_thresh"]),
            only_things,
        )


def _candidates(run: runtime.Run[Segmenter]) -> Mapping[str, float]:
    """The thresholds for masks that are then searched for things."""
    if run.lease.resolved.tier == "starter":
        return things.CANDIDATES
    return run.extra.thresholds


def everything_steps(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    progress: Progress | None = None,
    *,
    only_things: bool | None = False,
) -> Generator[float, None, Everything]:
    """`everything_stream` that yields only the fraction done (0..1)."""
    stream = everything_stream(
        image, checkpoint, points_per_side, progress, only_things=only_things
    )
    with closing(stream):
        while True:
            try:
                step = next(stream)
            except StopIteration as stop:
                return stop.value
            yield step.done


def everything(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    *,
    only_things: bool | None = False,
) -> Everything:
    """Run `everything_steps` to its end."""
    steps = everything_steps(image, checkpoint, points_per_side, only_things=only_things)
    return runtime.finish(steps)
