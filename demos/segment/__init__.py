"""Segment tab: click on the picture to get a mask from SAM."""

from __future__ import annotations

from typing import Any

import gradio as gr

from core import images
from core.errors import InputError
from core.imaging import coco, draw
from core.settings import get_settings
from demos import Tab
from demos.canvas.answers import canvas_answer, mask_url, served
from demos.canvas.component import PointPrompter
from demos.canvas.gestures import numbers, parse_gesture, parse_object, parse_point, picture_id
from demos.segment import everything, files, semantic
from demos.segment.picture import left, loading
from demos.segment.session import (
    FORGOTTEN,
    ONLY_EXCLUDES,
    PREVIEW_SIDE,
    Session,
    again,
    answer,
    chosen,
    masks,
    outputs_of,
    settings_of,
)
from demos.shell import api, examples, lesson_view, offers, picker, result, ui
from demos.shell.shared import SharedPicture

EXAMPLES = ("astronaut.jpg", "coins.jpg", "coffee.jpg", "flower.jpg")
HINT = (
    "The flower shows the starter at its best: one object on a plain background. The coins are its "
    "limit: it cuts some out cleanly, but takes a neighbour or the background with others."
)
DETAIL_SIDE = 1600
_NOTHING = (gr.skip(), gr.skip())


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("segment", EXAMPLES)
    image, session = shared.picture, shared.state("segment")
    handed, came = shared.prompts("segment")
    with ui.lab():
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("segment", "segment")
            with ui.more():
                smallest = gr.Slider(
                    0,
                    2,
                    0,
                    step=0.05,
                    label="Smallest hole or island (% of the picture)",
                    info="Smaller holes in a mask are filled, smaller islands removed.",
                    elem_id="segment-smallest",
                )
            ui.hint(HINT)
        with ui.area("out"):
            place = result.Answer("segment", "Choose a picture and click what you want to cut out")
            canvas = PointPrompter(elem_id="segment-canvas", hint="Choose a picture first.")
            info = gr.HTML(elem_id="segment-info")
            offer = offers.Offer("segment", "segment")
            state = [image, checkpoint, smallest, session]
            of_picture = [
                *everything.build(image, checkpoint, session, canvas),
                *files.build(shared, state),
            ]
    given = {"session": session, "smallest": smallest}
    offer.wire(checkpoint)
    lesson_view.render("segment", image, shared.turns["segment"], checkpoint, given)
    place.wire(
        shared,
        [checkpoint.input, offer.ready.change, came.change],
        loading(of_picture),
        [*state, handed],
        [canvas, info, session, *of_picture],
        hides=[canvas, info],
        at_once=True,
        leave=left,
        queue=ui.READING_QUEUE,
    )
    ui.on_device([smallest.release], again, state, [canvas, info], show_progress="hidden")
    ui.on_device(
        [canvas.prompt],
        _prompt,
        state,
        [canvas, info],
        trigger_mode="multiple",
        show_progress="hidden",
    )
    ui.on_device(
        [canvas.hover],
        _hover,
        state,
        [canvas],
        trigger_mode="multiple",
        show_progress="hidden",
    )
    ui.on_device([canvas.detail], _detail, [image, session], [canvas], show_progress="hidden")
    api.endpoint(
        "segment",
        segment,
        ("image", "json", "json", "text", "flag"),
        ("picture", "json", "json"),
        queue=ui.READING_QUEUE,
    )
    api.endpoint(
        "segment_everything",
        everything.segment_everything,
        ("image", "text", "number"),
        ("picture", "json", "json"),
        queue=ui.LONG_QUEUE,
    )
    api.endpoint(
        "segment_semantic",
        semantic.segment_semantic,
        ("image", "text"),
        ("picture", "json", "json"),
    )


# ---- gestures
def _prompt(
    picture: images.Picture | None,
    checkpoint: str,
    smallest: float,
    session: Session | None,
    event: gr.EventData,
) -> tuple[Any, ...]:
    gesture = parse_gesture(event._data)
    if session is None or picture is None:  # the server has restarted, or has too many visitors
        return canvas_answer(gesture, status=FORGOTTEN), gr.skip()
    if gesture.picture != session.id:
        return _NOTHING  # a click on an earlier picture
    session.note(gesture)
    settings = settings_of(picture, checkpoint, smallest)
    return outputs_of(*answer(picture, session, settings, gesture))


def _hover(
    picture: images.Picture | None,
    checkpoint: str,
    smallest: float,
    session: Session | None,
    event: gr.EventData,
) -> Any:
    """The mask that a click there would give; no message if there is none."""
    data: Any = event._data
    if session is None or picture is None or picture_id(data) != session.id:
        return gr.skip()
    if get_settings().zero_gpu:  # a visitor's share of the GPU is too small for that
        return gr.skip()
    one, point = parse_object(data.get("object")), parse_point(data.get("point"))
    settings = settings_of(picture, checkpoint, smallest)
    preview = {"picture": session.id, "seq": data.get("seq"), "mask": None}
    try:
        found = masks(picture, session, settings, one, PREVIEW_SIDE, point)
        preview["mask"] = mask_url(found.masks[chosen(found, one)], PREVIEW_SIDE)
    except InputError:
        pass
    return PointPrompter(preview=preview)


def _detail(picture: images.Picture | None, session: Session | None, event: gr.EventData) -> Any:
    """Pixels of the part of the picture that the page zooms in on."""
    data: Any = event._data
    if session is None or picture is None or picture_id(data) != session.id:
        return gr.skip()
    height, width = picture.size
    x1, y1, x2, y2 = (int(v) for v in numbers(data.get("rect"), 4))
    x1, y1, x2, y2 = max(0, x1), max(0, y1), min(width, x2), min(height, y2)
    if x1 >= x2 or y1 >= y2:
        return gr.skip()
    side = min(DETAIL_SIDE, max(16, int(max(numbers(data.get("size"), 2)))))
    source = served(picture.load()[y1:y2, x1:x2], side)
    return PointPrompter(detail={"picture": session.id, "rect": [x1, y1, x2, y2], "src": source})


# ---- the endpoint
def segment(
    image: images.RGB,
    points: list[list[float]] | None = None,
    box: list[float] | None = None,
    checkpoint: str = "auto",
    multimask: bool = True,
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Segment an object with SAM, from points or a box.

    Args:
        image: The picture.
        points: [[x, y, label], …] in pixels; label 1 includes, 0 excludes.
        box: [x1, y1, x2, y2] in pixels, or null.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        multimask: Return three masks of different sizes if the prompt is a single point.

    Returns:
        The picture with the best mask drawn, all masks as COCO run lengths, and how the answer was
        made.
    """
    from core import segment as task

    rgb = ui.required(image)
    if not isinstance(points, (list, type(None))):
        raise InputError("points must be a list of [x, y, label].")
    labels = [one[2] for one in points or [] if isinstance(one, list) and len(one) == 3]
    if box is None and labels and all(label == 0 for label in labels):
        raise InputError(ONLY_EXCLUDES)
    found = task.predict(rgb, points or [], box, checkpoint, multimask)
    size = (rgb.shape[1], rgb.shape[0])
    document = coco.document(list(found.masks), found.scores.tolist(), size)
    best, info = found.masks[:1].copy(), found.info
    del found  # the overlay of a large picture takes as much memory as its three masks
    path = ui.result_path("overlay.jpg")
    images.save_jpeg(draw.masks_image(rgb, best), path)
    return str(path), document, info.to_dict()


TAB = Tab("segment", "Segment", 30, build, "Click on an object, and SAM cuts it out.")
