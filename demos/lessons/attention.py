"""Classify: who looks at whom in a Vision Transformer."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.viewers.attention import AttentionView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import attention as lesson

    found = lesson.look(picture, checkpoint)
    rows, columns = found.grid
    layers, heads = found.queries.shape[:2]
    facts = f"{rows} x {columns} patches, {layers} layers of {heads} heads"
    return packed(picture.load(), found), ui.info_html(found.info, facts)


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import attention as lesson

    return code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)


def attention(
    image: images.RGB,
    checkpoint: str = "auto",
    layer: int = -1,
    head: int = -1,
    temperature: float = 1.0,
) -> dict[str, Any]:
    """Show whom each token of a Vision Transformer looks at.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best Vision Transformer available.
        layer: Number of the layer, the first is 0; -1 is the last. One more is class attention.
        head: Number of the head, the first is 0; -1 is the mean of all.
        temperature: Divides the scores before the softmax, 0.05 to 100.

    Returns:
        The (N, N) weights, one row for each token that looks; the names of the special tokens,
        which come first; the grid of patches; and the part of the picture that the model saw.
    """
    from core.lessons import attention as lesson

    found = lesson.look(ui.required(image), checkpoint)
    weights = found.chosen(layer, head, temperature)
    return {
        "weights": [[round(float(value), 6) for value in row] for row in weights],
        "special": list(found.special),
        "grid": list(found.grid),
        "seen": [round(value, 1) for value in found.seen],
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="attention",
    title="Who looks at whom",
    tab="classify",
    about="A Vision Transformer cuts the picture into patches, and in every layer each patch looks "
    "at all others. Click a patch, or the class token, to see whom it looks at.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: AttentionView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=10,
    code=_code,
    endpoint=Endpoint(
        "attention", attention, ("image", "text", "number", "number", "number"), ("json",)
    ),
)
