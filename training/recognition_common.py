"""Pixels to batches for the reconstruct recipe."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch


def to_batch(pictures: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32, channels last in memory, normalised."""
    x = torch.tensor(pictures).permute(0, 3, 1, 2).float()
    shift = torch.tensor(mean).view(1, 3, 1, 1) * 255
    scale = torch.tensor(std).view(1, 3, 1, 1) * 255
    return (x - shift) / scale
