"""LeNet-5, which reads digits, and the picture that it expects: light strokes on black.

Every map of S2 is read by every filter of C3, and the last layer is linear, as it is built today;
the paper connects some maps only and ends with distances to drawn digits.
Source: LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn

from core.imaging import bands
from core.types import RGB

SIDE = 32
DIGITS = tuple("0123456789")
_FRAME = 2  # pixels of the border that tell the ground
_FLAT = 0.08  # a smaller contrast is not stretched to the whole range: it would be noise
_DARK, _LIGHT = -0.1, 1.175  # the paper's input for ground and stroke: mean 0, variance about 1


class LeNet(nn.Module):
    """(B, 3, 32, 32) or (B, 1, 32, 32) from `normalised` -> (B, classes) logits.

    The layers have the paper's names. As in timm, `forward_features` gives the last map,
    (B, 16, 5, 5), and `forward_head` reads it.
    """

    def __init__(self, classes: int = len(DIGITS)) -> None:
        super().__init__()
        self.num_classes = classes
        self.c1, self.act1, self.s2 = nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)
        self.c3, self.act3, self.s4 = nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)
        self.c5, self.act5 = nn.Conv2d(16, 120, 5), nn.Tanh()
        self.f6, self.act6 = nn.Linear(120, 84), nn.Tanh()
        self.output = nn.Linear(84, classes)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) or (B, 1, 32, 32) -> (B, 16, 5, 5)."""
        x = x.mean(1, keepdim=True)  # (B, 1, 32, 32)
        x = self.s2(self.act1(self.c1(x)))  # (B, 6, 14, 14)
        maps: torch.Tensor = self.s4(self.act3(self.c3(x)))
        return maps

    def forward_head(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 16, 5, 5) -> (B, classes)."""
        x = self.act5(self.c5(x)).flatten(1)  # (B, 120)
        logits: torch.Tensor = self.output(self.act6(self.f6(x)))
        return logits

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x))


def transform(rgb: RGB) -> torch.Tensor:
    """The middle square of (H, W, 3) uint8, grey, as `normalised` makes it: (1, 3, 32, 32)."""
    height, width = rgb.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = rgb[top : top + side, left : left + side]
    small = bands.to_array(bands.resized(square, (SIDE, SIDE), Image.Resampling.BILINEAR))
    red, green, blue = torch.from_numpy(small.copy()).permute(2, 0, 1)[:, None].float() / 255
    grey = 0.299 * red + 0.587 * green + 0.114 * blue  # as in ITU-R BT.601
    return normalised(grey[None]).expand(-1, 3, -1, -1).contiguous()


def normalised(grey: torch.Tensor) -> torch.Tensor:
    """Light strokes on black from (B, 1, 32, 32) in 0..1, ink on paper or chalk on a board.

    Where the border is brighter than the middle, the picture is inverted. Then the median of the
    border becomes black and the brightest hundredth white, unless there is next to no contrast.
    """
    middle = grey[..., SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].mean((1, 2, 3))
    inner = torch.ones(SIDE, SIDE, dtype=torch.bool, device=grey.device)
    inner[_FRAME:-_FRAME, _FRAME:-_FRAME] = False
    ground = grey[:, 0, inner].median(1).values  # (B,)
    sign = torch.where(ground > middle, -1.0, 1.0).view(-1, 1, 1, 1)
    raised = (grey - ground.view(-1, 1, 1, 1)) * sign
    count = SIDE * SIDE
    brightest = raised.flatten(1).kthvalue(count - count // 100, 1).values
    x = (raised / brightest.clamp(min=_FLAT).view(-1, 1, 1, 1)).clamp(0, 1)
    return x * (_LIGHT - _DARK) + _DARK
