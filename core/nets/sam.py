"""Segment Anything at a small size: our image encoder, SAM's own prompt encoder and mask decoder.

The encoder is a residual conv net with two attention layers on its coarsest map and a feature
pyramid back to stride 8, because a plain ViT learns too slowly without large-scale pretraining.
Source: Kirillov et al., "Segment Anything", 2023; Lin et al., "Feature Pyramid Networks", 2017.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class PyramidEncoder(nn.Module):
    """(B, 3, H, W) normalised picture -> (B, out_chans, H/8, W/8) embedding.

    Replaces segment_anything's ImageEncoderViT; SamPredictor reads `img_size`.
    """

    def __init__(
        self,
        img_size: int,
        out_chans: int,
        widths: Sequence[int],
        depths: Sequence[int],
        heads: int,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        first = widths[0]
        self.stem = nn.Sequential(_conv(3, first // 2, 2), _conv(first // 2, first, 2))
        stages: list[nn.Module] = []
        for i, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            down = [_conv(widths[i - 1], width, 2)] if i else []
            stages.append(nn.Sequential(*down, *(Residual(width) for _ in range(depth))))
        self.stages = nn.ModuleList(stages)  # strides 4, 8, 16, 32
        self.context = nn.Sequential(*(GlobalBlock(widths[-1], heads) for _ in range(2)))
        self.laterals = nn.ModuleList(nn.Conv2d(w, out_chans, 1) for w in widths[1:])
        self.neck = nn.Sequential(
            nn.BatchNorm2d(out_chans), nn.ReLU(), nn.Conv2d(out_chans, out_chans, 3, 1, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        levels = []
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels[-1] = self.context(levels[-1])
        merged = self.laterals[-1](levels[-1])
        for i in (2, 1):
            above = F.interpolate(merged, size=levels[i].shape[-2:], mode="nearest")
            merged = self.laterals[i - 1](levels[i]) + above
        return self.neck(merged)


def build(
    img_size: int = 256,
    dim: int = 128,
    widths: Sequence[int] = (48, 80, 128, 192),
    depths: Sequence[int] = (1, 2, 2, 1),
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
        widths: channels at strides 4, 8, 16 and 32.
        depths: residual blocks at each of those strides.

    Raises:
        ValueError: `img_size` is not a multiple of 32.
    """
    if img_size % 32:
        raise ValueError(f"img_size {img_size} is not a multiple of 32")
    grid = img_size // STRIDE
    sam = Sam(
        image_encoder=PyramidEncoder(img_size, dim, widths, depths, heads),  # type: ignore[arg-type]
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
