"""The view of receptive fields: the calculator, and the measured footprint beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.receptive_field import Footprint, Footprints, Preset
    from core.nets.chains import Step


class ReceptiveFieldView(view.View):
    """An editable chain, its field on the picture, and footprints; its value is from `packed`."""

    markup = "receptive_field.html"
    styles = ("receptive_field.css",)
    scripts = ("receptive_field.js", "receptive_field_input.js")


def packed(
    rgb: images.RGB,
    found: Footprints,
    presets: Sequence[Preset],
    most: int,
    chosen: Footprint | None = None,
) -> dict[str, Any]:
    """The value of a `ReceptiveFieldView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
        most: layers that a chain may have.
        chosen: the footprint of one more unit, which is shown first.
    """
    title = found.title
    chains = [_chain(one.key, one.title, one.side, one.about, one.steps) for one in presets]
    if found.steps:
        about = f"The convolutions and pools of {title}, as they are in memory."
        own = _chain("own", f"{title} (this checkpoint)", found.side, about, found.steps)
        chains.insert(0, own)
    shown = [*found.layers, *([] if chosen is None else [chosen])]
    maps = np.stack([_bytes(one.weights) for one in shown])
    return {
        **view.packed("footprints", {"maps": maps}),
        "picture": view.seen(rgb, found.seen),
        "side": found.side,
        "aside": found.looks_aside,
        "most": most,
        "chains": chains,
        "measured": [_measured(one) for one in shown],
        "chosen": chosen is not None,
        "units": [{"name": one.name, "kind": one.kind, "grid": one.grid} for one in found.units],
    }


def _chain(key: str, title: str, side: int, about: str, steps: Sequence[Step]) -> dict[str, Any]:
    plain = [_plain(step) for step in steps]
    return {"key": key, "title": title, "side": side, "about": about, "steps": plain}


def _bytes(weights: Any) -> Any:
    """(s, s) gradients as uint8; by the square root, or one would see only the peak."""
    most = max(float(weights.max()), 1e-12)
    return np.rint(255 * np.sqrt(weights / most)).astype(np.uint8)


def _plain(step: Step) -> dict[str, Any]:
    return {
        "name": step.name.removeprefix("trunk."),
        "kind": step.kind,
        "kernel": step.kernel,
        "stride": step.stride,
        "dilation": step.dilation,
        "padding": step.padding,
        "ceil": step.ceil,
    }


def _measured(one: Footprint) -> dict[str, Any]:
    (x, y), half = one.middle, one.side / 2
    size = None if one.field is None or one.field.size == float("inf") else int(one.field.size)
    return {
        "name": one.name,
        "kind": one.kind,
        "row": one.row,
        "column": one.column,
        "grid": list(one.grid),
        "field": size,
        "box": one.box and list(one.box),
        "held": one.side,
        "square": [x - half, y - half, x + half, y + half] if one.side else None,
    }
