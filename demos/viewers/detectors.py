"""The view of several detectors on one picture: boxes, which of them agree, and costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.shell import ui
from demos.viewers import view
from demos.viewers.matching import shown

if TYPE_CHECKING:
    from core.lessons.detectors import Answer, Comparison


class DetectorsView(view.View):
    """Cards beside each other; its value is from `packed`."""

    markup = "detectors.html"
    styles = ("compare.css", "detectors.css")
    scripts = ("boxes.js", "detections_paint.js", "dragging.js", "detectors.js")


def packed(rgb: images.RGB, found: Comparison, spelled: Callable[[str], str]) -> dict[str, Any]:
    """The value of a `DetectorsView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
        found: with all boxes that are worth a look; the page applies threshold and IoU.
        spelled: the spelling by which labels are compared.
    """
    classes = sorted({spelled(name) for one in found.answers for name in one.labels})
    numbers = {name: number for number, name in enumerate(classes)}
    arrays: dict[str, Any] = {}
    size = np.array([*found.size, *found.size], dtype=np.float32)
    for place, one in enumerate(found.answers):
        arrays[f"boxes{place}"] = (one.boxes / size).astype(np.float32)
        arrays[f"scores{place}"] = one.scores.astype(np.float32)
        of = [numbers[spelled(name)] for name in one.labels]
        arrays[f"classes{place}"] = np.array(of, dtype=np.int16)
    return {
        **view.packed("detectors", arrays),
        "picture": shown(rgb),
        "answers": [_plain(one) for one in found.answers],
    }


def _plain(one: Answer) -> dict[str, Any]:
    params = f"{one.params / 1e6:.3g} M"
    if one.shared:
        params += f", and {one.shared / 1e6:.3g} M of the shared trunk"
    return {
        "title": one.title,
        "labels": list(one.labels),
        "facts": [
            ["Parameters", params],
            ["Time of the pass", ui.duration(one.seconds)],
            ["Benchmark", one.info.metric or "no figure"],
            ["NMS", "needed" if one.needs_nms else "not needed"],
            ["Licence", one.licence],
        ],
        "note": one.info.note,
    }
