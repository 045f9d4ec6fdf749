"""The digits of MNIST, and what a batch of them looks like in training.

Strangers photograph ink on paper, digits of any size, in poor light. So digits are moved, thinned
and thickened, drawn in other tones, also dark on light, and read by the network's own
`normalised`. Among them are pictures of none of the digits, so that the network learns doubt.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from core.nets.lenet import SIDE, normalised

FILES = {"train": "train", "test": "t10k"}


def read(data: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures (N, 1, 28, 28) uint8, light on black, and labels (N,) of "train" or "test".

    Raises:
        SystemExit: a file is missing or is no idx file.
    """
    pictures = _idx(data / "mnist" / f"{FILES[part]}-images-idx3-ubyte", 3)
    labels = _idx(data / "mnist" / f"{FILES[part]}-labels-idx1-ubyte", 1)
    return torch.from_numpy(pictures)[:, None], torch.from_numpy(labels).long()


def _idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of bytes: 0, 0, 8, the dimensions, the length of each, then the values."""
    if not path.is_file():
        raise SystemExit(f"There is no {path}: see training/DATA.md.")
    raw = path.read_bytes()
    head = 4 + 4 * dimensions
    shape = struct.unpack(f">{dimensions}I", raw[4:head].ljust(4 * dimensions, b"\0"))
    if raw[:4] != bytes([0, 0, 8, dimensions]) or len(raw) - head != math.prod(shape):
        raise SystemExit(f"{path} is damaged or is no idx file of MNIST: see training/DATA.md.")
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape).copy()


def padded(pictures: torch.Tensor) -> torch.Tensor:
    """(B, 1, 28, 28) uint8 -> (B, 1, 32, 32) in 0..1, with two black pixels around, as LeCun."""
    return F.pad(pictures.float() / 255, (2, 2, 2, 2))


def moved(x: torch.Tensor) -> torch.Tensor:
    """(B, 1, 32, 32), each rotated by up to 15 degrees, slanted, scaled by 0.6 to 1.35 and shifted
    by up to 4 pixels; torch's generator draws."""
    count = len(x)
    turn = (torch.rand(count) * 2 - 1) * math.radians(15)
    slant = (torch.rand(count) * 2 - 1) * 0.25
    width, height = (0.6 * (1.35 / 0.6) ** torch.rand(count) for _ in range(2))
    width = height * (width / height).clamp(0.8, 1.25)
    cos, sin = turn.cos(), turn.sin()
    shift = (torch.rand(count, 2) * 2 - 1) * 8 / SIDE
    rows = torch.stack([cos / width, (slant * cos - sin) / width, shift[:, 0]], 1)
    columns = torch.stack([sin / height, (slant * sin + cos) / height, shift[:, 1]], 1)
    grid = F.affine_grid(torch.stack([rows, columns], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def drawn(x: torch.Tensor) -> torch.Tensor:
    """Light strokes on black, (B, 1, 32, 32) in 0..1, in other tones: thinner or thicker, dark on
    light or light on dark, a ground that grows lighter to one side, and noise."""
    count = len(x)

    def some(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, 1, 1, 1)

    strokes = x ** torch.exp(some(-0.9, 0.5))
    contrast = some(0.25, 1.0)
    lowest = some(0.0, 1.0) * (1 - contrast)
    tones = lowest + contrast * torch.where(some(0, 1) < 0.5, strokes, 1 - strokes)
    place = torch.linspace(-0.5, 0.5, SIDE)
    light = some(-0.2, 0.2) * place.view(1, 1, 1, -1) + some(-0.2, 0.2) * place.view(1, 1, -1, 1)
    noise = torch.randn_like(x) * some(0, 0.06)
    return (tones + (light + noise) * contrast).clamp(0, 1)


def none_of_them(x: torch.Tensor) -> torch.Tensor:
    """(B, 1, 32, 32) that shows no single digit: clouds, blots with edges, stripes, four or two
    digits at once, or nothing."""
    count = len(x)
    kind = torch.arange(count) % 6
    clouds = torch.empty_like(x)
    for i in range(count):
        cells = int(torch.randint(2, 17, ()))
        rough = torch.rand(1, 1, cells, int(torch.randint(2, 17, ())))
        clouds[i] = F.interpolate(rough, (SIDE, SIDE), mode="bilinear", align_corners=False)[0]
    blots = ((clouds - 0.5) * 20).sigmoid() * clouds.flip(2)
    angle = torch.rand(count, 1, 1, 1) * math.pi
    place = torch.arange(SIDE).float()
    along = angle.cos() * place.view(1, 1, 1, -1) + angle.sin() * place.view(1, 1, -1, 1)
    pitch = 0.2 + 1.3 * torch.rand(count, 1, 1, 1)
    stripes = (1 + (along * pitch + 6 * torch.rand(count, 1, 1, 1)).sin()) / 2
    half = F.interpolate(x, scale_factor=0.5, mode="area")  # (B, 1, 16, 16)
    others = [half[torch.randperm(count)] for _ in range(3)]
    four = torch.cat([torch.cat([half, others[0]], 3), torch.cat(others[1:], 3)], 2)
    narrow = F.interpolate(x, (SIDE, SIDE // 2), mode="area")
    two = torch.cat([narrow, narrow[torch.randperm(count)]], 3)
    stacked = torch.stack(
        [clouds, blots, stripes, four, two, torch.zeros_like(x)]
    )  # (6, B, 1, 32, 32)
    return stacked[kind, torch.arange(count)]


def batch(x: torch.Tensor, plain: float = 0.3) -> torch.Tensor:
    """What the network reads of digits (B, 1, 28, 28) uint8: a share `plain` as they are."""
    small = padded(x)
    kept = int(plain * len(small))
    return normalised(torch.cat([small[:kept], drawn(moved(small[kept:]))]))


def doubtful(x: torch.Tensor) -> torch.Tensor:
    """What the network reads of pictures of none of the digits, made from (B, 1, 28, 28) uint8."""
    return normalised(drawn(none_of_them(padded(x))))
