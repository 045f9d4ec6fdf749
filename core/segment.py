"""Promptable segmentation with Segment Anything (Kirillov et al., 2023), through segment_anything.

The heavy image encoder runs once per picture and its embedding is kept as a value; every click then
runs only the light prompt encoder and mask decoder. `SamPredictor` keeps the last picture it saw,
so a new one is made for each request and given the embedding: nothing is shared between users.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import images, runtime, state_dicts, transforms
from core.errors import CheckpointError, InputError
from core.prompts import Points, parse_box, parse_points
from core.runtime import Built
from core.types import Masks, PointPrompts, RunInfo
from core.weights import Progress, Resolved

if TYPE_CHECKING:
    from segment_anything import SamPredictor

POINTS_PER_BATCH = 16  # 64, the library's default, takes 2 GB more and is no faster on a CPU
BATCH_PIXELS = 32_000_000  # points times pixels that are decoded at once: 1.2 GB of masks
# What everything mode keeps, as the library has it. A starter, which is less sure of its masks and
# draws them less sharply, says its own in the `everything` of its header.
THRESHOLDS = {"pred_iou_thresh": 0.88, "stability_score_thresh": 0.95}
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)
Steps = Generator[float, None, list["Mask"]]


@dataclass(frozen=True, slots=True)
class Embedding:
    """What the image encoder gave: `features` (1, C, h, w) on the device.

    `input_size` is (h, w) of the resized picture, `original_size` (H, W) of the upright one.
    """

    features: torch.Tensor
    input_size: tuple[int, int]
    original_size: tuple[int, int]

    @property
    def nbytes(self) -> int:
        return self.features.numel() * self.features.element_size()


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One mask of everything mode: `box` xyxy pixels; `score` (predicted IoU), `stability` 0..1.

    `counts` are lengths of runs down the columns, outside and inside by turns: a picture has
    hundreds of masks, which as arrays would fill the memory. `size` is (H, W).
    """

    counts: tuple[int, ...]
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    score: float
    stability: float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, made anew each time."""
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(self.size[::-1]).T

    @property
    def area(self) -> int:
        """Pixels inside."""
        return sum(self.counts[1::2])


def embed(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> RunInfo:
    """Run the image encoder now, so that the first click finds its embedding."""
    rgb = transforms.refuse_narrow(images.from_any(image))
    with runtime.run("segment", checkpoint, _build, progress) as run:
        _embedding(run, rgb)
        return run.info()


def predict(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
    multimask: bool = True,
    mask_input: NDArray[np.float32] | None = None,
    progress: Progress | None = None,
) -> Masks:
    """Masks for point and box prompts, best predicted IoU first.

    Args:
        points: [x, y, label] each, pixels of the upright picture; label 1 include, 0 exclude.
        box: [x1, y1, x2, y2] in pixels, or None.
        multimask: three masks while the prompt is one point (whole, part, sub-part); one otherwise,
            where a prompt is no longer ambiguous.
        mask_input: (1, h, w) low-resolution logits of an earlier answer, to refine it.

    Raises:
        InputError: no prompt, a point outside the picture, a box without area, logits that are
            not this checkpoint's.
        CheckpointError, OutOfMemory.
    """
    rgb = transforms.refuse_narrow(images.from_any(image))
    prompts = parse_points(points, rgb.shape[:2])
    corners = parse_box(box, rgb.shape[:2])
    if not len(prompts.points) and corners is None:
        raise InputError("Click a point on the picture or draw a box first.")
    ambiguous = multimask and len(prompts.points) == 1 and corners is None
    with runtime.run("segment", checkpoint, _build, progress) as run:
        _check_mask_input(mask_input, run.lease.built.module)
        embedding = _embedding(run, rgb)
        with run.watch.stage("decode"):
            masks, scores, low_res = _decode(
                run.lease.built.module, embedding, prompts, corners, mask_input, ambiguous
            )
        return Masks(masks, scores, run.info(), low_res)


def _decode(
    sam: Any,
    embedding: Embedding,
    prompts: PointPrompts,
    box: NDArray[np.float32] | None,
    mask_input: NDArray[np.float32] | None,
    multimask: bool,
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Masks (K, H, W), scores (K,) descending and low-resolution logits (K, h, w)."""
    predictor, some = injected(sam, embedding), len(prompts.points) > 0
    masks, scores, low_res = runtime.forward(
        lambda: predictor.predict(
            prompts.points if some else None,
            prompts.labels if some else None,
            box,
            mask_input,
            multimask_output=multimask,
        ),
        full_precision=True,  # it is light, and masks are cut off at exactly 0
    )
    if not np.all(np.isfinite(scores)):
        raise CheckpointError("The model answered with values that are not numbers.")
    order = np.argsort(-scores, kind="stable")
    return masks[order], scores[order].astype(np.float32), low_res[order]


def everything_steps(
    image: images.ImageLike,
    checkpoint: str = "auto",
    points_per_side: int = 16,
    progress: Progress | None = None,
) -> Generator[float, None, tuple[list[Mask], RunInfo]]:
    """Prompt with a grid of points and keep the masks that are sure, stable and not doubled.

    A generator that yields the fraction done after each batch of points, so that it can be
    cancelled between batches; it returns (masks, largest first; RunInfo). Equal to
    `SamAutomaticMaskGenerator.generate` with the same grid.
    """
    if not 2 <= points_per_side <= 64:
        raise InputError("Points per side must lie between 2 and 64.")
    rgb = transforms.refuse_narrow(images.from_any(image))
    with runtime.run("segment", checkpoint, _build, progress) as run:
        embedding = _embedding(run, rgb)
        masks = yield from _grid_masks(run, embedding, int(points_per_side))
        return sorted(masks, key=lambda mask: -mask.area), run.info()


def everything(
    image: images.ImageLike, checkpoint: str = "auto", points_per_side: int = 16
) -> tuple[list[Mask], RunInfo]:
    """`everything_steps` run to its end."""
    return runtime.finish(everything_steps(image, checkpoint, points_per_side))


def _check_mask_input(mask_input: NDArray[np.float32] | None, sam: Any) -> None:
    if mask_input is None:
        return
    expected = (1, *sam.prompt_encoder.mask_input_size)
    if mask_input.shape != expected or not np.all(np.isfinite(mask_input)):
        raise InputError(f"The earlier mask must be finite logits of shape {expected}.")


def injected(sam: Any, embedding: Embedding) -> SamPredictor:
    """A new predictor of this request's own, as if `set_image` had run on the picture."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.features = embedding.features
    predictor.input_size = embedding.input_size
    predictor.original_size = embedding.original_size
    predictor.is_image_set = True
    return predictor


def _embedding(run: runtime.Run, rgb: images.RGB) -> Embedding:
    def encode() -> Embedding:
        from segment_anything import SamPredictor

        predictor = SamPredictor(run.lease.built.module)

        def set_image() -> None:
            with run.autocast():
                predictor.set_image(rgb)

        with run.watch.stage("encode"):
            runtime.forward(set_image)
        features = predictor.features.float()
        return Embedding(features, predictor.input_size, predictor.original_size)

    return run.output(("embedding", images.digest(rgb)), encode, "embedding")


def _grid_masks(run: runtime.Run, embedding: Embedding, points_per_side: int) -> Steps:
    from segment_anything import SamAutomaticMaskGenerator
    from segment_anything.utils.amg import MaskData, batch_iterator
    from torchvision.ops import batched_nms

    sam, (h, w) = run.lease.built.module, embedding.original_size
    generator = SamAutomaticMaskGenerator(
        sam,
        points_per_side=points_per_side,
        pred_iou_thresh=run.lease.built.extra["pred_iou_thresh"],
        stability_score_thresh=run.lease.built.extra["stability_score_thresh"],
    )
    generator.predictor = injected(sam, embedding)
    grid = generator.point_grids[0] * np.array([[w, h]])
    data, done = MaskData(), 0
    for (points,) in batch_iterator(points_per_batch(h, w), grid):
        with run.watch.stage("decode"):
            # `generate` itself cannot be stopped half-way, and would encode the picture again.
            batch = runtime.forward(
                partial(generator._process_batch, points, (h, w), [0, 0, w, h], (h, w)),
                full_precision=True,
                long=True,
            )
        data.cat(batch)
        done += len(points)
        yield done / len(grid)
    boxes = data["boxes"].float()
    one_class = torch.zeros(len(boxes), device=boxes.device)
    data.filter(batched_nms(boxes, data["iou_preds"], one_class, generator.box_nms_thresh))
    data.to_numpy()
    return [
        Mask(tuple(rle["counts"]), (h, w), tuple(box.tolist()), float(score), float(stability))
        for rle, box, score, stability in zip(
            data["rles"], data["boxes"], data["iou_preds"], data["stability_score"], strict=True
        )
    ]


def points_per_batch(height: int, width: int) -> int:
    """How many points of everything mode are decoded at once on a picture of that many pixels."""
    return max(1, min(POINTS_PER_BATCH, BATCH_PIXELS // (height * width)))


def _build(resolved: Resolved) -> Built:
    config = state_dicts.starter_config(resolved.path, "segment")
    if config is not None:
        from core.models import sam as small

        thresholds = {**THRESHOLDS, **config.get("everything", {})}
        return _filled(lambda: small.build(**config["sam"]), resolved, thresholds)
    from segment_anything import sam_model_registry

    if resolved.checkpoint.arch not in ("vit_b", "vit_l", "vit_h"):
        raise CheckpointError(f"{resolved.path.name} is not a SAM ViT-B, ViT-L or ViT-H file.")
    return _filled(sam_model_registry[resolved.checkpoint.arch], resolved, THRESHOLDS)


def _filled(create: Callable[[], Any], resolved: Resolved, thresholds: dict[str, float]) -> Built:
    with torch.device("meta"):
        model = create()
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    state_dicts.assign(model, state, resolved.path.name)
    # These two buffers are constants that no file holds, so they are still on `meta`.
    model.pixel_mean = torch.tensor(PIXEL_MEAN).view(-1, 1, 1)
    model.pixel_std = torch.tensor(PIXEL_STD).view(-1, 1, 1)
    return Built(model, thresholds)
