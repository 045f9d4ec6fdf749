"""Detectors on the trunk's maps: a convolutional one, and an RT-DETR whose queries it chooses.

Both read the same pyramid: maps at stride 16 and 32, fused by convolutions. The convolutional
detector predicts classes and a box at every token, as FCOS does, and needs non-maximum suppression.
The RT-DETR takes the tokens with the best scores as queries; its decoder layers let them attend to
each other and to the pyramid, so that one query is left for each object.
Sources: Tian et al., "FCOS", 2019; Zhao et al., "DETRs Beat YOLOs on Real-time Object Detection"
(RT-DETR), 2023, through transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.anchored import AnchoredNet

if TYPE_CHECKING:
    from transformers import RTDetrConfig, RTDetrForObjectDetection

HEAD, STRIDE16, STRIDE8 = 1280, 112, 40  # channels of the trunk's maps
LEVELS = (16, 32)  # strides of the pyramid


def pack(head: torch.Tensor, stride16: torch.Tensor, stride8: torch.Tensor) -> torch.Tensor:
    """One map (B, 1280 + 112 + 4 * 40, h, w) of the trunk's maps.

    Args:
        head: (B, 1280, h, w), of a trunk whose last stages are dilated.
        stride16: (B, 112, h, w).
        stride8: (B, 40, 2h, 2w); each 2 x 2 positions become one with four times the channels.
    """
    return torch.cat([head, stride16, F.pixel_unshuffle(stride8, 2)], 1)


class Maps(nn.Module):
    """The place of the backbone in transformers' model: its input is `pack`'s map.

    Gives that map for stride 16, and its first `head` channels at half the resolution for
    stride 32. The resolution must be even.
    """

    def __init__(self, head: int, rest: int) -> None:
        super().__init__()
        self.head = head
        self.intermediate_channel_sizes = [head + rest, head]

    def forward(
        self, maps: torch.Tensor, mask: torch.Tensor | None = None
    ) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
        return [(maps, mask), (F.avg_pool2d(maps[:, : self.head], 2), mask)]


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """What the convolutional detector predicts at each of its N tokens, finest level first.

    `levels` are the pyramid's maps (B, d, h, w); `source` (B, N, d) is the same as tokens and
    `memory` (B, N, d) what the heads read; `logits` (B, N, C) are of sigmoids; `offsets`
    (B, N, 4) are the logits of cxcywh in 0..1.
    """

    levels: list[torch.Tensor]
    source: torch.Tensor
    memory: torch.Tensor
    logits: torch.Tensor
    offsets: torch.Tensor

    @property
    def boxes(self) -> torch.Tensor:
        """(B, N, 4) cxcywh in 0..1."""
        return self.offsets.sigmoid()


class CnnDetector(nn.Module):
    """The convolutional part of an `RTDetrModel`: pyramid, class layer and box layers.

    The names of its weights are those of `RTDetrModel`.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.backbone = model.backbone
        self.encoder_input_proj = model.encoder_input_proj
        self.encoder = model.encoder
        self.decoder_input_proj = model.decoder_input_proj
        self.enc_output = model.enc_output
        self.enc_score_head = model.enc_score_head
        self.enc_bbox_head = model.enc_bbox_head

    def pyramid(self, maps: torch.Tensor) -> list[torch.Tensor]:
        """(B, channels, h, w) of `pack` -> the fused maps at stride 16 and 32, (B, d, h, w)."""
        pairs = zip(self.encoder_input_proj, self.backbone(maps), strict=True)
        fused = self.encoder([project(x) for project, (x, _) in pairs]).last_hidden_state
        return [project(x) for project, x in zip(self.decoder_input_proj, fused, strict=True)]

    def forward(self, maps: torch.Tensor) -> Dense:
        """The prediction at every token of the pyramid."""
        levels = self.pyramid(maps)
        source = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], 1)
        memory = self.enc_output(source)
        shapes = [(int(level.shape[2]), int(level.shape[3])) for level in levels]
        offsets = self.enc_bbox_head(memory) + anchors(shapes).to(source.device)
        return Dense(levels, source, memory, self.enc_score_head(memory), offsets)


def anchors(shapes: Sequence[tuple[int, int]]) -> torch.Tensor:
    """(1, N, 4) logits of the boxes cxcywh that a token predicts when its box layers give 0."""
    from transformers.models.rt_detr.modeling_rt_detr import RTDetrModel

    return RTDetrModel._cached_generate_anchors(tuple(shapes), 0.05)[0]


def config(
    classes: Sequence[str], width: int = 128, layers: int = 3, queries: int = 40
) -> RTDetrConfig:
    """RT-DETR on the trunk's maps. No self-attention in its encoder: the pyramid stays
    convolutional, so that the same weights are a convolutional detector."""
    from transformers import RTDetrConfig

    return RTDetrConfig(
        # `build` puts `Maps` in its place.
        backbone_config={
            "model_type": "rt_detr_resnet",
            "embedding_size": 8,
            "hidden_sizes": [8, 8, 8, 8],
            "depths": [1, 1, 1, 1],
            "layer_type": "basic",
            "out_features": ["stage3", "stage4"],
        },
        encoder_hidden_dim=width,
        encoder_in_channels=[width, width],
        feat_strides=list(LEVELS),
        encoder_layers=0,
        encode_proj_layers=[],
        hidden_expansion=0.5,
        d_model=width,
        num_queries=queries,
        decoder_in_channels=[width, width],
        decoder_ffn_dim=2 * width,
        num_feature_levels=2,
        decoder_layers=layers,
        decoder_attention_heads=4,
        num_denoising=0,
        id2label=dict(enumerate(classes)),
        label2id={name: i for i, name in enumerate(classes)},
    )


def build(
    settings: RTDetrConfig, head: int = HEAD, rest: int = STRIDE16 + 4 * STRIDE8
) -> RTDetrForObjectDetection:
    """transformers' model with random weights, which reads maps of `head` + `rest` channels."""
    from transformers import RTDetrForObjectDetection

    detr = RTDetrForObjectDetection(settings)
    maps = Maps(head, rest)
    detr.model.backbone = maps
    for i, channels in enumerate(maps.intermediate_channel_sizes):
        detr.model.encoder_input_proj[i][0] = nn.Conv2d(
            channels, settings.encoder_hidden_dim, 1, bias=False
        )
    return detr


def answers(model: nn.Module, maps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, N, C) logits of sigmoids and (B, N, 4) boxes cxcywh in 0..1: of every token, or of the
    queries after the last decoder layer."""
    if isinstance(model, CnnDetector):
        dense = model(maps)
        return dense.logits, dense.boxes
    out = model(pixel_values=maps)
    return out.logits, out.pred_boxes


def by_layer(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits (B, L, N, C) and boxes (B, L, N, 4) cxcywh in 0..1 after each decoder layer.

    The last layer is the answer; L is 1 where the model gives no others. A detector with anchors
    adds what `anchored.read` takes.
    """
    if isinstance(model, AnchoredNet):
        found: tuple[torch.Tensor, ...] = model(x)
        return found
    if isinstance(model, CnnDetector):
        logits, boxes = answers(model, x)
        return logits[:, None].float(), boxes[:, None].float()
    heads = getattr(model, "class_labels_classifier", None)
    if heads is None:
        out = model(pixel_values=x)
        if hasattr(model.model.decoder, "lqe_layers"):
            return _fine_layers(model.model.decoder, out)
        layers = getattr(out, "intermediate_logits", None)
        places = getattr(out, "intermediate_reference_points", None)
        if layers is None or places is None or layers.shape[1] != places.shape[1]:
            return out.logits[:, None].float(), out.pred_boxes[:, None].float()
        return layers.float(), places.float()
    out = model(pixel_values=x, output_hidden_states=True)
    norm = model.model.decoder.layernorm  # DETR applies it, and the heads, after each layer
    early = [norm(state) for state in out.decoder_hidden_states[1:-1]]
    logits = torch.stack([*map(heads, early), out.logits], 1)
    boxes = torch.stack([*(model.bbox_predictor(x).sigmoid() for x in early), out.pred_boxes], 1)
    return logits.float(), boxes.float()


def _fine_layers(decoder: Any, out: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """`by_layer` of D-FINE, which computes the answers of its other layers only in training.

    Each layer adds to the distributions of where the four sides lie.
    """
    from transformers.models.d_fine import modeling_d_fine as library

    bins = library.weighting_function(decoder.max_num_bins, decoder.up, decoder.reg_scale)
    start, logits, boxes = out.initial_reference_points[:, -1], [], []
    sides = before = torch.zeros((), device=start.device)
    states = out.intermediate_hidden_states  # (L, B, N, d)
    for i, state in enumerate(states[: decoder.eval_idx]):
        sides = decoder.bbox_embed[i](state + before) + sides
        moved = decoder.integral(sides, bins)
        boxes.append(library.distance2bbox(start, moved, decoder.reg_scale))
        logits.append(decoder.lqe_layers[i](decoder.class_embed[i](state), sides))
        before = state
    found = [*logits, out.logits], [*boxes, out.pred_boxes]
    return torch.stack(found[0], 1).float(), torch.stack(found[1], 1).float()


def from_settings(settings: dict[str, Any]) -> nn.Module:
    """The network that a starter's header describes: `kind` is "cnn" or "rt-detr", `detr` the
    config of transformers. Its weights are random."""
    from transformers import RTDetrConfig

    detr = build(RTDetrConfig.from_dict(settings["detr"]))
    return CnnDetector(detr.model) if settings["kind"] == "cnn" else detr
