"""Detect: which query is matched with which true box, and the loss that follows."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.shell.lesson_parts import other_model
from demos.viewers.matching import MatchingView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import matching as lesson

    matched = lesson.look(picture, None, checkpoint)
    found = matched.inside
    pairs = zip(matched.boxes, matched.labels, strict=True)
    which = other_model(checkpoint, found.info.checkpoint, "detect", "has no queries")
    value = packed(
        picture.load(),
        found,
        start=[[*(round(float(v), 4) for v in box), int(label)] for box, label in pairs],
        classes=lesson.classes(found),
        weights=matched.weights,
        loss_weights=lesson.LOSS_WEIGHTS,
        unmatched=lesson.UNMATCHED[found.kind],
    )
    classes = 'one softmax with "no object"' if found.kind == "softmax" else "sigmoids"
    info = ui.info_html(found.info, f"{len(found.boxes)} queries, {classes}")
    return {**value, "which": which}, info


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import matching as lesson

    name = picture.name or "picture.png"
    return code_of(lesson.look, name, boxes=None, checkpoint=checkpoint, weights=None)


def matching(
    image: images.RGB,
    boxes: list[Any] | None = None,
    checkpoint: str = "auto",
    weights: list[float] | None = None,
    unmatched: float | None = None,
) -> dict[str, Any]:
    """Match the queries of a DETR with true boxes, and tell the loss.

    Args:
        image: The picture.
        boxes: True boxes, [x1, y1, x2, y2, class name or number] each, in pixels.
            By default, the confident detections of the model, slightly moved.
        checkpoint: A key of /checkpoints, or "auto" for the best DETR available.
        weights: Of the class, L1 and GIoU cost, 0 to 20; null for those published.
        unmatched: Weight of the queries without a box in the class loss, 0 to 1; null as published.

    Returns:
        The pairs with their costs and losses, the loss of unmatched queries, and the total loss.
    """
    from core.lessons import matching as lesson

    found = lesson.look(ui.required(image), boxes, checkpoint, weights, unmatched)
    size = np.array([*found.inside.size, *found.inside.size])
    names = lesson.classes(found.inside)
    predicted = lesson.overlaps.xyxy(found.inside.boxes) * size
    total = found.costs.total(found.weights)
    rows = []
    for p, (q, t) in enumerate(zip(found.queries, found.truths, strict=True)):
        costs = (found.costs.classes, found.costs.l1, found.costs.giou, total)
        losses = (found.loss.classes, found.loss.l1, found.loss.giou)
        rows.append(
            {
                "box": _rounded(found.boxes[t] * size, 1),
                "label": names[int(found.labels[t])],
                "query": int(q),
                "predicted": _rounded(predicted[q], 1),
                "cost": _named(("class", "l1", "giou", "total"), [part[q, t] for part in costs]),
                "loss": _named(("class", "l1", "giou"), [part[p] for part in losses]),
            }
        )
    parts = _named(("class", "l1", "giou", "total"), [*found.loss.parts, found.loss.total])
    return {
        "pairs": rows,
        "unmatched": round(found.loss.unmatched, 6),
        "loss": parts,
        "weights": list(found.weights),
        "info": found.inside.info.to_dict(),
    }


def _rounded(values: Any, digits: int) -> list[float]:
    return [round(float(value), digits) for value in values]


def _named(names: tuple[str, ...], values: list[Any]) -> dict[str, float]:
    return dict(zip(names, _rounded(values, 6), strict=True))


LESSON = Lesson(
    key="matching",
    title="Which query learns which box",
    tab="detect",
    about="DETR is trained with one query for each true box, the cheapest assignment of all, and "
    "every other query learns to say nothing. Draw true boxes and see who gets them.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: MatchingView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=10,
    code=_code,
    endpoint=Endpoint("matching", matching, ("image", "json", "text", "json", "number"), ("json",)),
)
