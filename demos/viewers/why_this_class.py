"""The view of what counts for a class: values for it, and the component that draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.why_this_class import Curves, Why


class WhyView(view.View):
    """Maps of what counts for a class, and curves; its value is from `packed`."""

    markup = "why_this_class.html"
    styles = ("why_this_class.css",)
    scripts = ("why_this_class.js",)


def packed(rgb: images.RGB, why: Why) -> dict[str, Any]:
    """The value of a `WhyView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture that `why` belongs to.
    """
    rows, columns = why.maps[0].values.shape
    return {
        **view.packed(
            "why",
            {
                "maps": np.stack([one.values for one in why.maps]),
                "random": np.stack([one.random for one in why.maps]),
            },
        ),
        "picture": view.seen(rgb, why.seen),
        "rows": rows,
        "columns": columns,
        "methods": [one.method for one in why.maps],
        "likeness": [round(one.likeness(), 4) for one in why.maps],
        "label": why.label,
        "probability": why.probability,
        "best": [[name, score] for name, score in why.best],
        "about": why.about,
    }


def with_curves(value: dict[str, Any], curves: Curves) -> dict[str, Any]:
    """A value of `packed` with the curves, which take longer."""
    rounded = {
        name: np.round(rows, 5).tolist()
        for name, rows in (
            ("shares", curves.shares),
            ("deletion", curves.deletion),
            ("insertion", curves.insertion),
            ("areas", np.stack(curves.areas())),
        )
    }
    return {**value, "curves": {"names": list(curves.names), **rounded}}
