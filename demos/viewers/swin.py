"""The view of a Swin's windows: values for it, and the component that draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.swin import Windows


class SwinView(view.View):
    """A picture in windows with the attention of the chosen patch; its value is from `packed`."""

    markup = "swin.html"
    styles = ("swin.css",)
    scripts = ("swin.js", "swin_input.js")


def packed(rgb: images.RGB, found: Windows) -> dict[str, Any]:
    """The value of a `SwinView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    arrays: dict[str, Any] = {"none": np.zeros(1, np.uint8)}
    scales = []
    for number, scores in enumerate(found.scores):
        whole, scale = view.whole(scores, (0, 2, 3))  # a factor for each head
        arrays[f"scores{number}"] = whole
        arrays[f"bias{number}"] = found.biases[number].astype(np.float32)
        scales.append(scale.tolist())
    blocks = [
        {
            "stage": one.stage,
            "number": one.number,
            "grid": list(one.grid),
            "window": list(one.window),
            "shift": list(one.shift),
            "heads": one.heads,
            "dim": one.dim,
        }
        for one in found.blocks
    ]
    return {
        **view.packed("swin", arrays),
        "picture": view.seen(rgb, found.seen),
        "blocks": blocks,
        "scales": scales,
        "name": found.name,
    }
