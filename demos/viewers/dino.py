"""The view of patch features: values for it, and the component that draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.dino import Features


class DinoView(view.View):
    """A picture in patches with their features as colours; its value is from `packed`."""

    markup = "dino.html"
    styles = ("dino.css",)
    scripts = ("dino.js", "dino_input.js")


def packed(rgb: images.RGB, found: Features) -> dict[str, Any]:
    """The value of a `DinoView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    arrays: dict[str, Any] = {}
    levels = []
    for number, one in enumerate(found.levels):
        arrays[f"features{number}"], _ = view.whole(one.features)  # a cosine needs no scale
        arrays[f"colours{number}"] = one.colours
        if one.attention is not None:
            arrays[f"attention{number}"] = one.attention.astype(np.float32)
        levels.append(
            {
                "name": one.name,
                "grid": list(one.grid),
                "dim": one.features.shape[1],
                "heads": 0 if one.attention is None else len(one.attention),
                "explained": [round(float(value), 4) for value in one.explained],
            }
        )
    return {
        **view.packed("features", arrays),
        "picture": view.seen(rgb, found.seen),
        "levels": levels,
    }
