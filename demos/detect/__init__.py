"""Detect tab: a detector's boxes drawn on the picture, with a live threshold."""

from __future__ import annotations

import html
import json
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import export, export_boxes, images
from core.checkpoints import MOST_LETTERS
from core.errors import InputError
from core.imaging import draw
from core.sources import resolver
from demos import Tab
from demos.canvas.answers import canvas_object
from demos.detect import many
from demos.shell import api, examples, lesson_view, offers, picker, result, ui
from demos.shell.shared import Prompts, SharedPicture
from demos.viewers.detections import SHOWN, DetectionsView, packed

if TYPE_CHECKING:
    from core.types import Detections

EXAMPLES = ("chelsea.jpg", "astronaut.jpg", "hopper.jpg", "coffee.jpg")
WORTH_A_LOOK = 0.05  # a box with a lower score is noise
LISTED = 24  # classes shown at once; more are folded
HINT = (
    "The starters know 20 everyday classes: people, animals, vehicles, furniture, bottles, plants "
    "and TVs. Full checkpoints know the 80 of COCO; Grounding DINO finds what you type."
)


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("detect", EXAMPLES)
    with ui.lab():
        with ui.area("out"):
            answer = result.Answer("detect", "The objects found, each in a box")
            view = DetectionsView(elem_id="detect-result")
            none = gr.HTML(elem_id="detect-none")
            info = gr.HTML(elem_id="detect-info")
            offer = offers.Offer("detect", "detect")
            shown = gr.Textbox(visible="hidden", container=False)  # filled by `SHOWN`
            with gr.Row():
                send = gr.Button(
                    "Segment the boxes", size="sm", elem_id="detect-send", interactive=False
                )
                download = gr.DownloadButton("Download JSON", interactive=False, size="sm")
            with gr.Accordion("Export the boxes", open=False, elem_id="detect-export"):
                make, made, files = result.files_on_request(
                    "detect",
                    "COCO JSON, CSV and YOLO labels of the boxes that are shown; the zip contains "
                    "all of them, and each box cut out.",
                )
            several = many.Several()
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("detect", "detect")
            words = gr.Textbox(
                "",  # else the page would send null
                label="What to look for",
                info="Words with commas between. Press Enter to look for them.",
                placeholder="a cat, a red cup",
                max_length=MOST_LETTERS,
                visible=False,
                elem_id="detect-words",
            )
        with ui.area("quick"):
            threshold = gr.Slider(
                0,
                1,
                0.5,
                step=0.01,
                label="Threshold",
                info="Boxes that score less are left out.",
                elem_id="detect-threshold",
            )
        with ui.area("rest"):
            button = gr.Button("Detect", variant="primary", elem_id="detect-run")
            ui.hint(HINT)
    asked = [checkpoint, threshold, words]
    chosen = [shared.picture, *asked, shown]
    # Before the tab runs with it, which hides what the last checkpoint found.
    checkpoint.change(
        ui.guarded(_words_field),
        [checkpoint],
        [words],
        api_visibility="private",
        show_progress="hidden",
    )
    shared.send(send, _boxes, chosen, "segment", js=SHOWN)
    result.on_demand([make.click], _files, chosen, [made, files], js=SHOWN)
    several.wire(asked)
    offer.wire(checkpoint)
    lesson_view.render("detect", shared.picture, shared.turns["detect"], checkpoint)
    answer.wire(
        shared,
        [button.click, checkpoint.input, words.submit, offer.ready.change, threshold.change],
        _run,
        [shared.picture, *asked],
        [view, none, info, download, send, made, files],
        hides=[view, none, info, download, send],
    )
    api.endpoint("detect", detect, ("image", "text", "number", "text"), ("picture", "json", "json"))


def _run(
    image: images.Picture,
    checkpoint: str,
    threshold: float,
    words: str,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> tuple[Any, ...]:
    from core import detect as task

    found = task.predict(image, checkpoint, threshold, ui.download_progress(progress), words)
    path = ui.result_path("detections.json")
    path.write_text(json.dumps({**found.to_dict(), "info": found.info.to_dict()}, indent=1))
    button = gr.DownloadButton(value=str(path), interactive=True)
    none = ""
    if not found.labels:
        every = task.predict(image, checkpoint, 0.0, words=words)
        none = _none_html(every, task.classes(checkpoint))
    return (
        packed(image, found),
        none,
        ui.info_html(found.info),
        button,
        gr.Button(interactive=bool(found.labels)),
        "",
        None,  # files of other boxes
    )


def _words_field(checkpoint: str) -> Any:
    """Shown for a checkpoint that finds what is typed."""
    return gr.Textbox(visible=resolver.finds_words(checkpoint))


def _files(
    image: images.Picture | None, checkpoint: str, threshold: float, words: str, shown: str
) -> tuple[str, list[str]]:
    """The files of the boxes that are shown."""
    from core import detect as task

    image, found = _shown(image, checkpoint, threshold, words, shown)
    classes = tuple(dict.fromkeys((*task.classes(checkpoint), *found.labels)))
    name = image.name or "picture.png"
    inside = export_boxes.files(image.load(), found, classes, name)
    # Not the crops: there are as many as boxes.
    alone = {PurePath(p).name: made for p, made in inside.items() if not p.startswith("crops/")}
    return "", result.written({"boxes.zip": export.zipped(inside), **alone})


def _shown(
    image: images.Picture | None, checkpoint: str, threshold: float, words: str, shown: str
) -> tuple[images.Picture, Detections]:
    """The picture, and those of its boxes whose numbers are in `shown`, a JSON list; the answer is
    cached, so no model runs."""
    from core import detect as task

    if image is None:
        raise InputError("Choose a picture and run Detect first.")
    found = task.predict(image, checkpoint, threshold, words=words)
    if not found.labels:
        raise InputError("There is no box above the threshold; lower it first.")
    try:
        numbers = sorted({int(one) for one in json.loads(shown or "[]")})
    except (TypeError, ValueError):
        raise InputError("Run Detect again, and then choose the boxes.") from None
    kept = [number for number in numbers if 0 <= number < len(found.labels)]
    if not kept:
        raise InputError("Every box is hidden; show at least one of them.")
    return image, found.only(kept)


def _boxes(
    image: images.Picture | None, checkpoint: str, threshold: float, words: str, shown: str
) -> Prompts:
    """The boxes that are shown, as prompts for the Segment tab."""
    image, found = _shown(image, checkpoint, threshold, words, shown)
    boxes = [
        canvas_object(label, box=[round(float(v), 1) for v in box])
        for label, box in zip(found.labels, found.boxes, strict=True)
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
    elif classes:
        said = "The picture shows none of the classes that this checkpoint knows."
    else:
        said = "The picture shows nothing that fits these words."
    return f'<p class="about">{said}</p>{classes_html(classes) if classes else ""}'


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


def detect(
    image: images.RGB, checkpoint: str = "auto", threshold: float = 0.7, words: str = ""
) -> tuple[str, dict[str, object], dict[str, object]]:
    """Detect objects in a picture.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        threshold: Boxes with a lower score are left out.
        words: What to look for, with commas between, such as "a cat, a red cup". Only a checkpoint
            that finds what is typed uses it, grounding-dino-tiny.

    Returns:
        The picture with boxes drawn, the boxes as JSON, and how the answer was made.
    """
    from core import detect as task

    found = task.predict(image, checkpoint, threshold, words=words)
    return _drawn(ui.required(image), found), found.to_dict(), found.info.to_dict()


TAB = Tab("detect", "Detect", 20, build, "Where the objects are, and what each one is.")
