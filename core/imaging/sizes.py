"""The size of a picture that is shrunk to fit."""

from __future__ import annotations


def fitted(size: tuple[int, int], side: float) -> tuple[int, int]:
    """`size` shrunk in proportion so that neither side exceeds `side`; never enlarged.

    Sides are rounded to whole pixels, at least 1. The order (H, W) or (W, H) is kept.
    """
    factor = min(1.0, side / max(size))
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))
