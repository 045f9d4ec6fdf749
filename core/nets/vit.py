"""A timm VisionTransformer behind a small convolutional stem, for pictures of 32 px.

A ViT that cuts small pictures directly into patches needs far more data than available to learn
edges and textures; a few convolutions learn them quickly (Xiao et al., "Early Convolutions Help
Transformers See Better", 2021). Blocks and attention are timm's, so attention can be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.layers import HybridEmbed
from timm.models.vision_transformer import VisionTransformer
from torch import nn


class Skip(nn.Sequential):
    """Layers with a residual connection: (B, C, H, W) -> (B, C, H, W)."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + super().forward(input)


class ConvStem(nn.Sequential):
    """3x3 convolutions with batch norm and GELU; max pooling after some halves the picture.

    (B, 3, H, W) -> (B, widths[-1], H / 2**p, W / 2**p) for p pooled layers.

    Args:
        widths: channels after each convolution.
        pooled: for each convolution, whether 2x2 max pooling follows.
        skipped: for each convolution, whether it has a residual connection; none if empty.

    Raises:
        ValueError: a layer that changes the shape cannot have a residual connection.
    """

    def __init__(
        self, widths: Sequence[int], pooled: Sequence[bool], skipped: Sequence[bool] = ()
    ) -> None:
        super().__init__()
        skipped = skipped or [False] * len(widths)
        for i, (before, after, pool, skip) in enumerate(
            zip([3, *widths[:-1]], widths, pooled, skipped, strict=True), start=1
        ):
            if skip and (pool or before != after):
                raise ValueError(f"layer {i} changes the shape and cannot be skipped")
            layers: list[nn.Module] = [nn.Conv2d(before, after, 3, padding=1, bias=False)]
            if pool:  # before the norm: a quarter of the pixels left
                layers.append(nn.MaxPool2d(2))
            layers += [nn.BatchNorm2d(after), nn.GELU()]
            self.extend([Skip(*layers)] if skip else layers)
        self.num_features = widths[-1]


def build(arch: dict[str, Any]) -> VisionTransformer:
    """Build a VisionTransformer from plain values; also under `torch.device("meta")`.

    Args:
        arch: `image_size` (px), `stem_widths`, `stem_pooled` and optionally `stem_skipped` (see
        ConvStem), `dim`, `depth`, `heads`, `mlp_ratio`, `classes`; and `layer_scale`, the initial
        factor on each block's output.

    Returns:
        (B, 3, image_size, image_size) normalised -> (B, classes) logits. One token per position of
        the stem's map, no class token: the mean of all tokens is classified.
    """
    stem = ConvStem(arch["stem_widths"], arch["stem_pooled"], arch.get("stem_skipped", ()))
    side = arch["image_size"] // 2 ** sum(arch["stem_pooled"])

    def embed(
        img_size: int, patch_size: int, in_chans: int, embed_dim: int, bias: bool, **_: Any
    ) -> HybridEmbed:
        """timm's hook for a custom patch embedding; timm also passes device and dtype."""
        return HybridEmbed(
            stem,
            img_size=img_size,
            patch_size=patch_size,
            feature_size=side,
            feature_ratio=arch["image_size"] // side,
            in_chans=in_chans,
            embed_dim=embed_dim,
            bias=bias,
        )

    return VisionTransformer(
        img_size=arch["image_size"],
        patch_size=1,
        num_classes=arch["classes"],
        global_pool="avg",
        class_token=False,
        embed_dim=arch["dim"],
        depth=arch["depth"],
        num_heads=arch["heads"],
        mlp_ratio=arch["mlp_ratio"],
        init_values=arch.get("layer_scale"),
        embed_layer=embed,
    )
