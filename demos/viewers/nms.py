"""The view of non-maximum suppression: boxes of two detectors, and what thins them out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core import images
from demos.viewers import view
from demos.viewers.matching import shown

if TYPE_CHECKING:
    from core.lessons.nms import Candidates


class NmsView(view.View):
    """Boxes before and after NMS, of two detectors; its value is from `packed`."""

    markup = "nms.html"
    styles = ("nms.css",)
    scripts = ("boxes.js", "dragging.js", "nms.js")


def packed(
    rgb: images.RGB, dense: Candidates, queries: Candidates, titles: tuple[str, str]
) -> dict[str, Any]:
    """The value of an `NmsView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that both belong to.
        dense: of the detector that predicts at every token. queries: of a DETR.
        titles: the names of the two detectors.
    """
    pair = {"dense": dense, "queries": queries}
    arrays: dict[str, NDArray[Any]] = {}
    for side, found in pair.items():
        size = np.array([*found.inside.size, *found.inside.size], dtype=np.float32)
        arrays[f"{side}_boxes"] = (found.boxes / size).astype(np.float32)
        arrays[f"{side}_scores"] = found.scores
        arrays[f"{side}_classes"] = found.classes.astype(np.int16)
    best = dense.inside.logits.max(1)  # (N,)
    arrays["fired"] = np.rint(255 / (1 + np.exp(-np.clip(best, -60, 60)))).astype(np.uint8)
    facts = {
        side: {
            "title": title,
            "labels": {str(c): found.inside.labels.get(c, f"class {c}") for c in _known(found)},
        }
        for (side, found), title in zip(pair.items(), titles, strict=True)
    }
    levels = [list(level) for level in dense.inside.levels]
    return {**view.packed("nms", arrays), **facts, "picture": shown(rgb), "levels": levels}


def _known(found: Candidates) -> list[int]:
    return sorted({int(number) for number in found.classes})
