"""Detect: boxes with and without non-maximum suppression, beside a DETR, which needs none."""

from __future__ import annotations

from typing import Any

from core import images
from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, code_of
from demos.shell.lesson_parts import compared, title_of
from demos.viewers.nms import NmsView, packed


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import nms as lesson

    dense, queries = lesson.compare(picture, checkpoint)
    infos = dense.inside.info, queries.inside.info
    one, two = (title_of(info.checkpoint) for info in infos)
    counts = _counted(dense.inside), f"{len(queries.inside.boxes)} queries"
    facts = "".join(ui.info_html(info, said) for info, said in zip(infos, counts, strict=True))
    which = compared(checkpoint, [info.checkpoint for info in infos], "detect")
    return {**packed(picture.load(), dense, queries, (one, two)), "which": which}, facts


def _counted(inside: Any) -> str:
    if inside.anchored is None:
        return f"{len(inside.boxes)} tokens"
    pairs = f"{len(inside.boxes)} pairs of box and class"
    proposals = len(inside.anchored.proposals)
    return f"{proposals} proposals, {pairs}" if proposals else pairs


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import nms as lesson

    return code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)


def nms(
    image: images.RGB,
    checkpoint: str = "auto",
    threshold: float = 0.3,
    iou: float = 0.6,
    method: str = "hard",
    sigma: float = 0.5,
) -> dict[str, Any]:
    """Show which boxes non-maximum suppression keeps, and which each of them suppresses.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the starter that predicts at every place.
        threshold: Boxes with a lower score are left out.
        iou: Boxes of a class that overlap a better one by more are suppressed, 0 to 1.
        method: "hard" drops them, "linear" and "gaussian" lower their scores (soft-NMS).
        sigma: The width of "gaussian"; the larger, the less scores are lowered.

    Returns:
        The boxes with their scores before and after, the best first, the number of the one that
        suppressed it, or null, its level of the pyramid, and the proposal of a first stage.
    """
    from core.lessons import nms as lesson

    found = lesson.look(ui.required(image), checkpoint, threshold)
    parts = found.boxes, found.scores, found.classes
    after = lesson.suppress(*parts, method, iou, sigma)  # type: ignore[arg-type]
    labels = found.inside.labels
    boxes = [
        {
            "label": labels.get(int(found.classes[i]), f"class {found.classes[i]}"),
            "box": [round(float(v), 1) for v in found.boxes[i]],
            "score": round(float(found.scores[i]), 4),
            "score_after": round(float(after.scores[i]), 4),
            "kept": bool(after.scores[i] > threshold),
            "suppressed_by": int(after.by[i]) if after.by[i] >= 0 else None,
            "level": int(found.levels[i]) if found.levels[i] >= 0 else None,
            "proposal": _proposal(found, i),
        }
        for i in range(len(found.scores))
    ]
    return {"boxes": boxes, "info": found.inside.info.to_dict()}


def _proposal(found: Any, i: int) -> dict[str, Any] | None:
    """The region of the first stage that box i was made from."""
    row = int(found.proposals[i])
    if row < 0:
        return None
    pairs, (w, h) = found.inside.anchored, found.inside.size
    x1, y1, x2, y2 = (float(value) for value in pairs.proposals[row])
    box = [round(value, 1) for value in (x1 * w, y1 * h, x2 * w, y2 * h)]
    return {"box": box, "score": round(float(pairs.objectness[row]), 4)}


LESSON = Lesson(
    key="nms",
    title="Life with and without NMS",
    tab="detect",
    about="A detector that answers at every place finds each object many times, and non-maximum "
    "suppression drops the copies. DETR's queries agree among themselves, so there is much less "
    "to drop. Move the sliders, and point at a box to see what it suppresses. If the detector has "
    "two stages, see what the first one proposes.",
    run=_run,
    shows=(
        Show("component", "view", make=lambda elem_id: NmsView(elem_id=elem_id)),
        Show("html", "facts"),
    ),
    order=20,
    code=_code,
    endpoint=Endpoint(
        "nms", nms, ("image", "text", "number", "number", "text", "number"), ("json",)
    ),
)
