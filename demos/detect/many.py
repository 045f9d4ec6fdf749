"""Several pictures at once in the Detect tab: one after the other, and one data set of all."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from core import export, export_boxes, images
from core.errors import HubError, InputError
from core.imaging import draw
from core.types import Detections
from demos.shell import picture, result, ui
from demos.shell.file_in import PICTURE_ENDINGS, PicturesIn

MOST = 100  # pictures in one run
SHOWN_SIDE = 640  # pixels of the longer side in the gallery
Shown = list[tuple[str, str]]  # path and caption


class Several:
    """The folded part of the tab for several pictures; create it inside the tab's results."""

    def __init__(self) -> None:
        with gr.Accordion("Several pictures at once", open=False, elem_id="detect-several"):
            gr.Markdown(
                "All of them get the same checkpoint and threshold. The zip is one data set: COCO "
                "JSON, CSV and YOLO labels."
            )
            self.pictures = PicturesIn(PICTURE_ENDINGS, label="Pictures", elem_id="detect-pictures")
            with gr.Row():
                self.run = gr.Button("Detect in all", size="sm", elem_id="detect-several-run")
                self.stop = gr.Button("Cancel", size="sm", elem_id="detect-several-stop")
            self.said = gr.HTML(elem_id="detect-several-said")
            self.gallery = gr.Gallery(
                label="Boxes", show_label=False, columns=3, height="auto", format="jpeg",
                object_fit="contain", interactive=False, elem_id="detect-several-shown",
            )  # fmt: skip
            self.file = gr.File(label="Data set", interactive=False, elem_id="detect-several-file")

    def wire(self, asked: Sequence[Any]) -> None:
        """Run on a click, with the tab's own checkpoint, threshold and words."""
        event = result.on_demand(
            [self.run.click],
            _run,
            [self.pictures, *asked],
            [self.said, self.gallery, self.file],
            trigger_mode="once",
            queue=ui.LONG_QUEUE,
            progress_on=self.said,
        )
        self.stop.click(
            lambda: '<p class="about" role="status">Cancelled.</p>',
            None,
            [self.said],
            cancels=[event],
            api_visibility="private",
            show_progress="hidden",
        )


def _run(
    pictures: list[images.Picture], checkpoint: str, threshold: float, words: str
) -> Iterator[tuple[Any, ...]]:
    """Yield the pictures so far, and finally the data set."""
    from core import detect as task

    if not pictures:
        raise InputError("Choose pictures first.")
    if len(pictures) > MOST:
        raise InputError(f"Choose at most {MOST} pictures at a time.")
    shown: Shown = []
    answers: list[tuple[str, Detections]] = []
    refused: list[str] = []
    for number, one in enumerate(pictures, 1):
        name = one.name or f"picture-{number}.png"
        try:
            if reason := picture.refusal(one):
                raise InputError(reason)
            found = task.predict(one, checkpoint, threshold, words=words)
        except HubError as error:
            refused.append(f"{name}: {error}")
        else:
            answers.append((name, found))
            shown.append((_drawn(one, found), f"{_counted(found)}, {name}"))
        yield _said(f"{number} of {len(pictures)} pictures", refused), list(shown), None
    if not answers:
        raise InputError("None of the pictures could be read. " + " ".join(refused))
    classes = (*task.classes(checkpoint), *(name for _, found in answers for name in found.labels))
    inside = export_boxes.data_set(answers, tuple(dict.fromkeys(classes)))
    boxes = sum(len(found.labels) for _, found in answers)
    done = f"{boxes} boxes in {len(answers)} pictures"
    yield _said(done, refused), shown, result.written({"boxes.zip": export.zipped(inside)})[0]


def _drawn(one: images.Picture, found: Detections) -> str:
    small = images.resize_max(draw.boxes(one.load(), found), SHOWN_SIDE)
    return str(images.save_jpeg(small, ui.result_path("boxes.jpg")))


def _counted(found: Detections) -> str:
    """For example "2 x cat, 1 x dog"."""
    counts = Counter(found.labels)
    return ", ".join(f"{count} x {name}" for name, count in counts.items()) or "nothing found"


def _said(text: str, refused: list[str]) -> str:
    lines = "".join(f"<li>{html.escape(one)}</li>" for one in refused)
    more = f"<p>Not read:</p><ul>{lines}</ul>" if lines else ""
    return f'<div class="about" role="status"><p>{text}</p>{more}</div>'
