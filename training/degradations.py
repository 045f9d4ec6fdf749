"""Degradations: blur kernels, downscaling, and the kernels held out for evaluation."""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

SIDE = 17  # of every kernel, px

# For evaluation only: sigma of Gaussian blur in px; (length in px, degrees) of motion
HELD_OUT_GAUSSIAN = (1.0, 1.5, 2.0)
HELD_OUT_MOTION = ((5.0, 20.0), (7.0, 65.0), (9.0, 110.0), (9.0, 155.0))


def gaussian(sigma: float, side: int = SIDE) -> np.ndarray:
    """(side, side) float32 isotropic Gaussian that sums to 1."""
    x = np.arange(side) - side // 2
    line = np.exp(-0.5 * (x / sigma) ** 2)
    kernel = np.outer(line, line)
    return (kernel / kernel.sum()).astype(np.float32)


def motion(length: float, angle: float, side: int = SIDE) -> np.ndarray:
    """(side, side) float32 line of `length` px at `angle` degrees through the centre, sum 1."""
    centre, turn = side // 2, math.radians(angle)
    along = np.linspace(-0.5, 0.5, 8 * side) * max(length - 1.0, 0.0)
    x, y = centre + along * math.cos(turn), centre - along * math.sin(turn)
    kernel = np.zeros((side, side))
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for dx in (0, 1):  # share each sample among its four pixels
        for dy in (0, 1):
            share = np.abs(1 - dx - (x - left)) * np.abs(1 - dy - (y - top))
            np.add.at(kernel, (top + dy, left + dx), share)
    return (kernel / kernel.sum()).astype(np.float32)


def blur(pictures: torch.Tensor, kernels: np.ndarray) -> torch.Tensor:
    """(N, 3, H, W) and (N, k, k) -> (N, 3, H-k+1, W-k+1): each picture with its own kernel."""
    batch, side = len(pictures), kernels.shape[-1]
    weight = torch.from_numpy(kernels).repeat_interleave(3, 0)[:, None]
    flat = pictures.reshape(1, 3 * batch, *pictures.shape[2:])
    blurred = F.conv2d(flat, weight, groups=3 * batch)
    height, width = pictures.shape[2] - side + 1, pictures.shape[3] - side + 1
    return blurred.reshape(batch, 3, height, width)


def reduce(picture: np.ndarray, scale: int) -> np.ndarray:
    """(H, W, 3) uint8, sides divisible by `scale` -> reduced by Pillow's bicubic filter."""
    size = (picture.shape[1] // scale, picture.shape[0] // scale)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def crop_to_multiple(picture: np.ndarray, scale: int) -> np.ndarray:
    """Crop until both sides are divisible by `scale`."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: height - height % scale, : width - width % scale])
