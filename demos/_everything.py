"""Everything mode of the Segment tab: a grid of points, and the masks that are worth keeping."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import coco, draw, images
from core.errors import InputError
from demos import _ui
from demos._image import ImageIn

if TYPE_CHECKING:
    from core.segment import Mask


def build(image: ImageIn, checkpoint: gr.Dropdown) -> None:
    """The accordion with everything mode, run on the picture of the tab."""
    with gr.Accordion("Everything mode", open=False, elem_id="segment-everything"):
        gr.Markdown("Prompts with a grid of points and keeps the masks that are sure and stable.")
        side = gr.Slider(4, 32, 16, step=1, label="Points per side")
        with gr.Row():
            run = gr.Button("Segment everything", elem_id="everything-run")
            cancel = gr.Button("Cancel", elem_id="everything-cancel")
        picture = _ui.picture_output("Every mask", "everything-result")
        line = gr.HTML(elem_id="everything-info")
        files = gr.DownloadButton("Download COCO JSON", interactive=False, size="sm")
    outputs = [picture, line, files]
    event = _ui.on_device([run.click], _run, [image, checkpoint, side], outputs, long=True)
    cancel.click(None, cancels=[event], api_visibility="private")


def _run(
    image: images.RGB | None,
    checkpoint: str,
    points_per_side: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> Iterator[tuple[Any, ...]]:
    if image is None:
        raise InputError("Choose a picture first.")
    from core import segment as task

    steps = task.everything_steps(
        image, checkpoint, int(points_per_side), _ui.download_progress(progress)
    )
    masks, info = yield from _ui.followed(steps, progress, "Prompting with the grid", 3)
    path = _ui.result_path("masks.json")
    size = (image.shape[1], image.shape[0])
    path.write_text(json.dumps(_document(masks, size)))
    button = gr.DownloadButton(value=str(path), interactive=True)
    yield _overlay(image, masks), _ui.info_html(info, f"{len(masks)} masks"), button


class _OneByOne(Sequence[Any]):
    """The masks as arrays, each made when it is read: all of them at once fill the memory."""

    def __init__(self, masks: Sequence[Mask]) -> None:
        self._masks = masks

    def __len__(self) -> int:
        return len(self._masks)

    def __getitem__(self, index: Any) -> Any:
        return self._masks[index].mask


def _document(masks: Sequence[Mask], size: tuple[int, int]) -> dict[str, object]:
    return coco.document(_OneByOne(masks), [m.score for m in masks], size)


def _overlay(image: images.RGB, masks: Sequence[Mask]) -> str:
    path = _ui.result_path("overlay.jpg")
    images.save_jpeg(draw.masks(image, _OneByOne(masks)), path)
    return str(path)


def segment_everything(
    image: images.RGB, checkpoint: str = "auto", points_per_side: float = 16
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Segment everything in a picture with a grid of points.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one at hand.
        points_per_side: The grid has this many points along each side.

    Returns:
        The picture with every mask drawn, the masks as COCO run lengths, and how it was made.
    """
    from core import segment as task

    rgb = _ui.required(image)
    steps = task.everything_steps(rgb, checkpoint, int(points_per_side))
    masks, info = _ui.run_while_wanted(steps)
    size = (rgb.shape[1], rgb.shape[0])
    return _overlay(rgb, masks), _document(masks, size), info.to_dict()
