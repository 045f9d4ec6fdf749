"""Classify: two to four checkpoints on the same picture."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import side_by_side, ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.viewers.compare import CompareView, packed


def _run(
    picture: images.Picture, checkpoint: str, second: str, third: str, fourth: str
) -> tuple[Any, ...]:
    from core.lessons import compare as lesson

    found = lesson.look(
        picture, side_by_side.keys("classify", lesson.other, checkpoint, second, third, fourth)
    )
    infos = "".join(ui.info_html(one.info) for one in found.answers)
    return packed(picture.load(), found), infos


def _code(picture: images.Picture, checkpoint: str, second: str, third: str, fourth: str) -> str:
    from core.lessons import compare as lesson

    keys = side_by_side.keys("classify", lesson.other, checkpoint, second, third, fourth)
    return code_of(lesson.look, picture.name or "picture.png", checkpoints=keys)


def compare(image: images.RGB, checkpoints: str = "", top_k: int = 5) -> dict[str, Any]:
    """Compare two to four classifiers on one picture.

    Args:
        image: The picture.
        checkpoints: Keys of /checkpoints with commas between; empty for a ViT and a CNN.
        top_k: How many classes of each.

    Returns:
        For each its classes with probabilities, parameters, multiply-adds, the seconds of its pass
        and what it looks at (rows of shares of the most important place); and the agreement, the
        probability that two answers share.
    """
    from core.lessons import compare as lesson

    keys = side_by_side.listed(checkpoints)
    found = lesson.look(ui.required(image), keys, top_k)
    return {
        "answers": [
            {
                "checkpoint": one.info.checkpoint,
                "classes": [
                    {"label": label, "score": round(score, 6)}
                    for label, score in zip(one.labels, one.scores.tolist(), strict=True)
                ],
                "params": one.params,
                "macs": one.macs,
                "seconds": round(one.seconds, 4),
                "heat": [[round(float(v), 3) for v in row] for row in one.heat],
                "seen": [round(value, 1) for value in one.seen],
                "info": one.info.to_dict(),
            }
            for one in found.answers
        ],
        "agreement": [[round(float(v), 4) for v in row] for row in found.agreement],
        "same_best": found.same_best,
    }


LESSON = Lesson(
    key="compare",
    title="Two models side by side",
    tab="classify",
    about="The same picture for two to four checkpoints: what they answer, where they agree, what "
    "they cost, and which part of the picture each looks at.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: CompareView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    controls=side_by_side.controls(
        "classify", ("Beside it", "Third", "Fourth"), "A model of the other kind"
    ),
    order=60,
    code=_code,
    endpoint=Endpoint("compare", compare, ("image", "text", "number"), ("json",)),
)
