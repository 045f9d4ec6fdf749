"""Detect: all queries of a DETR over its layers, and whom and what they look at."""

from __future__ import annotations

from typing import Any

from core import checks, images
from core.errors import InputError
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.shell.lesson_parts import other_model
from demos.viewers.queries import QueriesView, packed

_CLASSES = 5


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import queries as lesson

    found = lesson.look(picture, checkpoint)
    layers, count = found.inside.layers_boxes.shape[:2]
    facts = f"{count} queries, {layers} decoder layers of {found.heads} heads"
    if isinstance(found.over, lesson.Sampling):
        facts += (
            f", each head reads {len(found.over.levels)} points of {len(found.over.shapes)} maps"
        )
    elif found.over.grid is not None:
        facts += ", each head looks at all {} x {} places".format(*found.over.grid)
    which = other_model(checkpoint, found.inside.info.checkpoint, "detect", "has no queries")
    value = {**packed(picture.load(), found), "which": which}
    return value, ui.info_html(found.inside.info, facts)


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import queries as lesson

    return code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)


def queries(
    image: images.RGB,
    query: int = -1,
    layer: int = -1,
    head: int = -1,
    place: list[float] | None = None,
    checkpoint: str = "auto",
) -> dict[str, Any]:
    """Show the queries of a DETR after a decoder layer, and whom and what one of them looks at.

    Args:
        image: The picture.
        query: Number of the query, the first is 0; -1 is the one with the best class.
        layer: Number of the decoder layer, the first is 0; -1 is the last.
        head: Number of the head, the first is 0; -1 is the mean of all.
        place: A point [x, y] in pixels, to see what it looks at in the encoder; null for none.
        checkpoint: A key of /checkpoints, or "auto" for the best DETR available.

    Returns:
        The box and class of each query after the layer; of the chosen one its best classes, its
        boxes after every layer, its attention to each query, and what it looks at: weights of all
        places of a map, or points [x, y, weight] in pixels; and the encoder's weights, row by row.
    """
    from core.lessons import queries as lesson

    found = lesson.look(ui.required(image), checkpoint)
    (scores, classes), boxes = found.scores(layer), found.boxes(layer)
    last = len(scores) - 1
    query = checks.whole(query, "The number of the query", low=-1, high=last)
    query = int(scores.argmax()) if query < 0 else query
    shares = found.probabilities(layer)[query]
    settled = [found.boxes(one)[query] for one in range(len(found.inside.layers_boxes))]
    return {
        "queries": [
            {"label": found.label(int(c)), "score": _round(score), "box": _rounded(box, 1)}
            for c, score, box in zip(classes, scores, boxes, strict=True)
        ],
        "query": query,
        "classes": [
            {"label": found.label(int(number)), "score": _round(shares[number])}
            for number in (-shares).argsort(kind="stable")[:_CLASSES]
        ],
        "layers": [_rounded(box, 1) for box in settled],
        "self_attention": _rounded(found.among.weights(layer, head)[query]),
        **_looked_at(found, layer, head, query),
        "encoder": _from_place(found, place),
        "info": found.inside.info.to_dict(),
    }


def _looked_at(found: Any, layer: int, head: int, query: int) -> dict[str, Any]:
    """Either "cross_attention" on its "grid", or "points"."""
    from core.lessons.queries import Sampling

    if not isinstance(found.over, Sampling):
        weights = found.over.weights(layer, head)[query]
        return {"cross_attention": _rounded(weights), "grid": list(found.over.grid)}
    points, weights, _ = found.over.read(layer, head, query)
    pixels = points * found.inside.size
    rows = zip(pixels, weights, strict=True)
    return {"points": [[*_rounded(point, 1), _round(weight)] for point, weight in rows]}


def _from_place(found: Any, place: Any) -> list[list[float]] | None:
    if place is None:
        return None
    if not isinstance(place, (list, tuple)) or len(place) != 2:
        raise InputError("Give the place as [x, y] in pixels.")
    return [_rounded(row) for row in found.from_place(*place)]


def _round(value: Any, digits: int = 6) -> float:
    return round(float(value), digits)


def _rounded(values: Any, digits: int = 6) -> list[float]:
    return [_round(value, digits) for value in values]


LESSON = Lesson(
    key="queries",
    title="What each query looks at",
    tab="detect",
    about="A DETR answers with a fixed number of queries: each is a list of numbers that searches "
    "the picture for one object, and ends as one box with its class, or as nothing. Layer by layer "
    "the queries look at the picture and at each other, and their boxes settle. Choose a box to "
    "follow its query.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: QueriesView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=5,
    code=_code,
    endpoint=Endpoint(
        "queries", queries, ("image", "number", "number", "number", "json", "text"), ("json",)
    ),
)
