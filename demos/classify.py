"""Classify tab: a classifier's top-k classes as bars, with a temperature."""

from __future__ import annotations

import html
import json
from typing import Any

import gradio as gr

from core import images
from demos import Tab
from demos.shell import api, examples, lesson_view, offers, picker, ui
from demos.shell import result as _result
from demos.shell.shared import SharedPicture

EXAMPLES = ("chelsea.jpg", "rocket.jpg", "astronaut.jpg", "coffee.jpg")
HINT = (
    "The cup shows one of ImageNet's 1,000 classes, espresso. None of them is an astronaut, and "
    "she still gets one of their names."
)


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("classify", EXAMPLES)
    with ui.lab():
        with ui.area("out"):
            answer = _result.Answer("classify", "The classes, and how sure the model is of them")
            bars = gr.HTML(elem_id="classify-result")
            info = gr.HTML(elem_id="classify-info")
            offer = offers.Offer("classify", "classify")
            download = gr.DownloadButton("Download JSON", interactive=False, size="sm")
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("classify", "classify")
            temperature = gr.Slider(
                0.1,
                10,
                1,
                step=0.1,
                label="Temperature",
                info="Divides the logits before the softmax: above 1 flattens, below 1 sharpens.",
            )
            button = gr.Button("Classify", variant="primary", elem_id="classify-run")
            with ui.more():
                top_k = gr.Slider(1, 20, 5, step=1, label="Classes shown (top-k)")
            ui.hint(HINT)
    offer.wire(checkpoint)
    lesson_view.render("classify", shared.picture, shared.turns["classify"], checkpoint)
    answer.wire(
        shared,
        [button.click, checkpoint.input, offer.ready.change, top_k.change, temperature.change],
        _run,
        [shared.picture, checkpoint, top_k, temperature],
        [bars, info, download],
    )
    api.endpoint("classify", classify, ("image", "text", "number", "number"), ("label", "json"))


def _run(
    image: images.Picture,
    checkpoint: str,
    top_k: int,
    temperature: float,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (Gradio finds it by its default)
) -> tuple[Any, ...]:
    from core import classify as task

    result = task.predict(image, checkpoint, top_k, temperature, ui.download_progress(progress))
    path = ui.result_path("classes.json")
    rows = [
        {"label": n, "score": float(s)} for n, s in zip(result.labels, result.scores, strict=True)
    ]
    path.write_text(json.dumps({"classes": rows, "info": result.info.to_dict()}, indent=1))
    button = gr.DownloadButton(value=str(path), interactive=True)
    return bars_html(result.labels, result.scores.tolist()), ui.info_html(result.info), button


def bars_html(labels: tuple[str, ...], scores: list[float]) -> str:
    """A bar per class, longest first; the width is the probability."""
    rows = "".join(
        f'<li><span class="bar-name">{html.escape(name)}</span>'
        f'<span class="bar-track"><span class="bar-fill" style="width:{score:.2%}"></span></span>'
        f'<span class="bar-score">{score * 100:.1f} %</span></li>'
        for name, score in zip(labels, scores, strict=True)
    )
    return f'<ol class="bars" aria-label="Classes by probability">{rows}</ol>'


def classify(
    image: images.RGB, checkpoint: str = "auto", top_k: int = 5, temperature: float = 1.0
) -> tuple[dict[str, float], dict[str, object]]:
    """Classify a picture with a Vision Transformer or a convolutional network.

    Args:
        image: The picture.
        checkpoint: A key of /checkpoints, or "auto" for the best one available.
        top_k: How many classes to return.
        temperature: Divides the logits before the softmax.

    Returns:
        The classes with their confidences, and how the answer was made.
    """
    from core import classify as task

    result = task.predict(image, checkpoint, top_k, temperature)
    confidences = dict(zip(result.labels, result.scores.tolist(), strict=True))
    return confidences, result.info.to_dict()


TAB = Tab("classify", "Classify", 10, build, "Which classes a model sees in the picture.")
