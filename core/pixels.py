"""Pillow's pixels as an array, without the two further copies that `np.asarray` makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND = 256  # rows


def as_array(image: Image.Image) -> NDArray[Any]:
    """`np.asarray(image)`, (H, W) or (H, W, C), made band by band and writeable."""
    width, height = image.size
    first = np.asarray(image.crop((0, 0, width, min(BAND, height))))
    pixels = np.empty((height, *first.shape[1:]), first.dtype)
    pixels[: len(first)] = first
    for top in range(len(first), height, BAND):
        bottom = min(top + BAND, height)
        pixels[top:bottom] = np.asarray(image.crop((0, top, width, bottom)))
    return pixels
