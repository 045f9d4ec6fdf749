"""The steps of Segment Anything on a network: encode a picture, decode prompts, place masks.

An engine holds a module but no request state, so any number of requests can share it; pictures and
prompts pass through as values. This module covers segment_anything's networks;
`core.sam.hf_engines` covers those of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from core.images import RGB
from core.imaging import bands
from core.nets import hooks

Size = tuple[int, int]
Decoded = tuple[torch.Tensor, torch.Tensor]  # low-resolution logits (B, K, h, w), IoU (B, K)
Coords = NDArray[np.floating]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The image encoder's output on the device: (1, C, h, w) each, the coarsest last.

    SAM has one feature map; SAM 2 also has two finer ones for its decoder.
    """

    features: tuple[torch.Tensor, ...]
    original_size: Size  # (H, W) of the upright picture

    @property
    def nbytes(self) -> int:
        return sum(map_.numel() * map_.element_size() for map_ in self.features)


class Engine(Protocol):
    """What `core.segment` needs from a network; `module` is the network itself."""

    module: Any
    mask_threshold: float

    def mask_input_size(self) -> Size:
        """(h, w) of the low-resolution logits; mask prompts must have the same size."""

    def encode(self, rgb: RGB) -> tuple[torch.Tensor, ...]:
        """(H, W, 3) uint8 -> the features of an `Embedding`."""

    def to_frame(self, coords: Coords, original_size: Size) -> Coords:
        """(..., 2) xy pixels of the picture -> xy in the network's input."""

    def decode(
        self,
        embedding: Embedding,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        mask: torch.Tensor | None,
        multimask: bool,
    ) -> Decoded:
        """Points (B, P, 2) with labels (B, P), boxes (B, 4), both scaled; mask (B, 1, h, w).

        Returns low-resolution logits (B, K, h, w) and predicted IoU (B, K), K = 3 if `multimask`.
        """

    def on_picture(self, low_res: torch.Tensor, original_size: Size) -> torch.Tensor:
        """(B, K, h, w) logits -> (B, K, h', w') logits that cover the picture without padding.

        `core.sam.masks` then draws them at the size of the picture.
        """

    def places(self, embedding: Embedding) -> Size:
        """(rows, columns) of the embedding that lie on the picture rather than on padding."""

    def stations(self) -> Mapping[str, Sequence[torch.nn.Module]]:
        """The modules that compute each part of the decoder's diagram, by the names in `insight`.

        For several modules in a row all weights count, and the last output is shown.
        """

    def blocks(self) -> Sequence[torch.nn.Module]:
        """The encoder's layers in the order in which they run, to report progress."""


def unpadded_places(resize: Any, embedding: Embedding) -> Size:
    """`Engine.places` for a picture fitted by `ResizeLongestSide`, with padding around it."""
    side, grid = resize.target_length, embedding.features[-1].shape[-1]
    height, width = resize.get_preprocess_shape(*embedding.original_size, side)
    # A place that is mostly padding says nothing about the picture.
    return max(1, round(height * grid / side)), max(1, round(width * grid / side))


def without_padding(resize: Any, low_res: torch.Tensor, original_size: Size) -> torch.Tensor:
    """`Engine.on_picture` for a `ResizeLongestSide`: the first half of `Sam.postprocess_masks`."""
    side = resize.target_length
    height, width = resize.get_preprocess_shape(*original_size, side)
    framed = F.interpolate(low_res, (side, side), mode="bilinear", align_corners=False)
    return framed[..., :height, :width]


@dataclass(slots=True)
class Segmenter:
    """What a SAM needs beside its network: its engine, its thresholds for everything mode
    (`grid.THRESHOLDS`), and the seconds that its encoder last took (0: it has not run)."""

    engine: Engine
    thresholds: Mapping[str, float]
    seconds: float = 0.0


class SamEngine:
    """segment_anything's networks: Meta's, and the project's small one.

    The calls are those of `SamPredictor`, which keeps its last picture and so cannot be shared;
    with the library's own layers results are equal bit for bit, with `core.sam.attention` and
    `core.cpu.linear` to five digits.
    """

    def __init__(self, module: Any) -> None:
        from segment_anything.utils.transforms import ResizeLongestSide

        self.module = module
        self.mask_threshold = float(module.mask_threshold)
        self._resize = ResizeLongestSide(module.image_encoder.img_size)

    def mask_input_size(self) -> Size:
        height, width = self.module.prompt_encoder.mask_input_size
        return height, width

    def encode(self, rgb: RGB) -> tuple[torch.Tensor, ...]:
        side = self._resize.target_length
        height, width = self._resize.get_preprocess_shape(rgb.shape[0], rgb.shape[1], side)
        resized = bands.resized(rgb, (width, height), Image.Resampling.BILINEAR)
        pixels = torch.as_tensor(np.array(resized), device=self.module.device)
        batch = pixels.permute(2, 0, 1).contiguous()[None]  # (1, 3, h, w)
        return (self.module.image_encoder(self.module.preprocess(batch)),)

    def to_frame(self, coords: Coords, original_size: Size) -> Coords:
        return self._resize.apply_coords(coords, original_size)

    def decode(
        self,
        embedding: Embedding,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        mask: torch.Tensor | None,
        multimask: bool,
    ) -> Decoded:
        encoder = self.module.prompt_encoder
        sparse, dense = encoder(
            points=None if points is None else (points, labels), boxes=boxes, masks=mask
        )
        return self.module.mask_decoder(
            image_embeddings=embedding.features[-1],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )

    def on_picture(self, low_res: torch.Tensor, original_size: Size) -> torch.Tensor:
        return without_padding(self._resize, low_res, original_size)

    def places(self, embedding: Embedding) -> Size:
        return unpadded_places(self._resize, embedding)

    def stations(self) -> Mapping[str, Sequence[torch.nn.Module]]:
        decoder = self.module.mask_decoder
        return {
            "prompt": (self.module.prompt_encoder,),
            "transformer": (decoder.transformer,),
            "upscaling": (decoder.output_upscaling,),
            "hypernetwork": (decoder.output_hypernetworks_mlps[0],),
            "iou_head": (decoder.iou_prediction_head,),
            "decoder": (decoder,),
        }

    def blocks(self) -> Sequence[torch.nn.Module]:
        encoder = self.module.image_encoder
        return list(getattr(encoder, "blocks", None) or encoder.stages)


@contextmanager
def followed(
    blocks: Sequence[torch.nn.Module], tell: Callable[[float], None] | None
) -> Iterator[None]:
    """Report progress (0..1) after each block of the pass that this thread runs meanwhile.

    An exception from `tell` ends the pass. The hooks are removed when the context ends.
    """
    if tell is None:
        yield
        return
    shares = [(i + 1) / len(blocks) for i in range(len(blocks))]

    def told(done: float) -> None:  # a hook's return value would replace the output
        tell(done)

    steps = [
        (block, lambda *_, done=done: told(done))
        for block, done in zip(blocks, shares, strict=True)
    ]
    with hooks.heard(steps):
        yield
