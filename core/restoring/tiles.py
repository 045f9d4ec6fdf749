"""Restore a picture tile by tile, so that memory does not grow with it.

Tiles are cut from the picture's bytes and converted one at a time. Their outputs are blended in a
strip as high as one tile, and rows that no other tile touches become bytes of the result. So there
is never a whole picture of floats, which would take four times the memory of both pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator

import numpy as np
import torch

from core.nets import transforms
from core.types import RGB

OVERLAP = 32
GRID = 8  # tile sides are multiples of this, so networks need not pad
_ROWS = 64  # rows of the strip converted to bytes at once


def restored(
    rgb: RGB, factor: int, side: int, net: Callable[[torch.Tensor], torch.Tensor]
) -> Generator[float, None, RGB]:
    """(H, W, 3) uint8 -> (H * factor, W * factor, 3) uint8, with linearly blended seams.

    Yields the fraction done after each tile.

    Args:
        side: largest side of a tile, pixels of the input.
        net: (1, 3, h, w) float32 in 0..1 -> (1, 3, h * factor, w * factor) on the CPU.
    """
    h, w = rgb.shape[:2]
    (tops, high), (lefts, wide) = tile_rows(h, side), tile_rows(w, side)
    if len(tops) == len(lefts) == 1:  # nothing to blend; exact values
        y = net(transforms.to_batch(rgb))
        yield 1.0
        return transforms.to_rgb(y)
    down, across = _windows(tops, high, h, factor), _windows(lefts, wide, w, factor)
    result = np.empty((h * factor, w * factor, 3), np.uint8)
    strip = torch.zeros(3, high * factor, w * factor)
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            y = net(transforms.to_batch(rgb[top : top + high, left : left + wide]))
            columns = slice(left * factor, (left + wide) * factor)
            strip[..., columns].addcmul_(y[0], down[row][:, None] * across[column])
            yield (row * len(lefts) + column + 1) / (len(tops) * len(lefts))
        ready = (tops[row + 1] - top if row + 1 < len(tops) else high) * factor
        for start in range(0, ready, _ROWS):
            stop = min(start + _ROWS, ready)
            result[top * factor + start : top * factor + stop] = transforms.to_rgb(
                strip[None, :, start:stop]
            )
        shared = strip[:, ready:].clone()
        strip[:, : shared.shape[1]] = shared
        strip[:, shared.shape[1] :] = 0
    return result


def tile_rows(length: int, side: int) -> tuple[list[int], int]:
    """Where tiles begin along one side of a picture, and their common length.

    As few tiles as possible with at most `side` pixels (a multiple of `GRID`), evenly spread: tiles
    of exactly that side would compute much of a picture twice, with the last one pushed back.
    """
    if length <= side:
        return [0], length
    count = math.ceil((length - OVERLAP) / (side - OVERLAP))
    even = math.ceil((length + (count - 1) * OVERLAP) / count)
    size = min(length, math.ceil(even / GRID) * GRID)
    return [round(i * (length - size) / (count - 1)) for i in range(count)], size


def _windows(starts: list[int], length: int, whole: int, factor: int) -> list[torch.Tensor]:
    """The weights (length * factor,) of each tile along one side; at each pixel they sum to 1."""
    ramps = [_ramp(start, length, whole, factor) for start in starts]
    total = torch.zeros(whole * factor)
    places = [slice(start * factor, (start + length) * factor) for start in starts]
    for place, ramp in zip(places, ramps, strict=True):
        total[place] += ramp
    return [ramp / total[place] for place, ramp in zip(places, ramps, strict=True)]


def _ramp(start: int, length: int, whole: int, factor: int) -> torch.Tensor:
    """Weights (length * factor,) of a tile along one side of a picture of `whole` pixels.

    They fall to 0 before a border shared with another tile, because a network knows least about its
    outermost pixels, and stay 1 at the picture's border.
    """
    place = (torch.arange(length * factor) + 0.5) / factor  # in pixels of the input
    quarter = OVERLAP / 4
    weight = torch.ones(length * factor)
    if start > 0:
        weight *= ((place - quarter) / (2 * quarter)).clamp(0, 1)
    if start + length < whole:
        weight *= ((length - place - quarter) / (2 * quarter)).clamp(0, 1)
    return weight
