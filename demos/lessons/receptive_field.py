"""Classify: how much of the picture a unit sees."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.viewers.receptive_field import ReceptiveFieldView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import receptive_field as lesson

    found = lesson.measure(picture, checkpoint)
    value = packed(picture.load(), found, found.title, lesson.PRESETS, lesson.MOST_STEPS)
    return value, ui.info_html(found.info, f"{found.side} x {found.side} pixels")


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import receptive_field as lesson

    return code_of(lesson.measure, picture.name or "picture.png", checkpoint=checkpoint)


def receptive_field(
    image: images.RGB,
    checkpoint: str = "auto",
    chain: str = "",
    across: float = 0.5,
    down: float = 0.5,
) -> dict[str, Any]:
    """Show how much of the picture a unit sees, by arithmetic and by the gradient.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        chain: A network such as "vgg16" or a chain such as "c3 c3 m2s2", instead of a measurement.
        across: Where the unit lies, as a share of the width, 0 to 1.
        down: The same of the height.

    Returns:
        For each layer its field in pixels (null for the whole picture, or where it is not known),
        and if it was measured the side of the square with 90 % of the gradient.
    """
    from core.lessons import receptive_field as lesson

    rgb = ui.required(image)
    if chain:
        fields = lesson.chain(chain)
        rows = [
            {"name": f.name, "field": _finite(f.size), "step": f.jump, "units": f.units}
            for f in fields
        ]
        return {"layers": rows}
    found = lesson.measure(rgb, checkpoint, across, down)
    return {
        "layers": [
            {
                "name": one.name,
                "grid": list(one.grid),
                "unit": [one.row, one.column],
                "field": None if one.field is None else _finite(one.field.size),
                "box": one.box and [round(v, 1) for v in one.box],
                "side": one.side,
            }
            for one in found.layers
        ],
        "side": found.side,
        "looks_aside": found.looks_aside,
        "seen": [round(value, 1) for value in found.seen],
        "info": found.info.to_dict(),
    }


def _finite(size: float) -> int | None:
    return None if size == float("inf") else int(size)


LESSON = Lesson(
    key="receptive-field",
    title="How far a unit sees",
    tab="classify",
    about="Layer by layer a unit sees more of the picture. Change the chain of convolutions and "
    "pools and see its field; beside it, which pixels count in the checkpoint that is loaded.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: ReceptiveFieldView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=40,
    code=_code,
    endpoint=Endpoint(
        "receptive_field", receptive_field, ("image", "text", "text", "number", "number"), ("json",)
    ),
)
