"""Pictures side by side with a line of text under each, for model cards and docs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.types import RGB

LINE, GAP = 22, 8  # px


def fitted(picture: RGB, side: int) -> RGB:
    """A copy whose longer side is `side`; small pictures are enlarged by nearest neighbour."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (round(width * scale), round(height * scale))
    kind = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS
    return np.asarray(Image.fromarray(picture).resize(size, kind))


def row(cells: Sequence[tuple[str, RGB]]) -> RGB:
    """One line of captioned pictures, aligned at the top, on white."""
    height = max(picture.shape[0] for _, picture in cells) + LINE
    width = sum(picture.shape[1] + GAP for _, picture in cells) + GAP
    canvas = Image.new("RGB", (width, height + GAP), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    left = GAP
    for words, picture in cells:
        canvas.paste(Image.fromarray(picture), (left, GAP))
        pen.text((left, picture.shape[0] + GAP + 3), words, fill="black", font=font)
        left += picture.shape[1] + GAP
    return np.asarray(canvas)


def stacked(rows: Sequence[RGB]) -> RGB:
    """Rows below each other, the narrower ones filled up with white."""
    width = max(r.shape[1] for r in rows)
    wide = [np.pad(r, ((0, 0), (0, width - r.shape[1]), (0, 0)), constant_values=255) for r in rows]
    return np.concatenate(wide)


def save(picture: RGB, path: Path) -> None:
    """PNG or JPEG by the suffix, without metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, quality=95, optimize=True)
    print(f"{path} {picture.shape[1]}x{picture.shape[0]} {path.stat().st_size // 1000} kB")
