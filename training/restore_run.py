"""Run a restoration network on one picture, for training and evaluation."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.restoring import consistency
from training.restore_data import to_array, to_tensor


@torch.inference_mode()
def denoise(model: nn.Module, noisy: np.ndarray, sigma: float) -> np.ndarray:
    """(H, W, 3) float in 0..1 with noise of `sigma` (of 255) -> the same, cleaned."""
    x = torch.from_numpy(noisy).float().permute(2, 0, 1)[None]
    height, width = x.shape[2:]
    x = F.pad(x, (0, -width % 8, 0, -height % 8), mode="reflect")
    level = torch.full_like(x[:, :1], sigma / 255.0)
    return to_array(model(torch.cat([x, level], 1))[..., :height, :width])


@torch.inference_mode()
def enlarge(model: nn.Module, small: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> (H * scale, W * scale, 3) float in 0..1, made to agree with `small`."""
    x = to_tensor(small[None])
    return to_array(consistency.corrected(x, model(x).clamp(0, 1)))


@torch.inference_mode()
def deblur(model: nn.Module, blurred: np.ndarray) -> np.ndarray:
    """(H, W, 3) float in 0..1 -> the same, sharper."""
    return to_array(model(torch.from_numpy(blurred).float().permute(2, 0, 1)[None]))
