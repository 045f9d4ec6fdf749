"""Classify: from logits to probabilities and to the loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.viewers.logits import LogitsView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import logits as lesson

    found = lesson.look(picture, checkpoint)
    return packed(found, lesson.LARGEST), ui.info_html(found.info, f"{len(found.labels):,} classes")


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import logits as lesson

    code = code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)
    more = (
        "best = found.labels[found.values.argmax()]\n"
        "print(best, found.values.max(), found.softmax(temperature=2).max())\n"
        "print(found.cross_entropy(best), found.softmax_twice(best))\n"
    )
    return code.replace("print(found)\n", more)


def logits(
    image: images.RGB, checkpoint: str = "auto", label: str = "", temperature: float = 1.0
) -> dict[str, Any]:
    """Give the logits of a classifier, what becomes of them, and the loss for a true class.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        label: The true class by its name; empty for the best one.
        temperature: Divides the logits before the softmax, 0.05 to 100.

    Returns:
        Logit, softmax and sigmoid of the ten best classes and of the true one; the cross-entropy;
        and what it is if probabilities are passed instead of logits.
    """
    from core.lessons import logits as lesson

    found = lesson.look(ui.required(image), checkpoint)
    label = found.labels[int(found.values.argmax())] if not str(label or "").strip() else label
    true = found.index(label)
    softmax, sigmoid = found.softmax(temperature), found.sigmoid()
    best = [int(i) for i in np.argsort(-found.values, kind="stable")[:10]]
    return {
        "classes": [
            {
                "label": found.labels[i],
                "logit": round(float(found.values[i]), 5),
                "softmax": round(float(softmax[i]), 7),
                "sigmoid": round(float(sigmoid[i]), 7),
            }
            for i in (best if true in best else [*best, true])
        ],
        "true": found.labels[true],
        "cross_entropy": round(found.cross_entropy(label, temperature), 6),
        "softmax_twice": round(found.softmax_twice(label), 6),
        "info": found.info.to_dict(),
    }


LESSON = Lesson(
    key="logits",
    title="Logits and loss",
    tab="classify",
    about="The last layer gives each class a number without limits, its logit. See what softmax "
    "and sigmoid make of them, and choose a true class to see the loss.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: LogitsView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=40,
    code=_code,
    endpoint=Endpoint("logits", logits, ("image", "text", "text", "number"), ("json",)),
)
