"""Segment Anything at a small size: our image encoder, SAM's own prompt encoder and mask decoder.

The encoder is a network trained on ImageNet, with an attention layer on its coarsest maps and a
feature pyramid back to stride 8, because a plain ViT learns too slowly without large-scale
pretraining.
Source: Kirillov et al., "Segment Anything", 2023; Lin et al., "Feature Pyramid Networks", 2017.
"""

from __future__ import annotations

from typing import Any

import timm
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn
from torch.nn import functional as F

STRIDE = 8
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip. (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.norm(self.second(self.first(x))))


class GlobalBlock(nn.Module):
    """Pre-norm self-attention and MLP over all places. (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        tokens = x.flatten(2).transpose(1, 2)  # (B, h*w, C)
        qkv = self.qkv(self.norm1(tokens)).view(b, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # each (B, heads, h*w, C/heads)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, h * w, c)
        tokens = tokens + self.out(mixed)
        tokens = tokens + self.mlp(self.norm2(tokens))
        return tokens.transpose(1, 2).reshape(b, c, h, w)


class TrunkEncoder(nn.Module):
    """(B, 3, H, W) normalised picture -> (B, out_chans, H/8, W/8) embedding.

    A network trained on ImageNet, with dilated last stages, and a pyramid of its maps at strides
    4, 8 and 16. Each 2 x 2 positions at stride 4 count as one position with four times the
    channels. Replaces segment_anything's ImageEncoderViT; SamPredictor reads `img_size`.
    """

    def __init__(self, img_size: int, out_chans: int, trunk: str, heads: int) -> None:
        super().__init__()
        self.img_size = img_size
        backbone: Any = timm.create_model(trunk, num_classes=0, output_stride=16)
        self.backbone: Any = backbone
        # at strides 2, 4, 8, 16 and 16
        channels: list[int] = [stage["num_chs"] for stage in backbone.feature_info]
        self.coarse = nn.ModuleList(
            _lateral(c, out_chans) for c in (*channels[3:], backbone.num_features)
        )
        self.context = nn.Sequential(
            Residual(out_chans), GlobalBlock(out_chans, heads), Residual(out_chans)
        )
        self.fine = nn.ModuleList(_lateral(c, out_chans) for c in (4 * channels[1], channels[2]))
        self.neck = nn.Sequential(
            nn.BatchNorm2d(out_chans),
            nn.ReLU(),
            Residual(out_chans),
            nn.Conv2d(out_chans, out_chans, 3, 1, 1),
        )

    @property
    def blocks(self) -> list[nn.Module]:
        """The trunk's stages, in the order in which they run."""
        return list(self.backbone.blocks)

    def train(self, mode: bool = True) -> Any:
        """The trunk always normalises with the statistics of its own training."""
        super().train(mode)
        self.backbone.eval()
        return self

    def maps(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The trunk's maps at strides 4, 8, 16, 16 and 16, of a picture normalised as SAM does."""
        mean, std = (torch.tensor(c, device=x.device) for c in (PIXEL_MEAN, PIXEL_STD))
        pixels = x * std.view(-1, 1, 1) + mean.view(-1, 1, 1)
        last, stages = self.backbone.forward_intermediates(pixels / 127.5 - 1, indices=[1, 2, 3, 4])
        return (*stages, last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.merge(self.maps(x))

    def merge(self, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The embedding of `maps`."""
        stride4, stride8, *coarse = maps
        pairs = zip(self.coarse, coarse, strict=True)
        merged = self.context(torch.stack([lateral(x) for lateral, x in pairs]).sum(0))
        merged = F.interpolate(merged, size=stride8.shape[-2:], mode="bilinear")
        fine = (F.pixel_unshuffle(stride4, 2), stride8)
        for lateral, x in zip(self.fine, fine, strict=True):
            merged = merged + lateral(x)
        return self.neck(merged)


def _lateral(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 1))


def build(
    img_size: int = 256,
    dim: int = 128,
    trunk: str = "tf_efficientnet_lite0",
    heads: int = 4,
    decoder_depth: int = 2,
    mlp_dim: int = 256,
) -> Sam:
    """A small `Sam` for pictures whose longer side is resized to `img_size` pixels.

    Low-resolution masks are (img_size / 2, img_size / 2). It can be built under
    `torch.device("meta")`: all tensors except the two pixel constants are in the state dict, and
    those two are created with values.

    Args:
        img_size: a multiple of 32.
        dim: width of the embedding and the decoder, a multiple of 16.
        trunk: the name of an EfficientNet of timm.

    Raises:
        ValueError: `img_size` is not a multiple of 32.
    """
    if img_size % 32:
        raise ValueError(f"img_size {img_size} is not a multiple of 32")
    grid = img_size // STRIDE
    sam = Sam(
        image_encoder=TrunkEncoder(img_size, dim, trunk, heads),  # type: ignore[arg-type]
        prompt_encoder=PromptEncoder(
            embed_dim=dim,
            image_embedding_size=(grid, grid),
            input_image_size=(img_size, img_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=dim,
            transformer=TwoWayTransformer(
                depth=decoder_depth, embedding_dim=dim, num_heads=heads, mlp_dim=mlp_dim
            ),
            iou_head_hidden_dim=dim,
        ),
    )
    # These are not in the state dict, so a model built on `meta` would never get their values.
    sam.pixel_mean = torch.tensor(PIXEL_MEAN, device="cpu").view(-1, 1, 1)
    sam.pixel_std = torch.tensor(PIXEL_STD, device="cpu").view(-1, 1, 1)
    return sam.eval()
