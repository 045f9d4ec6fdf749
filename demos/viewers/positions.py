"""The view of position embeddings: values for it, and the component that draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.positions import Positions


class PositionsView(view.View):
    """Similarity maps of the places of a grid; its value is from `packed`."""

    markup = "positions.html"
    styles = ("positions.css",)
    scripts = ("positions.js",)


def packed(rgb: images.RGB, found: Positions) -> dict[str, Any]:
    """The value of a `PositionsView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture behind the grid.
    """
    numbers, scale = view.whole(found.similarity)
    others = found.similarity[~np.eye(len(found.similarity), dtype=bool)]
    return {
        **view.packed("positions", {"similarity": numbers}),
        "picture": view.seen(rgb, found.seen(rgb.shape[:2])),
        "scale": float(scale),
        "rows": found.grid[0],
        "columns": found.grid[1],
        "ends": [float(others.min()), float(others.max())] if others.size else [0.0, 1.0],
    }
