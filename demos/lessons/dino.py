"""Classify: what patches are like, as colours and neighbours, and what the class token reads."""

from __future__ import annotations

import html
from typing import Any

from core import checks, images
from core.checkpoints import CATALOGUE, by_key
from core.sources import resolver
from demos.shell import lesson_parts, picker, ui
from demos.shell.lesson import Action, Choice, Endpoint, Lesson, NotYet, Show, code_of
from demos.viewers.dino import DinoView, packed

_CHOSEN, _FIRST = "chosen", "dino-small"


def _choices() -> list[tuple[str, str]]:
    backbones = [c for c in CATALOGUE if c.features]
    sizes = [picker.megabytes(c.size_mb) for c in backbones]
    names = [f"{c.title}, trained without labels" for c in backbones]
    named = [
        (f"{name} ({size})", c.key) for name, size, c in zip(names, sizes, backbones, strict=True)
    ]
    return [("The checkpoint chosen above", _CHOSEN), *named]


def _run(picture: images.Picture, checkpoint: str, model: str) -> tuple[str, Any]:
    from core.lessons import dino as lesson

    one = None if model == _CHOSEN else by_key(model)
    if one is not None and not resolver.is_ready(one):
        # Otherwise another model would answer in its place.
        size = picker.megabytes(one.size_mb)
        raise NotYet(
            f"The weights of {one.title} ({size}) are not on this machine: press Download, or "
            "choose the checkpoint above."
        )
    found = lesson.look(picture, checkpoint if model == _CHOSEN else model)
    note = f'<p class="note" role="note">{html.escape(found.learnt)}</p>' if found.learnt else ""
    facts = f"{len(found.levels)} layers"
    return note + ui.info_html(found.info, facts), packed(picture.load(), found)


def _fetch(model: str) -> str:
    """Start the download of the model that is chosen, of DINO if none is, or say how far it is."""
    wanted = _FIRST if model == _CHOSEN else model
    offered = wanted in [key for _, key in _choices()]  # no others, of any size, for the asking
    return lesson_parts.fetched(wanted if offered else "")


def _code(picture: images.Picture, checkpoint: str, model: str) -> str:
    from core.lessons import dino as lesson

    key = checkpoint if model == _CHOSEN else model
    text = code_of(lesson.look, picture.name or "picture.png", checkpoint=key)
    asked = "found.levels[-1].colours.shape, found.levels[-1].nearest(row=5, column=5)"
    return text.replace("print(found)", f"print({asked})")


def dino(
    image: images.RGB,
    checkpoint: str = "auto",
    layer: int = -1,
    row: int = 0,
    column: int = 0,
    count: int = 10,
) -> dict[str, Any]:
    """Describe the patches of a picture: colours, the most similar patches, the class attention.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, "auto", dino-small or dinov2-small (without labels).
        layer: Number of the layer, the first is 0; -1 is the last.
        row: Row of a patch, the first is 0.
        column: Column of that patch.
        count: How many of the most similar patches to list.

    Returns:
        The name and the grid of the layer; for each patch its first three principal components as
        a colour; the nearest patches as row, column and cosine; for each head the attention of the
        class token, null where there is none; and the part of the picture that the model saw.
    """
    from core.lessons import dino as lesson

    found = lesson.look(ui.required(image), checkpoint)
    most = len(found.levels) - 1
    level = found.levels[checks.whole(layer, "The layer", -1, most)]
    attention = level.attention
    return {
        "layer": level.name,
        "grid": list(level.grid),
        "colours": level.colours.tolist(),
        "explained": [round(float(value), 4) for value in level.explained],
        "nearest": [[r, c, round(cosine, 5)] for r, c, cosine in level.nearest(row, column, count)],
        "attention": None
        if attention is None
        else [[round(float(value), 6) for value in head] for head in attention],
        "learnt": found.learnt,
        "seen": [round(value, 1) for value in found.seen],
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="dino",
    title="What patches are like",
    tab="classify",
    about="Each patch is described by some hundred numbers. Here they become colours: patches of "
    "one colour are alike for the model. Click a patch to see the nearest ones.",
    run=_run,
    shows=(
        Show("html", "facts"),
        Show("component", "view", make=lambda elem_id: DinoView(elem_id=elem_id)),
    ),
    controls=(
        Choice("model", "Model", _choices(), _CHOSEN),
        Action("fetch", "Download", _fetch),
    ),
    order=30,
    code=_code,
    endpoint=Endpoint(
        "dino", dino, ("image", "text", "number", "number", "number", "number"), ("json",)
    ),
)
