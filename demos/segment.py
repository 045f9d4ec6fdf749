"""Segment tab: click on the picture and SAM answers with a mask."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import coco, draw, images
from core.errors import InputError
from demos import Tab, _api, _everything, _ui
from demos._canvas import (
    PointPrompter,
    canvas_answer,
    canvas_message,
    canvas_picture,
    parse_prompt,
    picture_id,
)

if TYPE_CHECKING:
    from core.types import Masks

EXAMPLES = ("astronaut.jpg", "coins.jpg", "coffee.jpg", "flower.jpg")
# What a visitor has on the canvas: the picture's id and digest, the last gesture and the number of
# the newest, and which of its masks is chosen. Never pixels or tensors.
Session = dict[str, Any]
_NOTHING = (gr.skip(), gr.skip(), gr.skip())
READY = "Ready. Click what you want to cut out."
FORGOTTEN = "The hub no longer knows this picture; please choose it again."


def build() -> None:
    """Fill the tab."""
    session = gr.State(None)
    with _ui.lab():
        with _ui.area("in"):
            image = _ui.image_input("segment", EXAMPLES)
        with _ui.area("set"):
            checkpoint = _ui.checkpoint_picker("segment", "segment")
        with _ui.area("out"):
            canvas = PointPrompter(elem_id="segment-canvas", hint="Choose a picture first.")
            choice = gr.Radio([], label="Which mask", visible=False, elem_id="segment-choice")
            info = gr.HTML(elem_id="segment-info")
            with gr.Accordion("Take it away", open=False, elem_id="segment-export"):
                make = gr.Button("Make cut-out, mask and COCO JSON", size="sm")
                files = gr.File(label="Files", file_count="multiple", interactive=False)
            _everything.build(image, checkpoint)
    _ui.on_device(
        [image.change, checkpoint.input],
        _load,
        [image, checkpoint, session],
        [canvas, info, session, choice],
    )
    _ui.on_device(
        [canvas.prompt],
        _prompt,
        [image, checkpoint, session],
        [canvas, info, choice],
        trigger_mode="multiple",
        show_progress="hidden",
    )
    _ui.on_device(
        [choice.input],
        _choose,
        [image, checkpoint, session, choice],
        [canvas, info, choice],
        show_progress="hidden",
    )
    _ui.on_device([make.click], _export, [image, checkpoint, session], [files])
    _api.endpoint(
        "segment", segment, ("image", "json", "json", "text", "flag"), ("picture", "json", "json")
    )
    _api.endpoint(
        "segment_everything",
        _everything.segment_everything,
        ("image", "text", "number"),
        ("picture", "json", "json"),
        long=True,
    )


def _load(
    image: images.RGB | None,
    checkpoint: str,
    session: Session | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> Iterator[tuple[Any, ...]]:
    """Show the picture at once, then run the encoder so that the first click is quick."""
    if image is None:
        _retire(session)
        yield PointPrompter(picture=None), "", None, gr.Radio(visible=False)
        return
    from core import segment as task

    # The same picture with another checkpoint keeps its prompts.
    digest = images.digest(image)
    same = session is not None and session["digest"] == digest
    if session and same:
        fresh = session
    else:
        _retire(session)
        picture = canvas_picture(image)
        fresh = {
            "id": picture["id"],
            "digest": digest,
            "gesture": None,
            "newest": 0,
            "choice": 0,
        }
        yield PointPrompter(picture=picture), "", fresh, gr.Radio(visible=False)
    done = task.embed(image, checkpoint, _ui.download_progress(progress))
    if fresh["gesture"] is not None:
        canvas, info, radio = _answer(image, checkpoint, fresh, 0)
        yield canvas, info, fresh, radio
        return
    yield canvas_message(fresh, READY), _ui.info_html(done), fresh, gr.skip()


def _retire(session: Session | None) -> None:
    """Let answers that are still under way for a picture that is gone come to nothing."""
    if session is not None:
        session["newest"], session["gesture"] = math.inf, None


def _prompt(
    image: images.RGB | None, checkpoint: str, session: Session | None, event: gr.EventData
) -> tuple[Any, ...]:
    if image is None:
        raise InputError("Choose a picture first.")
    sequence = parse_prompt(event._data)[2]
    gesture = dict(event._data)
    if session is None:  # the server was started anew, or has too many visitors to remember all
        return canvas_answer(gesture, status=FORGOTTEN), gr.skip(), gr.skip()
    if picture_id(gesture) != session["id"]:
        return _NOTHING  # a click on a picture that is gone
    # Gestures are answered side by side and may overtake one another. All of them hold this same
    # dict, so the newest is known here, and only its answer counts.
    session["newest"] = max(session["newest"], sequence)
    if sequence < session["newest"]:
        return _NOTHING
    session["gesture"] = gesture
    try:
        answer = _answer(image, checkpoint, session, 0)
    except Exception as error:  # said on the canvas, which is waiting for an answer
        said = _ui.as_gradio_error(error).message
        return canvas_answer(gesture, status=said), gr.skip(), gr.skip()
    return answer if sequence == session["newest"] else _NOTHING


def _choose(
    image: images.RGB | None, checkpoint: str, session: Session | None, choice: int | None
) -> tuple[Any, ...]:
    if image is None or session is None or session["gesture"] is None or choice is None:
        return _NOTHING
    return _answer(image, checkpoint, session, int(choice))


def _answer(image: images.RGB, checkpoint: str, session: Session, choice: int) -> tuple[Any, ...]:
    """Canvas, info line and the choice among masks, for the session's gesture.

    Nothing where another gesture or picture has taken its place meanwhile. The session is changed,
    never returned: a late answer would put the session of a picture that is gone back in place.
    """
    gesture = session["gesture"]
    if gesture is None:
        return _NOTHING
    points, box, _ = parse_prompt(gesture)
    if not points and box is None:
        session["gesture"] = None
        return canvas_answer(gesture), "", gr.Radio(visible=False)
    found = _masks(image, checkpoint, points, box)
    if session["gesture"] is not gesture:
        return _NOTHING
    choice = min(choice, len(found.masks) - 1)
    share = float(found.masks[choice].mean())
    status = f"Mask of {share:.1%} of the picture, predicted IoU {found.scores[choice]:.2f}"
    radio = gr.Radio(_choices(found), value=choice, visible=len(found.masks) > 1)
    answer = canvas_answer(gesture, found.masks[choice], status=status)
    session["choice"] = choice
    return answer, _ui.info_html(found.info), radio


def _masks(image: images.RGB, checkpoint: str, points: Any, box: Any) -> Masks:
    from core import segment as task

    return task.predict(image, points, box, checkpoint)


def _choices(found: Masks) -> list[tuple[str, int]]:
    shares = found.masks.mean(axis=(1, 2))
    return [
        (f"{share:.1%} of the picture, IoU {score:.2f}", i)
        for i, (share, score) in enumerate(zip(shares, found.scores, strict=True))
    ]


def _export(image: images.RGB | None, checkpoint: str, session: Session | None) -> list[str]:
    if image is None or session is None or session["gesture"] is None:
        raise InputError("Click something on the picture first, then take it away.")
    points, box, _ = parse_prompt(session["gesture"])
    found = _masks(image, checkpoint, points, box)
    chosen = min(session["choice"], len(found.masks) - 1)
    mask, score = found.masks[chosen], float(found.scores[chosen])
    folder = _ui.result_path("mask.png").parent
    (folder / "mask.png").write_bytes(images.mask_to_png_bytes(mask))
    (folder / "cutout.png").write_bytes(images.cutout_to_png_bytes(image, mask))
    size = (image.shape[1], image.shape[0])
    (folder / "masks.json").write_text(json.dumps(coco.document([mask], [score], size)))
    return [str(folder / name) for name in ("cutout.png", "mask.png", "masks.json")]


def segment(
    image: images.RGB,
    points: list[list[float]] | None = None,
    box: list[float] | None = None,
    checkpoint: str = "auto",
    multimask: bool = True,
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Segment what points or a box show, with SAM.

    Args:
        image: The picture.
        points: [[x, y, label], …] in pixels; label 1 includes, 0 excludes.
        box: [x1, y1, x2, y2] in pixels, or null.
        checkpoint: A key of /checkpoints, or "auto" for the best one at hand.
        multimask: Three masks (whole, part, sub-part) while the prompt is a single point.

    Returns:
        The picture with the best mask drawn, all masks as COCO run lengths, and how the answer was
        made.
    """
    from core import segment as task

    rgb = _ui.required(image)
    if not isinstance(points, (list, type(None))):
        raise InputError("points must be a list of [x, y, label].")
    found = task.predict(rgb, points or [], box, checkpoint, multimask)
    path = _ui.result_path("overlay.jpg")
    images.save_jpeg(draw.masks(rgb, found.masks[:1]), path)
    size = (rgb.shape[1], rgb.shape[0])
    document = coco.document(list(found.masks), found.scores.tolist(), size)
    return str(path), document, found.info.to_dict()


TAB = Tab("segment", "Segment", 30, build)
