"""Everything mode of Segment: all masks of a grid of points, or those of them that are things."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import closing

from core import images
from core.imaging import things
from core.sam import grid, models
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
    """Prompt with a grid of points and keep the masks that are sure, stable and not doubled.

    A generator that yields a `GridStep` after each batch of points, with the masks that hold so
    far, and can be closed between batches; it returns (masks, RunInfo). All masks, largest first,
    are those of `SamAutomaticMaskGenerator.generate` with the same settings and no crops.

    Args:
        points_per_side: 2 to 64.
        pred_iou_thresh, stability_score_thresh: 0..1; None for those of the checkpoint.
        min_area: holes and islands of fewer pixels are removed, and masks that are smaller.
        points_per_batch: None for what suits the size of the picture. Halved when memory runs out.
        only_things: of these masks those that are things and not ground, best first
            (`core.imaging.things`). None: where the checkpoint is a starter, which needs it.
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
    """What everything mode asks of a mask by default: predicted IoU and stability (0..1), and
    whether it must be a thing."""
    with runtime.run("segment", checkpoint, _build) as run:
        only_things = run.lease.resolved.tier == "starter"
        extra = _candidates(run) if only_things else run.lease.built.extra
        return float(extra["pred_iou_thresh"]), float(extra["stability_score_thresh"]), only_things


def _candidates(run: runtime.Run) -> Mapping[str, float]:
    """The thresholds of masks among which things are looked for."""
    if run.lease.resolved.tier == "starter":
        return things.CANDIDATES
    extra: Mapping[str, float] = run.lease.built.extra
    return extra


def everything_steps(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    progress: Progress | None = None,
    *,
    only_things: bool | None = False,
) -> Generator[float, None, Everything]:
    """`everything_stream` that yields only the share done (0..1)."""
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
    """`everything_steps` run to its end."""
    steps = everything_steps(image, checkpoint, points_per_side, only_things=only_things)
    return runtime.finish(steps)
