"""Networks that give each place of a picture a class, on the trunk's maps: an FCN and a U-Net.

Both read the maps at stride 16 and 8. The FCN scores the classes at each stride by itself and adds
the scores, so that fine maps correct coarse ones. The U-Net joins the maps themselves and learns
convolutions on both; it is symmetric to the trunk down to stride 8, the finest map it reads.
Sources: Long et al., "Fully Convolutional Networks for Semantic Segmentation", 2015; Ronneberger
et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from core.nets.trunk import CHANNELS

STRIDE8, STRIDE16, _, HEAD = CHANNELS


def _conv(inputs: int, outputs: int, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def _twice(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Fcn(nn.Module):
    """FCN-8s: scores at stride 16 from two maps and at stride 8 from one, added."""

    def __init__(self, classes: int, width: int = 192, head: int = HEAD) -> None:
        super().__init__()
        self.reduce = _conv(head, width, 1)
        self.hidden = _conv(width, width)
        self.score_head = nn.Conv2d(width, classes, 1)
        self.score16 = nn.Sequential(
            nn.BatchNorm2d(STRIDE16), nn.Conv2d(STRIDE16, classes, 3, padding=1)
        )
        self.score8 = nn.Sequential(
            nn.BatchNorm2d(STRIDE8), nn.Conv2d(STRIDE8, classes, 3, padding=1)
        )

    def forward(
        self, head: torch.Tensor, stride16: torch.Tensor, stride8: torch.Tensor
    ) -> torch.Tensor:
        coarse = self.score_head(self.hidden(self.reduce(head))) + self.score16(stride16)
        return _twice(coarse) + self.score8(stride8)


class UNet(nn.Module):
    """The expanding path of a U-Net: up, join the trunk's map of that stride, convolve twice."""

    def __init__(self, classes: int, width: int = 128, head: int = HEAD) -> None:
        super().__init__()
        half = width // 2
        self.reduce = _conv(head, width, 1)
        self.norm16, self.norm8 = nn.BatchNorm2d(STRIDE16), nn.BatchNorm2d(STRIDE8)
        self.join16 = nn.Sequential(_conv(width + STRIDE16, width), _conv(width, width))
        self.join8 = nn.Sequential(_conv(width + STRIDE8, half), _conv(half, half))
        self.score = nn.Conv2d(half, classes, 1)

    def forward(
        self, head: torch.Tensor, stride16: torch.Tensor, stride8: torch.Tensor
    ) -> torch.Tensor:
        x = self.join16(torch.cat([self.reduce(head), self.norm16(stride16)], 1))
        x = self.join8(torch.cat([_twice(x), self.norm8(stride8)], 1))
        return self.score(x)


NETWORKS: dict[str, type[Fcn] | type[UNet]] = {"fcn": Fcn, "unet": UNet}


def from_settings(settings: dict[str, Any]) -> nn.Module:
    """The network that a starter's header describes, with random weights.

    Its input is the trunk's `head` (B, 1280, h, w) and `stride16` (B, 112, h, w), both of a dilated
    view, and `stride8` (B, 40, 2h, 2w); its output (B, classes, 2h, 2w) logits.

    Raises:
        KeyError: `kind` is neither "fcn" nor "unet".
    """
    classes: Sequence[str] = settings["classes"]
    return NETWORKS[settings["kind"]](len(classes), settings["width"])
