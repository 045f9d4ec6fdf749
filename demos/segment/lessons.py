"""Look inside, on the Segment tab: which click helped, the way of a prompt, what the encoder sees.

Everything is folded away at first and made when it is opened.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import images
from core.errors import InputError
from core.imaging import coco
from demos.canvas.gestures import Prompted
from demos.segment.files import FIRST, active, full_mask, required
from demos.segment.session import SHOWN_SIDE, Session, given, settings_of, shown_iou
from demos.shell import result, ui
from demos.shell.image import ImageIn

if TYPE_CHECKING:
    from core.sam.insight import ClickGain

PCA_SIDE = 512


def build(state: list[Any]) -> list[Any]:
    """The accordions. `state` is picture, checkpoint, smallest area, session.

    Returns what has to be emptied for another picture.
    """
    with gr.Accordion("Which click helped", open=False, elem_id="segment-clicks") as clicks:
        gr.Markdown(
            "How the mask of the chosen object changed with each prompt, and how sure the model "
            "was. With a reference mask you also see how right it was: load one (white is the "
            "object), or outline the object with clicks and boxes until you agree with its mask, "
            "and take that."
        )
        reference = ImageIn(
            label="Reference mask", sources=("upload",), height=140, elem_id="segment-reference"
        )
        take = gr.Button(
            "Take the mask of the chosen object as reference", size="sm", elem_id="segment-take"
        )
        again = gr.Button("Show the prompts as they are now", size="sm")
        chart = gr.HTML(elem_id="segment-clicks-chart")
    with gr.Accordion("The way of a prompt", open=False, elem_id="segment-parts") as parts:
        gr.Markdown(
            "Prompt encoder and mask decoder of the loaded model: the shape of every tensor for "
            "the prompts of the chosen object, and the weights that make it."
        )
        anew = gr.Button("Show the prompts as they are now", size="sm")
        diagram = gr.HTML(elem_id="segment-parts-diagram")
    with gr.Accordion("What the encoder sees", open=False, elem_id="segment-pca") as pca:
        gr.Markdown(
            "The embedding in colour: its three principal components as red, green and blue. "
            "Places of like colour are described alike; a click tells SAM which of them you mean."
        )
        said = gr.HTML(elem_id="segment-pca-said")
        shown = ui.picture_output("Embedding", "segment-pca-picture", lossless=True)
    for trigger in (clicks.expand, again.click, reference.upload, reference.clear):
        result.on_demand([trigger], _clicks, [*state, reference], [chart])
    result.on_demand([take.click], _take, state, [chart, reference])
    for trigger in (parts.expand, anew.click):
        result.on_demand([trigger], _parts, state, [diagram])
    result.on_demand([pca.expand], lambda *state: ("", _pca(*state)), state, [said, shown])
    return [clicks, reference, chart, parts, diagram, pca, said, shown]


def _prompts(session: Session) -> tuple[Prompted, list[float] | None]:
    """The chosen object and its box.

    Raises:
        InputError: it has no prompt.
    """
    one = active(session)
    if given(session, one) is not None:
        raise InputError("This mask was picked in everything mode; add a click to it first.")
    base = session.given.get(one.given or "")
    return one, list(base.box) if base is not None and one.box is None else one.box


def _clicks(
    picture: images.Picture | None,
    checkpoint: str,
    smallest: float,
    session: Session | None,
    reference: images.RGB | None,
) -> str:
    if picture is None or session is None:
        return ui.placeholder(FIRST)
    try:
        one, box = _prompts(session)
    except InputError as error:
        return ui.placeholder(str(error))
    from core import segment as task

    wanted = _reference(session, reference)
    gains = task.click_gains(
        picture,
        one.points,
        box,
        checkpoint,
        refine=min(one.choice or 0, 2),
        reference=wanted,
        max_side=SHOWN_SIDE,
    )
    labels = ["" if count == 0 else _point_name(one, count) for count in (g.click for g in gains)]
    return chart_html(gains, labels)


def _reference(session: Session, loaded: images.RGB | None) -> Any:
    """(H, W) bool, the loaded mask before the taken one; None where there is neither."""
    if loaded is not None:
        return loaded.mean(axis=2) > 127
    return None if session.reference is None else coco.decode(session.reference)


def _take(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> tuple[str, None]:
    """Keep the mask of the chosen object, to compare the prompts of others with it.

    The file that was the reference until now goes: the newest one counts.
    """
    picture, session = required(picture, session)
    one = active(session)
    mask, *_ = full_mask(picture, session, settings_of(picture, checkpoint, smallest), one)
    rle: Any = coco.encode(mask, 1.0)["rle"]
    session.reference = rle
    said = (
        f"The mask of {one.name} is the reference now. Click another object, or this one anew, "
        "and show its prompts."
    )
    return f'<p class="about" role="status">{html.escape(said)}</p>', None


def _point_name(one: Prompted, count: int) -> str:
    if count > len(one.points):
        return f"Click {count}"
    return f"Click {count}, {'include' if one.points[count - 1][2] else 'exclude'}"


def chart_html(gains: list[ClickGain], labels: list[str]) -> str:
    """A row for each prompt: how much the mask changed, predicted IoU, and true IoU if known."""
    known = any(gain.true is not None for gain in gains)
    more = ["True IoU", "Gain"] if known else []
    heads = ["Prompt", "Mask changed by", "Model's own guess", *more]
    rows = []
    for gain, label in zip(gains, labels, strict=True):
        changed = None if gain.unchanged is None else 1 - gain.unchanged
        cells = [f"<td>{label or 'Box'}</td>", _bar(changed), _bar(gain.predicted)]
        if known:
            better = "" if gain.gain is None else f"{gain.gain:+.2f}"
            cells += [_bar(gain.true, "true"), f"<td>{better}</td>"]
        rows.append(f"<tr>{''.join(cells)}</tr>")
    head = "".join(f"<th>{name}</th>" for name in heads)
    note = (
        "Changed by is one less the IoU with the mask before; the model's own guess is the IoU "
        "that it predicts for its mask."
        if not known
        else "True IoU is that with the reference mask; gain is its change. Where the model's "
        "own guess, its predicted IoU, differs from it, the model is wrong about itself."
    )
    return (
        f'<div class="scroll"><table class="rows clicks"><thead><tr>{head}</tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table></div><p class="about">{note}</p>'
    )


def _bar(value: float | None, kind: str = "") -> str:
    if value is None:
        return "<td>first</td>"
    width = min(1.0, max(0.0, value))
    return (
        f'<td><span class="cell-number">{shown_iou(value)}</span><span class="bar-track">'
        f'<span class="bar-fill {kind}" style="width:{width:.1%}"></span></span></td>'
    )


def _parts(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> str:
    if picture is None or session is None:
        return ui.placeholder(FIRST)
    try:
        one, box = _prompts(session)
    except InputError as error:
        return ui.placeholder(str(error))
    from core import segment as task
    from core.sam import diagram

    return (
        f'<div class="scroll">{diagram.svg(task.parts(picture, one.points, box, checkpoint))}</div>'
    )


def _pca(
    picture: images.Picture | None, checkpoint: str, smallest: float, session: Session | None
) -> str:
    if picture is None:
        raise InputError("Choose a picture first.")
    from core import segment as task

    colours = task.embedding_picture(picture, checkpoint)
    factor = max(1, PCA_SIDE // max(colours.shape[:2]))  # squares, so that each place is seen
    path = ui.result_path("embedding.png")
    images.save_png(np.repeat(np.repeat(colours, factor, 0), factor, 1), path)
    return str(path)
