"""Process large pictures in bands of rows where a library would copy the whole picture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

BAND_BYTES = 2**22  # small enough for the CPU cache


def bands(height: int, row_bytes: int) -> Iterator[slice]:
    """Slices of rows, top to bottom, of about `BAND_BYTES` each."""
    step = max(1, BAND_BYTES // max(1, row_bytes))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def to_array(image: Image.Image) -> NDArray[Any]:
    """`np.array(image)`, (H, W) or (H, W, C), without its two extra copies."""
    first, *others = bands(image.height, image.width * 4)
    top = np.asarray(image.crop((0, 0, image.width, first.stop)))
    out = np.empty((image.height, *top.shape[1:]), top.dtype)
    out[first] = top
    for band in others:
        out[band] = np.asarray(image.crop((0, band.start, image.width, band.stop)))
    return out


def to_padded(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H, W, 4) uint8; the fourth channel is unused, see `to_image`."""
    padded = np.empty((*rgb.shape[:2], 4), np.uint8)
    padded[..., :3] = rgb
    return padded


def to_image(padded: NDArray[np.uint8]) -> Image.Image:
    """(H, W, 4) uint8 of `to_padded` as a Pillow image of mode "RGBX", without a copy.

    Pillow stores four bytes per pixel, so this is the one layout that it can use without a copy.
    """
    size = (padded.shape[1], padded.shape[0])
    return Image.frombuffer("RGBX", size, padded, "raw", "RGBX", 0, 1)


def resized(
    rgb: NDArray[np.uint8], size: tuple[int, int], resample: Image.Resampling
) -> Image.Image:
    """`Image.fromarray(rgb).resize(size, resample)`, bit for bit; `size` is (W, H).

    Pillow resizes rows first and then columns, with bytes in between, so bands give equal results.
    """
    rows = Image.new("RGB", (size[0], rgb.shape[0]))
    for band in bands(rgb.shape[0], rgb.shape[1] * 3):
        part = Image.fromarray(rgb[band])
        rows.paste(part.resize((size[0], part.height), resample), (0, band.start))
    return rows.resize(size, resample)
