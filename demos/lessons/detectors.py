"""Detect: two to four detectors on the same picture."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import side_by_side, ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.shell.lesson_parts import compared
from demos.viewers.detectors import DetectorsView, packed


def _run(
    picture: images.Picture, checkpoint: str, second: str, third: str, fourth: str
) -> tuple[Any, ...]:
    from core.lessons import detectors as lesson

    keys = side_by_side.keys("detect", lesson.other, checkpoint, second, third, fourth)
    found = lesson.look(picture, keys, lesson.LOWEST)
    infos = "".join(ui.info_html(one.info) for one in found.answers)
    which = compared(checkpoint, [one.info.checkpoint for one in found.answers], "detect")
    return {**packed(picture.load(), found, lesson.spelled), "which": which}, infos


def _code(picture: images.Picture, checkpoint: str, second: str, third: str, fourth: str) -> str:
    from core.lessons import detectors as lesson

    keys = side_by_side.keys("detect", lesson.other, checkpoint, second, third, fourth)
    return code_of(lesson.look, picture.name or "picture.png", checkpoints=keys, threshold=0.5)


def compare_detectors(
    image: images.RGB, checkpoints: str = "", threshold: float = 0.5, iou: float = 0.5
) -> dict[str, Any]:
    """Compare two to four detectors on one picture.

    Args:
        image: The picture.
        checkpoints: Keys of /checkpoints with commas between; empty for the two starters.
        threshold: Boxes with a lower score are left out.
        iou: Boxes of a class that overlap by as much are the same object, 0 to 1.

    Returns:
        For each its boxes, with the number of detectors that found the same object, parameters, the
        seconds of its pass, the published figure and the licence; and the agreement, of two answers
        twice the shared objects over the boxes of both.
    """
    from core.lessons import detectors as lesson

    keys = side_by_side.listed(checkpoints)
    found = lesson.look(ui.required(image), keys, threshold, iou)
    return {
        "image_size": list(found.size),
        "answers": [
            {
                "checkpoint": one.info.checkpoint,
                "detections": [
                    {
                        "label": label,
                        "score": round(float(score), 4),
                        "box": [round(float(v), 2) for v in box],
                        "found_by": int(count),
                    }
                    for label, score, box, count in zip(
                        one.labels, one.scores, one.boxes, found_by, strict=True
                    )
                ],
                "params": one.params,
                "shared_params": one.shared,
                "seconds": round(one.seconds, 4),
                "metric": one.info.metric,
                "licence": one.licence,
                "needs_nms": one.needs_nms,
                "info": one.info.to_dict(),
            }
            for one, found_by in zip(found.answers, found.found_by, strict=True)
        ],
        "agreement": [[round(float(v), 4) for v in row] for row in found.agreement],
    }


LESSON = Lesson(
    key="detectors",
    title="Detectors side by side",
    tab="detect",
    about="The same picture for two to four detectors: what each finds, which objects the others "
    "find too, what it costs, and how well it does on a benchmark.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: DetectorsView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    controls=side_by_side.controls(
        "detect",
        ("Second detector", "Third detector", "Fourth detector"),
        "A starter that works differently",
    ),
    order=60,
    code=_code,
    endpoint=Endpoint(
        "compare_detectors", compare_detectors, ("image", "text", "number", "number"), ("json",)
    ),
)
