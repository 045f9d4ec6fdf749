"""Everything mode: prompt with a grid of points, keep confident, stable masks without duplicates.

The filters and duplicate removal are those of segment_anything's `SamAutomaticMaskGenerator`
without crops. Its `generate` cannot be stopped half-way, would encode the picture again and holds
all masks of a batch at full size, so the grid is processed here batch by batch, mask by mask.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from core import checks
from core.errors import OutOfMemory
from core.imaging import regions
from core.sam import masks as sam_masks
from core.sam.engines import Embedding, Engine, Segmenter, Size
from core.serving import runtime
from core.types import GridStep, Mask

# The library's thresholds. A starter is less confident and draws less sharply, so its file's header
# carries its own under `everything`.
THRESHOLDS = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95}
POINTS_PER_BATCH = 16  # the library's 64 takes 2 GB more and is no faster on CPUs
BATCH_PIXELS = 32_000_000  # points times pixels per batch: jobs are cancelled between batches
BOX_NMS_THRESH = 0.7  # if boxes overlap more, the higher score stays
Steps = Generator[GridStep, None, list[Mask]]


@dataclass(frozen=True, slots=True)
class GridOptions:
    """`points_per_side` 2..64; `min_area` in pixels (0: leave masks unchanged).

    None means the checkpoint's own thresholds (0..1), and a batch size that suits the picture.
    """

    points_per_side: int
    pred_iou_thresh: float | None = None
    stability_score_thresh: float | None = None
    min_area: float = 0
    points_per_batch: int | None = None

    def __post_init__(self) -> None:
        side = checks.whole(self.points_per_side, "The number of points per side", 2, 64)
        object.__setattr__(self, "points_per_side", side)
        for threshold in (self.pred_iou_thresh, self.stability_score_thresh):
            if threshold is not None:
                checks.number(threshold, "A threshold of everything mode", 0, 1)
        checks.number(self.min_area, "The smallest area", low=0, unit="pixels")
        if self.points_per_batch is not None:
            batch = checks.whole(self.points_per_batch, "The number of points per batch", 1, 1024)
            object.__setattr__(self, "points_per_batch", batch)

    def with_defaults(self, thresholds: Mapping[str, float]) -> GridOptions:
        """Fill in these thresholds where none were given."""
        missing = {name: thresholds[name] for name in THRESHOLDS if getattr(self, name) is None}
        return replace(self, **missing)  # type: ignore[arg-type]


def points_per_batch(height: int, width: int) -> int:
    """How many points to decode at once on a picture of that many pixels."""
    return max(1, min(POINTS_PER_BATCH, BATCH_PIXELS // (height * width)))


def steps(run: runtime.Run[Segmenter], embedding: Embedding, options: GridOptions) -> Steps:
    """Yield one `GridStep` after each batch of points; return the masks, most confident first.

    Running out of memory halves the batch and continues at the same point.

    Raises:
        OutOfMemory: not even one point fits.
    """
    from segment_anything.utils.amg import build_point_grid

    height, width = embedding.original_size
    settings = _settings(run.extra.thresholds, options)
    grid = build_point_grid(options.points_per_side) * np.array([[width, height]])
    kept, masks = _Kept(options.min_area), []
    done, size = 0, options.points_per_batch or points_per_batch(height, width)
    while done < len(grid):
        points = grid[done : done + size]
        try:
            with run.watch.stage("decode"):
                found = _batch(run.extra.engine, embedding, points, settings)
        except OutOfMemory:
            if size == 1:
                raise
            size = size // 2
            continue
        done += len(points)
        masks = kept.add(found)
        yield GridStep(done / len(grid), tuple(masks))
    return masks


def _settings(own: Mapping[str, float], options: GridOptions) -> dict[str, float]:
    """The requested thresholds, and the checkpoint's own for the rest."""
    given = {name: getattr(options, name) for name in THRESHOLDS}
    return {name: own[name] if given[name] is None else given[name] for name in THRESHOLDS}


def _batch(
    engine: Engine, embedding: Embedding, points: np.ndarray, settings: dict[str, float]
) -> list[Mask]:
    """Confident, stable masks of (B, 2) points xy, as the library's `_process_batch`."""
    size, device = embedding.original_size, embedding.features[-1].device

    def compute() -> list[Mask]:
        coords = torch.as_tensor(engine.to_frame(points, size), device=device)[:, None]  # (B, 1, 2)
        labels = torch.ones(coords.shape[:2], dtype=torch.int, device=device)
        low_res, scores = engine.decode(embedding, coords, labels, None, None, True)
        low_res, scores = low_res.flatten(0, 1), scores.flatten()  # (3 B, h, w), (3 B,)
        found = []
        for i, score in enumerate(scores.tolist()):
            if settings["pred_iou_thresh"] <= 0 or score > settings["pred_iou_thresh"]:
                logits = engine.on_picture(low_res[i : i + 1][None], size)[0, 0]
                mask = _stable(logits, engine.mask_threshold, score, size, settings)
                found += [mask] if mask else []
        return found

    return runtime.forward(compute, full_precision=True, long=True)


def _stable(
    logits: torch.Tensor, threshold: float, score: float, size: Size, settings: dict[str, float]
) -> Mask | None:
    """The mask of (h', w') logits on the picture; None if it is not stable enough."""
    drawn = np.empty(size, bool, order="F")
    stability = sam_masks.draw(logits, drawn, threshold)
    if settings["stability_score_thresh"] > 0 and stability < settings["stability_score_thresh"]:
        return None
    counts = regions.runs(drawn)
    return Mask(counts, size, regions.box(counts, size), score, float(stability))


class _Kept:
    """All masks from the batches so far, and which of them are kept."""

    def __init__(self, min_area: float) -> None:
        self._min_area = min_area
        self._found: list[Mask] = []
        self._cleaned: dict[int, Mask] = {}

    def add(self, found: list[Mask]) -> list[Mask]:
        """Add a batch of masks and return those kept so far."""
        self._found += found
        sure = _nms(_boxes(self._found), torch.tensor([mask.score for mask in self._found]))
        if self._min_area <= 0:
            return [self._found[i] for i in sure]
        return self._without_small(sure)

    def _without_small(self, sure: list[int]) -> list[Mask]:
        """Like `postprocess_small_regions`: among duplicates, prefer masks that needed no cleaning.

        Unlike the library, also drops masks that are small as a whole.
        """
        for i in sure:
            if i not in self._cleaned:
                self._cleaned[i] = _cleaned(self._found[i], self._min_area)
        masks = [self._cleaned[i] for i in sure]
        untouched = [float(mask is self._found[i]) for mask, i in zip(masks, sure, strict=True)]
        kept = [masks[i] for i in _nms(_boxes(masks), torch.tensor(untouched))]
        return [mask for mask in kept if mask.area >= self._min_area]


def _boxes(masks: list[Mask]) -> torch.Tensor:
    return torch.tensor([mask.box for mask in masks]).reshape(-1, 4)


def _nms(boxes: torch.Tensor, scores: torch.Tensor) -> list[int]:
    from torchvision.ops import batched_nms

    return batched_nms(boxes, scores, torch.zeros(len(boxes)), BOX_NMS_THRESH).tolist()


def _cleaned(found: Mask, min_area: float) -> Mask:
    """Remove small holes and islands; returns `found` itself if there are none."""
    whole = found.mask
    mask = regions.remove_small(whole, min_area)
    if mask is whole:
        return found
    counts = regions.runs(mask)
    return replace(found, counts=counts, box=regions.box(counts, found.size))
