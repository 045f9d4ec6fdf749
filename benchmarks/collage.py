"""Pictures for a run, all different so that no result comes from a cache."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from benchmarks.startup import ROOT

_FOUR = ("flower.jpg", "rocket.jpg", "temple.jpg", "coffee.jpg")


def collage(width: int, height: int) -> Image.Image:
    """Four photographs in a 2 x 2 grid, with as much detail as one of that size."""
    whole = Image.new("RGB", (width, height))
    for i, name in enumerate(_FOUR):
        part = Image.open(ROOT / "examples" / name).convert("RGB")
        corner = ((i % 2) * width // 2, (i // 2) * height // 2)
        whole.paste(part.resize((width - width // 2, height - height // 2)), corner)
    return whole


def jpegs(count: int, width: int, height: int, first: int = 0) -> list[bytes]:
    """`count` files that differ by a shift of the collage; pictures from `first` on."""
    pixels = np.asarray(collage(width, height))
    made = []
    for i in range(first, first + count):
        buffer = io.BytesIO()
        shifted = np.roll(pixels, (i // width, i % width), (0, 1))
        Image.fromarray(shifted).save(buffer, "JPEG", quality=90)
        made.append(buffer.getvalue())
    return made
