"""Pages of small pictures that the recipes draw when a starter is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Picture = NDArray[np.uint8]
SIDE = 240  # px of a tile


def tile(picture: Picture) -> Picture:
    """A picture (H, W, 3) of at most SIDE px, in the corner of a white square."""
    square = np.full((SIDE, SIDE, 3), 255, np.uint8)
    square[: picture.shape[0], : picture.shape[1]] = picture
    return square


def save(tiles: list[Picture], columns: int, out: Path, quality: int) -> None:
    """Write full rows of `columns` tiles as one JPEG, creating its folder."""
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(rows)).save(out, quality=quality)
