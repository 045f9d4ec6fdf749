"""The view of a DETR's slots: values for it, and the component that draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.slots import Slots


class SlotsView(view.View):
    """A small plot of its boxes for every query; its value is from `packed`."""

    markup = "slots.html"
    styles = ("slots.css",)
    scripts = ("slots.js",)


def packed(found: Slots) -> dict[str, Any]:
    """The value of a `SlotsView`."""
    arrays = {"boxes": found.boxes.astype(np.float32), "scores": found.scores.astype(np.float32)}
    return {
        **view.packed("slots", arrays),
        "picture": "",
        "names": list(found.names),
        "labels": [list(row) for row in found.labels],
        "slots": found.boxes.shape[1],
        "spread": [round(float(one), 4) for one in found.spread()],
        "chance": round(found.by_chance(), 4),
        "chosen": found.chosen,
        "habits": found.has_habits(),
    }
