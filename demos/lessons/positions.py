"""Classify: which places are alike for a Vision Transformer."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show
from demos.viewers.positions import PositionsView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import positions as lesson

    found = lesson.look(checkpoint)
    rows, columns = found.grid
    facts = f"{rows} x {columns} places, {found.dim} numbers each"
    return packed(picture.load(), found), ui.info_html(found.info, facts)


def _code(checkpoint: str) -> str:
    return (
        "# Needs Vision Hub's core package: `pip install .` in a copy of its repository.\n"
        "from core.lessons import positions\n\n"
        f"found = positions.look({checkpoint!r})\n"
        "print(found.grid, found.similarity.shape)\n"
        "print(found.of(row=0, column=0).round(2))  # every place beside the upper left one\n"
    )


def positions(checkpoint: str = "auto", row: int = 0, column: int = 0) -> dict[str, Any]:
    """Tell how similar each place's position embedding is to that of one place.

    Args:
        checkpoint: A key of /checkpoints, or "auto" for the best Vision Transformer available.
        row: Number of the row of patches, the first is 0.
        column: Number of the column of patches, the first is 0.

    Returns:
        The cosine similarities, one list for each row of the grid; and the grid.
    """
    from core.lessons import positions as lesson

    found = lesson.look(checkpoint)
    return {
        "similarity": [[round(float(one), 4) for one in line] for line in found.of(row, column)],
        "grid": list(found.grid),
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="positions",
    title="Which places are alike",
    tab="classify",
    about="A Vision Transformer adds a learned vector to each patch that says where it lies. Click "
    "a place to see which others have similar vectors. They are the same for every picture.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: PositionsView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=20,
    code=_code,
    endpoint=Endpoint("positions", positions, ("text", "number", "number"), ("json",)),
)
