"""Detect tab: a detector's boxes drawn on the picture, with a live threshold."""

from __future__ import annotations

import html
import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import export, export_boxes, images
from core.errors import InputError
from core.imaging import draw
from demos import Tab
from demos.canvas.answers import canvas_object
from demos.shell import api, examples, lesson_view, offers, picker, result, ui
from demos.shell.shared import Prompts, SharedPicture

if TYPE_CHECKING:
    from core.types import Detections

EXAMPLES = ("chelsea.jpg", "astronaut.jpg", "hopper.jpg", "coffee.jpg")
WORTH_A_LOOK = 0.05  # a box with a lower score is noise
LISTED = 24  # classes shown at once; more are folded
HINT = (
    "The starters know 20 everyday classes: people, animals, vehicles, furniture, bottles, plants "
    "and TVs. Full checkpoints know the 80 of COCO."
)


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("detect", EXAMPLES)
    with ui.lab():
        with ui.area("out"):
            answer = result.Answer("detect", "The objects found, each in a box")
            picture = ui.picture_output("Objects found", "detect-result")
            table = gr.HTML(elem_id="detect-table")
            info = gr.HTML(elem_id="detect-info")
            offer = offers.Offer("detect", "detect")
            which = gr.Dropdown(
                [], label="Boxes to segment (none chosen: all)", multiselect=True,
                elem_id="detect-boxes", elem_classes=["answer"],
            )  # fmt: skip
            with gr.Row():
                send = gr.Button(
                    "Segment the boxes", size="sm", elem_id="detect-send", interactive=False
                )
                download = gr.DownloadButton("Download JSON", interactive=False, size="sm")
            with gr.Accordion("Export the boxes", open=False, elem_id="detect-export"):
                make, made, files = result.files_on_request(
                    "detect",
                    "COCO JSON, CSV, YOLO labels and each box cut out, for the boxes above the "
                    "threshold; the zip contains all of them.",
                )
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("detect", "detect")
            threshold = gr.Slider(
                0,
                1,
                0.5,
                step=0.01,
                label="Threshold",
                info="Boxes below this score are left out; moving it does not run the model again.",
            )
            button = gr.Button("Detect", variant="primary", elem_id="detect-run")
            ui.hint(HINT)
    shared.send(send, _boxes, [shared.picture, checkpoint, threshold, which], "segment")
    result.on_demand([make.click], _files, [shared.picture, checkpoint, threshold], [made, files])
    offer.wire(checkpoint)
    lesson_view.render("detect", shared.picture, shared.turns["detect"], checkpoint)
    answer.wire(
        shared,
        [button.click, checkpoint.input, offer.ready.change, threshold.change],
        _run,
        [shared.picture, checkpoint, threshold],
        [picture, table, info, download, which, send, made, files],
        hides=[picture, table, info, download, which, send],
    )
    api.endpoint("detect", detect, ("image", "text", "number"), ("picture", "json", "json"))


def _run(
    image: images.Picture,
    checkpoint: str,
    threshold: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> tuple[Any, ...]:
    from core import detect as task

    found = task.predict(image, checkpoint, threshold, ui.download_progress(progress))
    path = ui.result_path("detections.json")
    path.write_text(json.dumps({**found.to_dict(), "info": found.info.to_dict()}, indent=1))
    button = gr.DownloadButton(value=str(path), interactive=True)
    table = table_html(found)
    if not found.labels:
        table = _none_html(task.predict(image, checkpoint, 0.0), task.classes(checkpoint))
    return (
        _drawn(image.load(), found),
        table,
        ui.info_html(found.info),
        button,
        _boxes_listed(found),
        gr.Button(interactive=bool(found.labels)),
        "",
        None,  # files of other boxes
    )


def _files(
    image: images.Picture | None, checkpoint: str, threshold: float
) -> tuple[str, list[str]]:
    """The files of the boxes above the threshold; the answer is cached, so no model runs."""
    from core import detect as task

    if image is None:
        raise InputError("Choose a picture and run Detect first.")
    found = task.predict(image, checkpoint, threshold)
    classes = tuple(dict.fromkeys((*task.classes(checkpoint), *found.labels)))
    name = image.name or "picture.png"
    inside = export_boxes.files(image.load(), found, classes, name)
    alone = {PurePath(path).name: content for path, content in inside.items()}
    return "", result.written({"boxes.zip": export.zipped(inside), **alone})


def _boxes_listed(found: Detections) -> gr.Dropdown:
    """The boxes shown, as choices."""
    pairs = enumerate(zip(found.labels, found.scores, strict=True))
    choices = [(f"{i + 1}. {name} {score:.2f}", i) for i, (name, score) in pairs]
    return gr.Dropdown(choices=choices, value=[], visible=bool(choices))


def _boxes(
    image: images.Picture | None, checkpoint: str, threshold: float, which: list[int]
) -> Prompts:
    """The boxes, as prompts for the Segment tab."""
    from core import detect as task

    if image is None:
        raise InputError("Choose a picture and run Detect first.")
    found = task.predict(image, checkpoint, threshold)
    wanted = [i for i in which or range(len(found.labels)) if i < len(found.labels)]
    if not wanted:
        raise InputError("There is no box above the threshold; lower it first.")
    boxes = [
        canvas_object(found.labels[i], box=[round(float(v), 1) for v in found.boxes[i]])
        for i in wanted
    ]
    return Prompts(image.digest, boxes)


def _none_html(every_box: Detections, classes: tuple[str, ...]) -> str:
    """What is said if no box passes; all boxes are cached, so this does not run the model."""
    best = float(every_box.scores[0]) if len(every_box.scores) else 0.0
    if best >= WORTH_A_LOOK:
        name = html.escape(every_box.labels[0])
        said = (
            f"The best box, {name}, scores {best:.2f}, below the threshold: lower it to see more."
        )
    else:
        said = "The picture shows none of the classes that this checkpoint knows."
    return f'<p class="about">{said}</p>{classes_html(classes)}'


def classes_html(classes: tuple[str, ...]) -> str:
    """The classes as chips, folded if there are many."""
    names = [name for name in classes if name != "N/A"]  # gaps in COCO's numbers
    chips = "".join(f"<li>{html.escape(name)}</li>" for name in names)
    chips = f'<ul class="chips">{chips}</ul>'
    if len(names) <= LISTED:
        return f'<p class="about">It knows {len(names)} classes:</p>{chips}'
    return f"<details><summary>It knows {len(names)} classes</summary>{chips}</details>"


def _drawn(image: images.RGB, found: Detections) -> str:
    path = ui.result_path("detections.jpg")
    images.save_jpeg(draw.boxes_image(image, found), path)
    return str(path)


def table_html(found: Detections) -> str:
    """The boxes as a table, best first."""
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{score:.2f}</td>"
        f"<td>{', '.join(f'{v:.0f}' for v in box)}</td></tr>"
        for name, score, box in zip(found.labels, found.scores, found.boxes, strict=True)
    )
    head = "<tr><th>Class</th><th>Score</th><th>Box (x1, y1, x2, y2)</th></tr>"
    return f'<table class="rows"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def detect(
    image: images.RGB, checkpoint: str = "auto", threshold: float = 0.7
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Detect objects in a picture.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        threshold: Boxes with a lower score are left out.

    Returns:
        The picture with boxes drawn, the boxes as JSON, and how the answer was made.
    """
    from core import detect as task

    found = task.predict(image, checkpoint, threshold)
    return _drawn(ui.required(image), found), found.to_dict(), found.info.to_dict()


TAB = Tab("detect", "Detect", 20, build, "Where the objects are, and what each one is.")
