"""Everything mode of the Segment tab: prompt with a grid of points and keep the good masks.

The canvas shows the masks as they arrive; clicking one turns it into an object.
"""

from __future__ import annotations

import base64
import functools
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import images
from core.errors import InputError
from core.imaging import coco, draw
from demos.canvas.answers import canvas_command, canvas_message, canvas_object
from demos.canvas.component import PointPrompter
from demos.canvas.gestures import numbers, picture_id
from demos.segment.session import FILE_NAME, Grid, Pick, Session, shrunk
from demos.shell import result, ui
from demos.shell.image import ImageIn

if TYPE_CHECKING:
    from core.types import Mask

OVERLAY_SIDE = 768
OVERLAY_SECONDS = 0.7  # between updates of the overlay
NONE = "0 masks: lower the thresholds, or use more points"


def build(
    image: ImageIn, checkpoint: gr.Dropdown, session: gr.State, canvas: PointPrompter
) -> list[Any]:
    """Everything mode on the tab's picture: the button is on the canvas, the settings are below it.

    Returns the components to clear for another picture.
    """
    line = gr.HTML(elem_id="everything-info", elem_classes=["answer"])
    with gr.Accordion(
        "Everything mode: settings and file", open=False, elem_id="segment-everything"
    ):
        gr.Markdown(
            "The Everything button above prompts with a grid of points and keeps the masks that "
            "are confident and stable. Click a mask on the picture to turn it into an object."
        )
        with gr.Row():
            side = gr.Slider(4, 64, 16, step=1, label="Points per side")
            least = gr.Slider(
                0, 2, 0, step=0.05, label="Smallest mask, hole or island (% of the picture)"
            )
        own = gr.Checkbox(True, label="Use checkpoint defaults", elem_id="everything-own")
        with gr.Row():
            minimum = functools.partial(gr.Slider, 0, 1, step=0.01, visible=False)
            iou = minimum(
                0.88,
                label="Minimum predicted IoU",
                info="The model's guess of how well each mask fits, as overlap from 0 to 1.",
            )
            stable = minimum(
                0.95,
                label="Minimum stability",
                info="How little a mask changes when its threshold moves, 0 to 1.",
            )
        only = gr.Checkbox(
            True,
            label="Objects only, best first",
            info="Leaves out background, groups of several objects, and duplicates.",
            visible=False,
            elem_id="everything-only",
        )
        files = gr.DownloadButton("Download COCO JSON", interactive=False, size="sm")
    ui.on_device(
        [own.input, checkpoint.input],
        _defaults,
        [own, checkpoint],
        [iou, stable, only],
        show_progress="hidden",
    )
    event = ui.on_device(
        [canvas.everything],
        _run,
        [image, checkpoint, session, side, least, own, iou, stable, only],
        [canvas, line, files],
        trigger_mode="once",
        show_progress="full",
        queue=ui.LONG_QUEUE,
        progress_on=line,
    )
    canvas.stop(None, cancels=[event], api_visibility="private")
    ui.on_device([canvas.stop], _cancelled, [image, session], [canvas, line, files])
    ui.on_device([canvas.pick], _pick, [session], [canvas], show_progress="hidden")
    return [line, files]


def _defaults(own: bool, checkpoint: str) -> list[Any]:
    """Custom settings start from the checkpoint's defaults; others may give no mask at all."""
    from core import segment as task

    if own:
        return [gr.Slider(visible=False), gr.Slider(visible=False), gr.Checkbox(visible=False)]
    iou, stable, only = task.everything_defaults(checkpoint)
    return [
        gr.Slider(value=iou, visible=True),
        gr.Slider(value=stable, visible=True),
        gr.Checkbox(value=only, visible=True),
    ]


def _run(
    picture: images.Picture | None,
    checkpoint: str,
    session: Session | None,
    points_per_side: int,
    least: float,
    own: bool,
    iou: float,
    stable: float,
    only: bool = False,
) -> Iterator[tuple[Any, ...]]:
    """Yield the masks so far as an overlay, and finally all of them, or the error."""
    if picture is None or session is None or session.digest != picture.digest:
        raise InputError("Choose a picture first.")
    session.found, session.running, session.turn = (), True, session.turn + 1
    turn = session.turn
    begun = _progress("Prompting with the grid", 0.0)
    yield _told(session, "Looking for everything.", segments=None), begun, _fresh()[1]
    try:
        from core import segment as task

        settings = task.everything_defaults(checkpoint) if own else (iou, stable, only)
        area = least / 100 * picture.size[0] * picture.size[1]
        session.grid = Grid(checkpoint, int(points_per_side), *settings[:2], area, settings[2])
        yield from _masks(picture, session, turn)
    except Exception as error:
        session.running = False
        said = ui.as_gradio_error(error).message
        yield _told(session, said, done=True, segments=None), result.refusal(said), _fresh()[1]


def _masks(picture: images.Picture, session: Session, turn: int) -> Iterator[tuple[Any, ...]]:
    from core import segment as task

    assert session.grid is not None
    stream = task.everything_stream(picture, **asdict(session.grid))
    overlay, drawn = _Overlay(session.id), 0.0
    with closing(stream):
        while True:
            try:
                step = next(stream)
            except StopIteration as stop:
                masks, info = stop.value
                break
            if session.gone:  # another picture has replaced it
                yield gr.skip(), *_fresh()
                return
            if session.turn != turn:  # cancelled; the page shows something else now
                return
            session.found = step.masks
            words = f"Prompting with the grid: {step.done:.0%}, {_counted(step.masks)}"
            fresh = time.monotonic() - drawn >= OVERLAY_SECONDS and step.masks
            drawn = time.monotonic() if fresh else drawn
            shown = _told(session, words, segments=overlay.of(step.masks)) if fresh else gr.skip()
            yield shown, _progress(words, step.done), gr.skip()
    session.found, session.running = tuple(masks), False
    said = f"{_counted(masks)}: click one." if masks else f"{NONE}."
    shown = _told(session, said, done=True, segments=overlay.of(masks))
    note = _counted(masks) if masks else NONE
    yield shown, ui.info_html(info, note), _download(picture, session)


def _told(session: Session, words: str, segments: Any, done: bool = False) -> PointPrompter:
    """Update the sentence below the canvas, the masks over it, and whether the run is `done`."""
    value = {**canvas_message({"id": session.id}, words), "everything": not done}
    return PointPrompter(segments=segments, value=value)


def _counted(masks: Sequence[Any]) -> str:
    return f"{len(masks)} mask{'' if len(masks) == 1 else 's'}"


def _fresh() -> tuple[str, Any]:
    """The line and the button in their state before a run."""
    return "", gr.DownloadButton(value=None, interactive=False)


def _cancelled(picture: images.Picture | None, session: Session | None) -> tuple[Any, Any, Any]:
    """Keep the masks that a cancelled run has found so far."""
    if session is None or picture is None or not session.running:
        return gr.skip(), gr.skip(), gr.skip()
    session.running, session.turn = False, session.turn + 1
    found = session.found
    words = f"Cancelled. The {_counted(found)} found so far: click one." if found else "Cancelled."
    canvas = _told(session, words, done=True, segments=_Overlay(session.id).of(found))
    return canvas, _said(words), _download(picture, session) if found else gr.skip()


def _download(picture: images.Picture, session: Session) -> Any:
    """The masks as a COCO data set."""
    path, masks = ui.result_path("coco.json"), session.found
    scores, names = [mask.score for mask in masks], ["mask"] * len(masks)
    name = picture.name or FILE_NAME
    made = coco.dataset(masks, names, scores, picture.size, name)
    path.write_text(json.dumps(made))
    return gr.DownloadButton(value=str(path), interactive=True)


def _said(words: str) -> str:
    return f'<p class="info" role="status">{words}</p>'


def _progress(words: str, share: float) -> str:
    return (
        f'{_said(words)}<div class="bar-track">'
        f'<span class="bar-fill" style="width:{share:.1%}"></span></div>'
    )


class _Overlay:
    """The masks so far in colour, as an overlay for the canvas."""

    def __init__(self, picture: str) -> None:
        self._picture = picture
        self._small: dict[int, tuple[Mask, Any]] = {}  # by id(), as masks repeat

    def of(self, masks: Sequence[Mask]) -> dict[str, Any] | None:
        """Value for `segments` of the canvas; the largest masks are drawn first, below the rest."""
        for mask in masks:
            if id(mask) not in self._small:
                self._small[id(mask)] = (mask, shrunk(mask.mask, OVERLAY_SIDE))
        ordered = sorted(masks, key=lambda mask: -mask.area)
        if not ordered:
            return None
        palette = draw.mask_palette(len(ordered))
        first = self._small[id(ordered[0])][1]
        rgba = np.zeros((*first.shape, 4), np.uint8)
        for mask, colour in zip(ordered, palette, strict=True):
            inside = self._small[id(mask)][1]
            rgba[inside] = (*colour, 120)
            rgba[inside & ~_inner(inside)] = (*colour, 255)
        return {"picture": self._picture, "src": _png_url(rgba), "count": len(ordered)}


def _inner(mask: Any) -> Any:
    """(H, W) bool without its border pixels."""
    padded = np.pad(mask, 1)
    near = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & near


def _png_url(rgba: Any) -> str:
    content = images.rgba_to_png_bytes(rgba)
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def _pick(session: Session | None, event: gr.EventData) -> Any:
    """Turn the smallest mask under a click into an object on the canvas."""
    data: Any = event._data
    if session is None or picture_id(data) != session.id:
        return gr.skip()
    x, y = (int(v) for v in numbers([data.get("x"), data.get("y")], 2))
    under = [mask for mask in session.found if _covers(mask, x, y)]
    if not under:
        raise InputError("There is no mask there; click a coloured one.")
    mask = min(under, key=lambda one: one.area)
    twin = next((o for o in session.objects() if session.given.get(o.given or "") is mask), None)
    if twin is not None:
        raise InputError(f"That mask is already {twin.name}.")
    key = secrets.token_hex(8)
    session.given[key] = mask
    if session.grid is not None:
        session.picked[key] = Pick(session.grid, x, y, mask.area)
    return PointPrompter(command=canvas_command(session.id, [canvas_object(given=key)]))


def _covers(mask: Mask, x: int, y: int) -> bool:
    """Whether a pixel is inside; the runs go down the columns, background first."""
    height, width = mask.size
    if not (0 <= x < width and 0 <= y < height):
        return False
    run = np.searchsorted(np.cumsum(mask.counts), x * height + y, side="right")
    return bool(run % 2)


def _overlay(image: images.RGB, masks: Sequence[Mask]) -> str:
    path = ui.result_path("overlay.jpg")
    images.save_jpeg(draw.masks_image(image, masks), path)
    return str(path)


def segment_everything(
    image: images.RGB, checkpoint: str = "auto", points_per_side: int = 16
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Segment everything in a picture with a grid of points.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        points_per_side: Number of grid points along each side.

    Returns:
        The picture with every mask drawn, the masks as COCO run lengths, and how they were made. A
        starter returns the objects that it finds, best first; others all masks, largest first.
    """
    from core import segment as task

    rgb = ui.required(image)
    steps = task.everything_steps(rgb, checkpoint, points_per_side, only_things=None)
    masks, info = ui.run_while_wanted(steps)
    size = (rgb.shape[1], rgb.shape[0])
    document = coco.document(masks, [mask.score for mask in masks], size)
    return _overlay(rgb, masks), document, info.to_dict()
