"""Classify: the windows of a Swin Transformer, shifted windows, and attention inside them."""

from __future__ import annotations

import html
from typing import Any

from core import images
from demos.shell import lesson_parts, ui
from demos.shell.lesson import Action, Endpoint, Lesson, Show, code_of
from demos.viewers.swin import SwinView, packed

_KEY = "swin-tiny"


def _run(picture: images.Picture, checkpoint: str) -> tuple[str, Any]:
    from core.lessons import swin as lesson

    found = lesson.look(picture, checkpoint)
    value = packed(picture.load(), found)
    if found.info is not None:
        stages = 1 + found.blocks[-1].stage
        return ui.info_html(found.info, f"{len(found.blocks)} blocks in {stages} stages"), value
    said = f"{found.missing} The windows below need none: they are those of {found.name}."
    return f'<p class="note" role="note">{html.escape(said)}</p>', value


def _fetch() -> str:
    """Start the download of Swin-T, or say how far it is."""
    return lesson_parts.fetched(_KEY)


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import swin as lesson

    text = code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)
    asked = "found.missing or found.weights(block=1, head=-1, row=10, column=20)"
    return text.replace("print(found)", f"print(found.blocks)\nprint({asked})")


def swin(
    image: images.RGB,
    checkpoint: str = "auto",
    block: int = 0,
    head: int = -1,
    row: int = 0,
    column: int = 0,
    bias: bool = True,
) -> dict[str, Any]:
    """Show what a patch of a Swin Transformer takes from the others of its window.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints; Swin-T stands in for any that is no Swin.
        block: Number of the block, the first is 0.
        head: Number of the head, the first is 0; -1 is the mean of all.
        row: Row of the patch in the grid of the block's stage, the first is 0.
        column: Column of the patch there.
        bias: Whether the relative position bias counts.

    Returns:
        The blocks with their grids, windows and shifts; the weights as a grid, null without the
        model's weights, and `missing` says why; and the part of the picture that the model saw.
    """
    from core.lessons import swin as lesson

    found = lesson.look(ui.required(image), checkpoint)
    weights = None
    if found.scores:
        grid = found.weights(block, head, row, column, bias)
        weights = [[round(float(value), 6) for value in line] for line in grid]
    return {
        "model": found.name,
        "blocks": [
            {"stage": b.stage, "grid": b.grid, "window": b.window, "shift": b.shift}
            for b in found.blocks
        ],
        "weights": weights,
        "missing": found.missing,
        "seen": [round(value, 1) for value in found.seen],
        "info": found.info.to_dict() if found.info else None,
    }


LESSON = Lesson(
    key="swin",
    title="Windows that shift",
    tab="classify",
    about="A Swin Transformer looks only inside windows, which are shifted in every second block, "
    "and merges patches from stage to stage. Click a patch to see its window.",
    run=_run,
    shows=(
        Show("html", "facts"),
        Show("component", "view", make=lambda elem_id: SwinView(elem_id=elem_id)),
    ),
    controls=(Action("fetch", "Download Swin-T", _fetch),),
    order=20,
    code=_code,
    endpoint=Endpoint(
        "swin", swin, ("image", "text", "number", "number", "number", "number", "flag"), ("json",)
    ),
)
