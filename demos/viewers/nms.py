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

CROP = 7  # places of a proposal on each side


class NmsView(view.View):
    """Boxes before and after NMS, of two detectors; its value is from `packed`."""

    markup = "nms.html"
    styles = ("nms.css",)
    scripts = ("boxes.js", "detections_paint.js", "dragging.js", "nms.js")


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
        arrays[f"{side}_levels"] = found.levels.astype(np.int8)
    arrays |= _stages(dense)
    facts = {
        side: {
            "title": title,
            "labels": {str(c): found.inside.labels.get(c, f"class {c}") for c in _known(found)},
        }
        for (side, found), title in zip(pair.items(), titles, strict=True)
    }
    levels = [list(level) for level in dense.inside.levels]
    pairs = dense.inside.anchored
    anchors = pairs.per_place if pairs else 0
    more = {"picture": shown(rgb), "levels": levels, "anchors": anchors, "limit": dense.limit}
    return {**view.packed("nms", arrays), **facts, **more}


def _stages(dense: Candidates) -> dict[str, NDArray[Any]]:
    """What fired at each place of the pyramid, and the proposals of a first stage, if any.

    `from` (K,) are the rows of the proposals; `crops` (P, 49) what the second stage gets of each.
    """
    pairs = dense.inside.anchored
    if pairs is None:
        best = dense.inside.logits.max(1)  # (N,)
        return {"fired": _bytes(1 / (1 + np.exp(-np.clip(best, -60, 60))))}
    strength = pairs.crops.reshape(-1, CROP**2)
    return {
        "fired": _bytes(pairs.fired),
        "from": dense.proposals.astype(np.int16),
        "proposals": pairs.proposals.astype(np.float32),
        "objectness": pairs.objectness.astype(np.float32),
        "proposal_levels": pairs.proposal_levels.astype(np.int8),
        "crops": _bytes(strength / np.maximum(strength.max(1, initial=0, keepdims=True), 1e-9)),
    }


def _bytes(shares: NDArray[Any]) -> NDArray[np.uint8]:
    return np.rint(255 * shares).astype(np.uint8)


def _known(found: Candidates) -> list[int]:
    return sorted({int(number) for number in found.classes})
