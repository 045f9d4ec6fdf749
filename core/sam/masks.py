"""Low-resolution logits to masks at the picture's size, one mask and a few rows at a time.

The logits of three masks of 48 megapixels would take 576 MB; only one bit per pixel, or run
lengths, are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from core.sam.engines import Size

BAND_PIXELS = 2**21  # logits at a time, 8 MB; smaller pictures take one band
BoolMask = NDArray[np.bool_]
STABILITY_OFFSET = 1.0  # in logits, as in `SamAutomaticMaskGenerator`


def bands(logits: torch.Tensor, view: Size) -> Iterator[tuple[slice, torch.Tensor]]:
    """Resize (h, w) logits to `view`: yields slices of rows, and their (rows, W) logits.

    Like `F.interpolate(…, view, mode="bilinear")`: bit for bit if one band covers everything, else
    with different rounding.
    """
    height, width = view
    step = max(1, BAND_PIXELS // width)
    if step >= height:
        yield slice(0, height), _enlarged(logits, view)
        return
    scale, last = logits.shape[0] / height, logits.shape[0] - 1
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        place = torch.arange(rows.start, rows.stop, device=logits.device, dtype=logits.dtype)
        place = ((place + 0.5) * scale - 0.5).clamp_(0, last)  # in rows of the logits
        above = place.long()
        share = (place - above)[:, None]
        band = logits[above] * (1 - share) + logits[(above + 1).clamp_(max=last)] * share
        yield rows, _enlarged(band, (len(band), width))


def _enlarged(logits: torch.Tensor, size: Size) -> torch.Tensor:
    return F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]


def draw(logits: torch.Tensor, into: BoolMask, threshold: float) -> np.float32:
    """Draw the mask of (h, w) logits into (H, W) bool at that size; return its stability.

    Stability is the IoU of the masks cut off one above and one below the logit threshold, as in
    `SamAutomaticMaskGenerator`; 0 for an empty mask.
    """
    inner = outer = 0
    for rows, band in bands(logits, (into.shape[0], into.shape[1])):
        inner += _count(band > threshold + STABILITY_OFFSET)
        outer += _count(band > threshold - STABILITY_OFFSET)
        into[rows] = (band > threshold).cpu().numpy()
    return np.float32(inner) / np.float32(outer) if outer else np.float32(0)


def _count(mask: torch.Tensor) -> int:
    if mask.device.type != "cpu":
        return int(torch.count_nonzero(mask))
    return int(np.count_nonzero(mask.numpy()))  # many times faster than torch
