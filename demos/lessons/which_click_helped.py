"""Segment: how the mask changed with each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import images
from core.imaging import coco
from demos.canvas.gestures import Prompted
from demos.segment.files import active, full_mask, required
from demos.segment.prompts import chosen_prompts
from demos.segment.session import FILE_NAME, SHOWN_SIDE, Session, settings_of, shown_iou
from demos.shell.lesson import Action, Lesson, Show, Upload, code_of

if TYPE_CHECKING:
    from core.lessons.which_click_helped import ClickGains


def _run(
    picture: images.Picture,
    checkpoint: str,
    session: Session | None,
    reference: images.RGB | None = None,
) -> str:
    from core.lessons import which_click_helped as lesson

    one, box = chosen_prompts(picture, session)
    found = lesson.measure(
        picture,
        one.points,
        box,
        checkpoint,
        refine=min(one.choice or 0, 2),
        reference=_reference(session, reference),
        max_side=SHOWN_SIDE,
    )
    return chart_html(found, [_name(one, row.click) for row in found.rows])


def _reference(session: Session | None, loaded: images.RGB | None) -> Any:
    """(H, W) bool: the uploaded mask, or else the stored one; None if there is neither."""
    if loaded is not None:
        return loaded.mean(axis=2) > 127
    taken = session.reference if session is not None else None
    return None if taken is None else coco.decode(taken)


def _take(
    picture: images.Picture, checkpoint: str, smallest: float, session: Session | None
) -> str:
    """Store the mask of the selected object as the reference for later prompts.

    It replaces an uploaded reference: the latest one counts.
    """
    picture, session = required(picture, session)
    one = active(session)
    mask, *_ = full_mask(picture, session, settings_of(picture, checkpoint, smallest), one)
    rle: Any = coco.encode(mask, 1.0)["rle"]
    session.reference = rle
    return f"{one.name} is now the reference. Prompt the same object in another way, then refresh."


def _code(picture: images.Picture, checkpoint: str, session: Session | None) -> str:
    from core.lessons import which_click_helped as lesson

    one, box = chosen_prompts(picture, session)
    return code_of(
        lesson.measure,
        picture.name or FILE_NAME,
        points=one.points,
        box=box,
        checkpoint=checkpoint,
        refine=min(one.choice or 0, 2),
    )


def _name(one: Prompted, click: int) -> str:
    if click == 0:
        return "Box"
    if click > len(one.points):
        return f"Click {click}"
    return f"Click {click}, {'include' if one.points[click - 1][2] else 'exclude'}"


def chart_html(found: ClickGains, labels: list[str]) -> str:
    """A row for each prompt: how much the mask changed, predicted IoU, and true IoU if known."""
    known = any(row.true is not None for row in found.rows)
    more = ["True IoU", "Gain"] if known else []
    heads = ["Prompt", "Mask changed by", "Predicted IoU", *more]
    rows = []
    for row, label in zip(found.rows, labels, strict=True):
        changed = None if row.unchanged is None else 1 - row.unchanged
        cells = [f"<td>{label}</td>", _bar(changed), _bar(row.predicted)]
        if known:
            gain = "" if row.gain is None else f"{row.gain:+.2f}"
            cells += [_bar(row.true, "true"), f"<td>{gain}</td>"]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return (
        '<div class="scroll" tabindex="0"><table class="rows clicks">'
        f"<thead><tr>{head}</tr></thead>"
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="about">{_note(found, labels)}</p>'
    )


def _note(found: ClickGains, labels: list[str]) -> str:
    if all(row.true is None for row in found.rows):
        return (
            "“Changed by” is 1 minus the IoU with the mask before. Predicted IoU is the model's "
            "own estimate of how good its mask is."
        )
    best = found.most_helpful
    helped = "" if best is None else f"{labels[found.rows.index(best)]} helped most. "
    return (
        f"{helped}True IoU compares the mask with the reference, and gain is its change. Where "
        "predicted and true IoU differ, the model misjudges its own mask."
    )


def _bar(value: float | None, kind: str = "") -> str:
    if value is None:
        return "<td>first</td>"
    width = min(1.0, max(0.0, value))
    return (
        f'<td><span class="cell-number">{shown_iou(value)}</span><span class="bar-track">'
        f'<span class="bar-fill {kind}" style="width:{width:.1%}"></span></span></td>'
    )


LESSON = Lesson(
    key="which-click-helped",
    title="Which click helped",
    tab="segment",
    about="How the mask of the selected object changed with each prompt, and how sure the model "
    "was. With a reference mask you also see how right it was: upload one (white is the object), "
    "or prompt the object until its mask is right and use that.",
    needs=("picture", "checkpoint", "session", "smallest"),
    controls=(
        Upload("reference", "Reference mask"),
        Action("take", "Use the selected object's mask as reference", _take, ("reference",)),
    ),
    run=_run,
    shows=(Show("html", "chart"),),
    order=10,
    code=_code,
)
