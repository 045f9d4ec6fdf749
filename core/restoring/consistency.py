"""Make an enlarged picture agree with the small one that it was made from.

A super-resolution network is trained on pictures that were reduced by a known filter. Its result,
reduced by that filter, should give its input again, but a network only approximates that. One step
of back-projection (Irani and Peleg, Improving Resolution by Image Registration, 1991) adds the
enlarged difference: means and colours of areas are then those of the input, whatever the network
answered, and only detail finer than the input's pixels is the network's own.

Only starters get it, whose file says how their pictures were reduced: for another network nobody
knows the filter, and those trained on noise or JPEG blocks mean to depart from their input.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

FILTER = "bicubic"  # Pillow's, the value of `reduced_by` in a starter's header


def corrected(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`y` plus the enlarged difference between `x` and the reduced `y`.

    Args:
        x: (N, 3, h, w) in 0..1, the input.
        y: (N, 3, h * scale, w * scale) in 0..1, the network's answer to it.

    Returns:
        The same shape as `y`, clipped to 0..1.
    """
    x, y = x.contiguous(), y.contiguous()  # resizing other layouts takes longer
    return y.add(_resized(x - _resized(y, x), y)).clamp_(0, 1)


def _resized(picture: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """To the size of `like`, by the kernel that Pillow uses in both directions (a = -0.5)."""
    size = (like.shape[-2], like.shape[-1])
    return F.interpolate(picture, size, mode="bicubic", antialias=True)
