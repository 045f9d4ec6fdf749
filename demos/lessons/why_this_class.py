"""Classify: which parts of the picture count for a class."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, Text, code_of
from demos.viewers.why_this_class import WhyView, packed, with_curves


def _run(picture: images.Picture, checkpoint: str, label: str) -> Iterator[Any]:
    from core.lessons import why_this_class as lesson

    found = lesson.explain(picture, checkpoint, label)
    rows, columns = found.maps[0].values.shape
    facts = ui.info_html(found.info, f"maps of {rows} x {columns} cells")
    value = packed(picture.load(), found)
    yield value, facts
    curves = yield from lesson.measure_steps(picture, found)
    yield with_curves(value, curves), facts


def _code(picture: images.Picture, checkpoint: str, label: str) -> str:
    from core.lessons import why_this_class as lesson

    name = picture.name or "picture.png"
    code = code_of(lesson.explain, name, checkpoint=checkpoint, label=label)
    return code.replace(
        "print(found)\n",
        "for one in found.maps:\n    print(one.method, one.values.round(3), one.likeness())\n"
        f"curves = why_this_class.measure({name!r}, found)\nprint(curves.names, curves.areas())\n",
    )


def why(
    image: images.RGB, checkpoint: str = "auto", label: str = "", curves: bool = False
) -> dict[str, Any]:
    """Show which parts of a picture count for a class, and how well the maps predict that.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        label: The class by its name; empty for the most probable one.
        curves: Whether to measure deletion and insertion, which takes many passes.

    Returns:
        The class and its probability; the maps, row by row, each also from random weights; the part
        of the picture that they cover; and the curves with their areas, or null.
    """
    from core.lessons import why_this_class as lesson

    picture = images.picture(ui.required(image))
    found = lesson.explain(picture, checkpoint, label)
    measured = None
    if curves:
        rows = ui.run_while_wanted(lesson.measure_steps(picture, found))
        measured = with_curves({}, rows)["curves"]
    return {
        "label": found.label,
        "probability": round(found.probability, 6),
        "maps": [
            {
                "method": one.method,
                "values": np.round(one.values, 6).tolist(),
                "random": np.round(one.random, 6).tolist(),
            }
            for one in found.maps
        ],
        "seen": [round(value, 1) for value in found.seen],
        "curves": measured,
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="why-this-class",
    title="Why this class?",
    tab="classify",
    about="Which parts of the picture count for a class: three ways to ask, the same from a model "
    "with random weights, and how well each map predicts what happens when parts are hidden.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: WhyView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    controls=(Text("label", "Class", info="Empty for the most probable one; press Enter."),),
    order=30,
    is_long=True,
    code=_code,
    endpoint=Endpoint("why", why, ("image", "text", "text", "flag"), ("json",)),
)
