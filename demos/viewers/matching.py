"""The view of matching: every query of one picture for it, and the component that matches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.shell import ui
from demos.viewers import view

if TYPE_CHECKING:
    from core import detect

SHOWN_SIDE = 1000  # pixels of the longer side of the picture: boxes are drawn on it


class MatchingView(view.View):
    """True boxes on a picture and the queries they are matched with; its value is from `packed`."""

    markup = "matching.html"
    styles = ("matching.css",)
    scripts = ("boxes.js", "detections_paint.js", "dragging.js", "matching.js")


def packed(
    rgb: images.RGB,
    found: detect.Inside,
    *,
    start: list[list[float]],
    classes: dict[int, str],
    weights: tuple[float, float, float],
    loss_weights: tuple[float, float, float],
    unmatched: float,
) -> dict[str, Any]:
    """The value of a `MatchingView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
        start: the first true boxes, [x1, y1, x2, y2, class number] in 0..1.
        classes: those that a true box can have, by number.
        weights, loss_weights: of class, L1 and GIoU. unmatched: as in `core.lessons.matching`.
    """
    arrays = {"logits": found.logits, "boxes": found.boxes}
    return {
        **view.packed("matching", {k: v.astype(np.float32) for k, v in arrays.items()}),
        "picture": shown(rgb),
        "kind": found.kind,
        "start": start,
        "classes": {str(number): name for number, name in classes.items()},
        "weights": list(weights),
        "lossWeights": list(loss_weights),
        "unmatched": unmatched,
    }


def shown(rgb: images.RGB) -> str:
    """Path of a JPEG of the whole picture, large enough to draw boxes on."""
    return str(images.save_jpeg(images.resize_max(rgb, SHOWN_SIDE), ui.result_path("picture.jpg")))
