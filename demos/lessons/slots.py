"""Detect: what each query of a DETR is used for, over the bundled examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show
from demos.shell.lesson_parts import other_model
from demos.viewers.slots import SlotsView, packed


def _run(checkpoint: str) -> Iterator[Any]:
    from core.lessons import slots as lesson

    found = yield from lesson.look_steps(checkpoint)
    facts = f"{found.boxes.shape[1]} queries on {len(found.names)} pictures"
    which = other_model(checkpoint, found.info.checkpoint, "detect", "has no queries")
    yield {**packed(found), "which": which}, ui.info_html(found.info, facts)


def _code(checkpoint: str) -> str:
    return (
        "# Needs Vision Hub's core package: `pip install .` in a copy of its repository.\n"
        "from core.lessons import slots\n\n"
        f"found = slots.look({checkpoint!r})  # or with pictures of yours: pictures=[...]\n"
        "print(found.boxes.shape)  # pictures, queries, centre and size\n"
        "print(found.spread().round(2), found.by_chance())\n"
    )


def slots(checkpoint: str = "auto") -> dict[str, Any]:
    """Tell where the boxes of each query of a DETR lie over the bundled examples.

    Args:
        checkpoint: A key of /checkpoints, or "auto" for the best DETR available.

    Returns:
        For each query its boxes, centre and size in 0..1 for every picture, and how far the centres
        lie from their mean; the same if queries were exchanged at random; and the pictures.
    """
    from core.lessons import slots as lesson

    found = ui.run_while_wanted(lesson.look_steps(checkpoint))
    return {
        "boxes": found.boxes.round(4).swapaxes(0, 1).tolist(),
        "spread": [round(float(one), 4) for one in found.spread()],
        "by_chance": round(found.by_chance(), 4),
        "chosen_for_each_picture": found.chosen,
        "pictures": list(found.names),
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="slots",
    title="What each query is used for",
    tab="detect",
    about="In DETR each query learned places and sizes of its own; newer detectors choose their "
    "queries for each picture. See which of the two this one is, over the bundled examples.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: SlotsView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    needs=("checkpoint",),
    order=70,
    is_long=True,
    code=_code,
    endpoint=Endpoint("slots", slots, ("text",), ("json",)),
)
