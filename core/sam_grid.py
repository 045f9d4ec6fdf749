"""Everything mode: prompt with a grid of points, keep masks that are sure, stable and not doubled.

The filters and the removal of doubles are those of segment_anything's `SamAutomaticMaskGenerator`
without crops. Its `generate` cannot be stopped half-way and would encode the picture again, so the
grid is walked here, batch by batch.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from core import regions, runtime
from core.errors import InputError, OutOfMemory
from core.sam_engines import Embedding, GridPredictor
from core.types import GridStep, Mask

# What is kept, as the library has it. A starter, which is less sure of its masks and draws them
# less sharply, says its own in the `everything` of its header.
THRESHOLDS = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95}
POINTS_PER_BATCH = 16  # 64, the library's default, takes 2 GB more and is no faster on a CPU
BATCH_PIXELS = 32_000_000  # points times pixels that are decoded at once: 1.2 GB of masks
BOX_NMS_THRESH = 0.7  # of two masks whose boxes overlap more, the surer one stays
Steps = Generator[GridStep, None, list[Mask]]


@dataclass(frozen=True, slots=True)
class GridOptions:
    """`points_per_side` 2..64; `min_area` in pixels (0: leave masks alone).

    None stands for the checkpoint's own thresholds (0..1), and for as many points in a batch as
    suit the size of the picture.
    """

    points_per_side: int
    pred_iou_thresh: float | None = None
    stability_score_thresh: float | None = None
    min_area: float = 0
    points_per_batch: int | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.points_per_side <= 64:
            raise InputError("Points per side must lie between 2 and 64.")
        for threshold in (self.pred_iou_thresh, self.stability_score_thresh):
            if threshold is not None and not 0 <= threshold <= 1:
                raise InputError("The thresholds of everything mode must lie between 0 and 1.")
        if not 0 <= self.min_area < float("inf"):
            raise InputError("The smallest area must be a number of pixels, 0 or more.")
        if self.points_per_batch is not None and not 1 <= self.points_per_batch <= 1024:
            raise InputError("Points per batch must lie between 1 and 1024.")

    def with_defaults(self, thresholds: Mapping[str, float]) -> GridOptions:
        """With these thresholds where none were given."""
        missing = {name: thresholds[name] for name in THRESHOLDS if getattr(self, name) is None}
        return replace(self, **missing)  # type: ignore[arg-type]


def points_per_batch(height: int, width: int) -> int:
    """How many points are decoded at once on a picture of that many pixels."""
    return max(1, min(POINTS_PER_BATCH, BATCH_PIXELS // (height * width)))


def steps(run: runtime.Run, embedding: Embedding, options: GridOptions) -> Steps:
    """One `GridStep` after each batch of points; returns the masks, surest first.

    Out of memory halves the batch and goes on from the same point.

    Raises:
        OutOfMemory: not even one point fits.
    """
    from segment_anything.utils.amg import build_point_grid

    height, width = embedding.original_size
    generator = _generator(run.lease.built.extra, embedding, options)
    grid = build_point_grid(options.points_per_side) * np.array([[width, height]])
    kept, masks = _Kept(options.min_area), []
    done, size = 0, options.points_per_batch or points_per_batch(height, width)
    while done < len(grid):
        points = grid[done : done + size]
        try:
            with run.watch.stage("decode"):
                batch = _batch(generator, points, (height, width))
        except OutOfMemory:
            if size == 1:
                raise
            size = size // 2
            continue
        done += len(points)
        masks = kept.add(batch, (height, width))
        del batch  # its tensors would wait with the generator
        yield GridStep(done / len(grid), tuple(masks))
    return masks


def _generator(extra: dict[str, Any], embedding: Embedding, options: GridOptions) -> Any:
    """The library's generator around this request's embedding; only its batch step is used."""
    from segment_anything import SamAutomaticMaskGenerator

    generator: Any = SamAutomaticMaskGenerator.__new__(SamAutomaticMaskGenerator)
    generator.predictor = GridPredictor(extra["engine"], embedding)  # not of a whole `Sam`
    for name in THRESHOLDS:
        given = getattr(options, name)
        setattr(generator, name, extra[name] if given is None else given)
    generator.stability_score_offset = 1.0
    return generator


def _batch(generator: Any, points: np.ndarray, size: tuple[int, int]) -> Any:
    """The library's MaskData of one batch."""
    crop = [0, 0, size[1], size[0]]
    return runtime.forward(
        lambda: generator._process_batch(points, size, crop, size),
        full_precision=True,
        long=True,
    )


def _masks(batch: Any, size: tuple[int, int]) -> list[Mask]:
    columns = (batch[name].tolist() for name in ("boxes", "iou_preds", "stability_score"))
    return [
        Mask(tuple(rle["counts"]), size, tuple(box), score, stability)
        for rle, box, score, stability in zip(batch["rles"], *columns, strict=True)
    ]


class _Kept:
    """All masks that the batches gave, and which of them hold."""

    def __init__(self, min_area: float) -> None:
        self._min_area = min_area
        self._found: list[Mask] = []
        self._boxes: list[torch.Tensor] = []
        self._scores: list[torch.Tensor] = []
        self._cleaned: dict[int, Mask] = {}

    def add(self, batch: Any, size: tuple[int, int]) -> list[Mask]:
        """Take in a batch; those of all masks so far that hold."""
        self._found += _masks(batch, size)
        self._boxes.append(batch["boxes"].float())
        self._scores.append(batch["iou_preds"])
        sure = _nms(torch.cat(self._boxes), torch.cat(self._scores))
        if self._min_area <= 0:
            return [self._found[i] for i in sure]
        return self._without_small(sure)

    def _without_small(self, sure: list[int]) -> list[Mask]:
        """As `postprocess_small_regions`: of doubles, masks that needed no cleaning are preferred.

        Masks that are small as a whole go, which the library keeps.
        """
        for i in sure:
            if i not in self._cleaned:
                self._cleaned[i] = _cleaned(self._found[i], self._min_area)
        masks = [self._cleaned[i] for i in sure]
        untouched = [float(mask is self._found[i]) for mask, i in zip(masks, sure, strict=True)]
        boxes = torch.tensor([mask.box for mask in masks]).reshape(-1, 4)
        kept = [masks[i] for i in _nms(boxes, torch.tensor(untouched))]
        return [mask for mask in kept if mask.area >= self._min_area]


def _nms(boxes: torch.Tensor, scores: torch.Tensor) -> list[int]:
    from torchvision.ops import batched_nms

    one_class = torch.zeros(len(boxes), device=boxes.device)
    return batched_nms(boxes.float(), scores, one_class, BOX_NMS_THRESH).tolist()


def _cleaned(found: Mask, min_area: float) -> Mask:
    """Without small holes and islands; `found` itself where it has none."""
    from segment_anything.utils.amg import batched_mask_to_box, mask_to_rle_pytorch

    whole = found.mask
    mask = regions.remove_small(whole, min_area)
    if mask is whole:
        return found
    stack = torch.as_tensor(np.ascontiguousarray(mask))[None]
    counts = tuple(mask_to_rle_pytorch(stack)[0]["counts"])
    x1, y1, x2, y2 = (float(v) for v in batched_mask_to_box(stack)[0].tolist())
    return replace(found, counts=counts, box=(x1, y1, x2, y2))
