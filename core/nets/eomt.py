"""EoMT through transformers: a plain ViT whose queries are masks, here as a class for every pixel.

Each of Q queries gives one mask and its class. The score of a class at a pixel is the sum over the
queries of its probability times the mask's, as in the library's semantic post-processing. Two
things of one class are two masks of the network, but one class of the result.
Source: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F

from core.errors import CheckpointError
from core.imaging import bands
from core.sources import state_dicts
from core.sources.resolver import Resolved
from core.types import RGB

KIND = "eomt"  # as config.json names it
MOST_CLASSES = 254  # of a class map, whose class 0 is no class of the network


@dataclass(frozen=True, slots=True)
class Squares:
    """How the network sees a picture: in squares of `side` pixels, made by transformers' processor.

    With `split` the shorter side of the picture becomes the square's, and squares that overlap
    cover the longer one. Else the longer side does, and the rest of the square is padding.
    """

    processor: Any
    side: int
    split: bool

    def of(self, rgb: RGB) -> tuple[torch.Tensor, list[list[int]], tuple[int, int]]:
        """(N, 3, side, side), the begin and end of each on the longer side, and the size (h, w)
        of the picture that they cover."""
        from transformers.image_transforms import get_size_with_aspect_ratio

        longest = None if self.split else self.side
        height, width = get_size_with_aspect_ratio(rgb.shape[:2], self.side, longest)
        small = bands.resized(rgb, (width, height), Image.Resampling.BILINEAR)
        made = self.processor(small, do_resize=False, return_tensors="pt")
        places = [[int(n) for n in offset[1:]] for offset in made.get("patch_offsets", [])]
        return made["pixel_values"], places, (height, width)

    def joined(
        self, scores: torch.Tensor, places: list[list[int]], size: tuple[int, int]
    ) -> torch.Tensor:
        """(N, C, side, side) of the squares -> (C, h, w); where they overlap, the mean."""
        height, width = size
        if not places:
            return scores[0, :, :height, :width]
        total, count = scores.new_zeros(scores.shape[1], *size), scores.new_zeros(size)
        for score, (begin, end) in zip(scores, places, strict=True):
            along = slice(begin, end)
            part = (..., along, slice(None)) if height > width else (..., along)
            total[part] += score
            count[part] += 1
        return total / count.clamp(min=1)


def read(model: Any, squares: torch.Tensor) -> tuple[torch.Tensor]:
    """(B, 3, side, side) -> the score of each class at each pixel, (B, C, side, side)."""
    out = model(pixel_values=squares)
    masks = F.interpolate(out.masks_queries_logits, size=squares.shape[-2:], mode="bilinear")
    classes = out.class_queries_logits.softmax(-1)[..., :-1]  # the last is "no object"
    return (torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid()).float(),)


def build(resolved: Resolved) -> tuple[torch.nn.Module, tuple[str, ...], Squares]:
    """The network of a file with its config.json, its classes, and how it sees a picture.

    Raises:
        CheckpointError: the file does not fit.
    """
    from transformers import EomtConfig, EomtForUniversalSegmentation
    from transformers.models.eomt.image_processing_pil_eomt import EomtImageProcessorPil

    name, settings = resolved.path.name, state_dicts.config_beside(resolved.path)
    if settings.get("model_type") != KIND:
        raise CheckpointError(f"{name} is no network that gives every pixel a class.")
    config: Any = EomtConfig.from_dict(settings)
    if not isinstance(config.image_size, int) or config.num_labels > MOST_CLASSES:
        raise CheckpointError(
            f"{name} does not see squares, or has more than {MOST_CLASSES} classes."
        )
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    # A table of the loss, which no answer depends on; some versions save it, others do not.
    state.setdefault("criterion.empty_weight", torch.ones(config.num_labels + 1))
    model = state_dicts.from_pretrained(EomtForUniversalSegmentation, config, state, name)
    told = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    split = bool(told.get("do_split_image"))
    side = config.image_size
    given = {key: told[key] for key in ("image_mean", "image_std") if key in told}
    edges: Any = {"shortest_edge": side, "longest_edge": None if split else side}
    processor = EomtImageProcessorPil(
        size=edges,
        do_split_image=split, do_pad=not split, **given,
    )  # fmt: skip
    classes = tuple(config.id2label[i] for i in range(config.num_labels))
    return model, classes, Squares(processor, side, split)
