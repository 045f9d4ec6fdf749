"""Classify: how much of the picture a unit sees."""

from __future__ import annotations

import html
from typing import Any

from core import images
from core.errors import InputError
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, Text, code_of
from demos.viewers.receptive_field import ReceptiveFieldView, packed


def _run(picture: images.Picture, checkpoint: str, unit: str) -> tuple[Any, ...]:
    from core.lessons import receptive_field as lesson

    found, chosen, said = lesson.measure(picture, checkpoint), None, ""
    layer, row, column = _parsed(unit)
    if layer in {one.name for one in found.units}:
        more = lesson.measure(picture, checkpoint, layer=layer, row=row, column=column)
        chosen, info = more.layers[0], more.info
    else:
        info = found.info
        if layer:  # chosen in another checkpoint
            name = f"{html.escape(found.title)} has no layer {html.escape(layer[:60])}"
            said = f'<p class="about">{name}, so a few of its own are shown.</p>'
    value = packed(picture.load(), found, lesson.PRESETS, lesson.MOST_STEPS, chosen)
    return value, said + ui.info_html(info, f"{found.side} x {found.side} pixels")


def _parsed(unit: str) -> tuple[str, int, int]:
    """Layer, row and column of "blocks.1 5 7", counted from 0; -1 for the middle.

    Raises:
        InputError: it is another text.
    """
    refused = InputError('Write a layer, a row and a column, such as "blocks.1 5 7".')
    if not isinstance(unit or "", str):
        raise refused
    if not (unit or "").strip():
        return "", -1, -1
    layer, *place = unit.split()
    if not place:
        return layer, -1, -1
    numbers = [int(one[:9]) for one in place if one.isascii() and one.isdecimal()]
    if len(place) != 2 or len(numbers) != 2 or min(numbers) < 1:
        raise refused
    return layer, numbers[0] - 1, numbers[1] - 1


def _code(picture: images.Picture, checkpoint: str, unit: str) -> str:
    from core.lessons import receptive_field as lesson

    layer, row, column = _parsed(unit)
    place = {"layer": layer, "row": row, "column": column} if layer else {}
    return code_of(lesson.measure, picture.name or "picture.png", checkpoint=checkpoint, **place)


def receptive_field(
    image: images.RGB,
    checkpoint: str = "auto",
    chain: str = "",
    across: float = 0.5,
    down: float = 0.5,
    layer: str = "",
    row: int = -1,
    column: int = -1,
) -> dict[str, Any]:
    """Show how much of the picture a unit sees, by arithmetic and by the gradient.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        chain: A network such as "vgg16" or a chain such as "c3 c3 m2s2", instead of a measurement.
        across: Where the unit lies, as a share of the width, 0 to 1.
        down: The same of the height.
        layer: The only layer to measure, one of the answer's `units`; empty for some of them.
        row: Row of the unit on that layer's map, the first is 0; -1 for the one at `down`.
        column: Its column; -1 for the one at `across`.

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
    found = lesson.measure(rgb, checkpoint, across, down, layer, row, column)
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
        "units": [{"name": one.name, "grid": list(one.grid)} for one in found.units],
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
    controls=(
        Text(
            "unit",
            "Measured unit",
            info="A layer, its row and its column, or choose below; empty for a few layers.",
        ),
    ),
    order=40,
    code=_code,
    endpoint=Endpoint(
        "receptive_field",
        receptive_field,
        ("image", "text", "text", *("number",) * 2, "text", *("number",) * 2),
        ("json",),
    ),
)
