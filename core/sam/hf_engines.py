"""SAM and SAM 2 from transformers, behind the interface of `core.sam.engines`.

Pictures and masks pass through the library's image processors and prompts through its models'
forward, so results equal those of `SamProcessor` with `SamModel` (Kirillov et al., 2023) and of
`Sam2Processor` with `Sam2Model` (Ravi et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from core.errors import CheckpointError
from core.images import RGB
from core.sam import grid
from core.sam.engines import (
    Coords,
    Decoded,
    Embedding,
    Segmenter,
    Size,
    unpadded_places,
    without_padding,
)
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Resolved

# Keys read from preprocessor_config.json; sizes come from the model, which accepts no others.
_PICTURE_SETTINGS = (
    "image_mean",
    "image_std",
    "resample",
    "rescale_factor",
    "do_rescale",
    "do_normalize",
)
# One constant under two names; which is written depends on the library's version.
_POSITIONS = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)
# Meta's generator for SAM 2 asks for a lower predicted IoU than the one for SAM.
_SAM2_THRESHOLDS = {**grid.THRESHOLDS, "pred_iou_thresh": 0.8}


class _TransformersEngine:
    """What both networks have in common.

    Each prompt is a row of the batch, (B, 1, ...), rather than one of several prompts for one
    picture, (1, B, ...), because a mask to refine needs its own row.
    """

    mask_threshold = 0.0  # as in the library's processors

    def __init__(self, module: Any, processor: Any) -> None:
        self.module = module
        self._processor = processor
        self._side = int(module.config.prompt_encoder_config.image_size)

    def mask_input_size(self) -> Size:
        height, width = self.module.prompt_encoder.image_embedding_size
        return 4 * height, 4 * width

    def decode(
        self,
        embedding: Embedding,
        points: torch.Tensor | None,
        labels: torch.Tensor | None,
        boxes: torch.Tensor | None,
        mask: torch.Tensor | None,
        multimask: bool,
    ) -> Decoded:
        rows = next(len(given) for given in (points, boxes, mask) if given is not None)
        features = [part.expand(rows, -1, -1, -1) for part in embedding.features]
        answer = self.module(
            # `SamModel` takes its feature map itself, `Sam2Model` a list of three.
            image_embeddings=features if len(features) > 1 else features[0],
            input_points=None if points is None else points[:, None].float(),  # (B, 1, P, 2)
            input_labels=None if labels is None else labels[:, None],  # (B, 1, P)
            input_boxes=None if boxes is None else boxes[:, None].float(),  # (B, 1, 4)
            input_masks=mask,
            multimask_output=multimask,
        )
        return answer.pred_masks[:, 0], answer.iou_scores[:, 0]  # (B, K, h, w), (B, K)

    def stations(self) -> Mapping[str, Sequence[torch.nn.Module]]:
        decoder = self.module.mask_decoder
        return {
            "prompt": (self.module.prompt_encoder,),
            "transformer": (decoder.transformer,),
            "upscaling": (
                decoder.upscale_conv1,
                decoder.upscale_layer_norm,
                decoder.upscale_conv2,
            ),
            "hypernetwork": (decoder.output_hypernetworks_mlps[0],),
            "iou_head": (decoder.iou_prediction_head,),
            "decoder": (decoder,),
        }

    def _pixels(self, rgb: RGB) -> torch.Tensor:
        inputs = self._processor(Image.fromarray(rgb), return_tensors="pt")
        return inputs["pixel_values"].to(self.module.device)  # (1, 3, side, side)


class SamModelEngine(_TransformersEngine):
    """`SamModel`: the longest side is resized to the encoder's, the rest is padding."""

    def __init__(self, module: Any, processor: Any) -> None:
        from segment_anything.utils.transforms import ResizeLongestSide

        super().__init__(module, processor)
        self._resize = ResizeLongestSide(self._side)  # the rounding of `SamProcessor`

    def encode(self, rgb: RGB) -> tuple[torch.Tensor, ...]:
        return (self.module.get_image_embeddings(self._pixels(rgb)),)

    def to_frame(self, coords: Coords, original_size: Size) -> Coords:
        return self._resize.apply_coords(coords, original_size)

    def on_picture(self, low_res: torch.Tensor, original_size: Size) -> torch.Tensor:
        return without_padding(self._resize, low_res, original_size)

    def places(self, embedding: Embedding) -> Size:
        return unpadded_places(self._resize, embedding)

    def blocks(self) -> Sequence[torch.nn.Module]:
        return list(self.module.vision_encoder.layers)


class Sam2ModelEngine(_TransformersEngine):
    """`Sam2Model`: the picture is stretched to a square, without padding.

    For single masks the decoder falls back to the best of three if its own is unstable.
    """

    def encode(self, rgb: RGB) -> tuple[torch.Tensor, ...]:
        return tuple(self.module.get_image_embeddings(self._pixels(rgb)))

    def to_frame(self, coords: Coords, original_size: Size) -> Coords:
        height, width = original_size
        scale = np.array([self._side / width, self._side / height], dtype=np.float32)
        return coords.astype(np.float32) * scale  # in float32, as `Sam2Processor`

    def on_picture(self, low_res: torch.Tensor, original_size: Size) -> torch.Tensor:
        return low_res

    def places(self, embedding: Embedding) -> Size:
        height, width = embedding.features[-1].shape[-2:]
        return height, width

    def blocks(self) -> Sequence[torch.nn.Module]:
        return list(self.module.vision_encoder.backbone.blocks)


def build(resolved: Resolved) -> Built[Segmenter]:
    """Build the network of a weight file from the config.json beside it, with its engine.

    A `sam2_video` checkpoint works as SAM 2 for pictures: its memory of earlier frames, stored in
    the same file, is skipped.

    Raises:
        CheckpointError: no config.json, one for another model, or a file that does not fit.
    """
    settings = state_dicts.config_beside(resolved.path)
    if settings.get("model_type") not in ("sam", "sam2", "sam2_video"):
        raise CheckpointError(f"The config.json beside {resolved.path.name} is not that of a SAM.")
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    for name, other in (_POSITIONS, _POSITIONS[::-1]):
        if name in state:
            state.setdefault(other, state[name])
    if settings["model_type"] == "sam":
        return _sam(resolved, settings, state)
    return _sam2(resolved, settings, state)


def _sam(
    resolved: Resolved, settings: dict[str, Any], state: state_dicts.StateDict
) -> Built[Segmenter]:
    from transformers import SamConfig, SamImageProcessor, SamModel

    config: Any = SamConfig.from_dict(settings)
    model = state_dicts.from_pretrained(SamModel, config, state, resolved.path.name)
    side = config.vision_config.image_size
    processor = SamImageProcessor(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        **_picture_settings(resolved),
    )
    return Built(model, Segmenter(SamModelEngine(model, processor), grid.THRESHOLDS))


def _sam2(
    resolved: Resolved, settings: dict[str, Any], state: state_dicts.StateDict
) -> Built[Segmenter]:
    from transformers import Sam2Config, Sam2ImageProcessor, Sam2Model

    config: Any = Sam2Config.from_dict(settings)
    model = state_dicts.from_pretrained(Sam2Model, config, state, resolved.path.name)
    side = config.prompt_encoder_config.image_size
    processor = Sam2ImageProcessor(
        size={"height": side, "width": side}, **_picture_settings(resolved)
    )
    return Built(model, Segmenter(Sam2ModelEngine(model, processor), _SAM2_THRESHOLDS))


def _picture_settings(resolved: Resolved) -> dict[str, Any]:
    """The normalisation in the files beside it; the library's defaults for the rest."""
    said = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    if not said:  # a full processor nests its image part
        whole = state_dicts.json_beside(resolved.path, "processor_config.json")
        said = whole.get("image_processor") or {}
    return {name: said[name] for name in _PICTURE_SETTINGS if name in said}
