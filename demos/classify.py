"""Classify tab: the top-k classes as bars, with a temperature, and all classes to search."""

from __future__ import annotations

import html
import json
from typing import Any

import gradio as gr

from core import images
from core.errors import InputError
from demos import Tab
from demos.shell import api, examples, lesson_view, offers, picker, result, ui
from demos.shell.shared import SharedPicture

EXAMPLES = ("chelsea.jpg", "rocket.jpg", "astronaut.jpg", "coffee.jpg")
CHIPS = 200  # classes listed at once
HINT = (
    "Among the examples, the cup shows one of ImageNet's 1,000 classes, espresso. None of them is "
    "an astronaut: she still gets one of their names, with a low score and a warning."
)


def build(shared: SharedPicture) -> None:
    """Fill the tab."""
    examples.suits("classify", EXAMPLES)
    with ui.lab():
        with ui.area("out"):
            answer = result.Answer("classify", "The classes, and how sure the model is of them")
            bars = gr.HTML(elem_id="classify-result")
            fold = gr.Accordion("The classes that it knows", open=False, elem_id="classify-known")
            with fold:
                word = gr.Textbox("", label="Search the classes", placeholder="cat", max_length=60)
                known = gr.HTML(elem_id="classify-classes")
            info = gr.HTML(elem_id="classify-info")
            offer = offers.Offer("classify", "classify")
            download = gr.DownloadButton("Download JSON", interactive=False, size="sm")
            ui.hint(HINT)
        with ui.area("set"):
            checkpoint = picker.checkpoint_picker("classify", "classify")
            temperature = gr.Slider(
                0.1,
                10,
                1,
                step=0.1,
                label="Temperature",
                info="Divides the logits (raw scores) before softmax: above 1 flattens, below 1 "
                "sharpens.",
            )
            button = gr.Button("Classify", variant="primary", elem_id="classify-run")
            with ui.more():
                top_k = gr.Slider(1, 20, 5, step=1, label="Classes shown (top-k)")
    offer.wire(checkpoint)
    given = {"session": shared.state("segment")}
    lesson_view.render("classify", shared.picture, shared.turns["classify"], checkpoint, given)
    answer.wire(
        shared,
        [button.click, checkpoint.input, offer.ready.change, top_k.change, temperature.change],
        _run,
        [shared.picture, checkpoint, top_k, temperature],
        [bars, info, download],
    )
    result.on_demand(
        [fold.expand, word.change], _known, [checkpoint, word], [known], show_progress="hidden"
    )
    checkpoint.input(  # other classes, listed when somebody asks for them
        lambda: gr.Accordion(open=False),
        None,
        [fold],
        api_visibility="private",
        show_progress="hidden",
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

    found = task.predict(image, checkpoint, top_k, temperature, ui.download_progress(progress))
    path = ui.result_path("classes.json")
    rows = [
        {"label": n, "score": float(s)} for n, s in zip(found.labels, found.scores, strict=True)
    ]
    path.write_text(json.dumps({"classes": rows, "info": found.about()}, indent=1))
    button = gr.DownloadButton(value=str(path), interactive=True)
    bars = bars_html(found.labels, found.scores.tolist())
    return doubt_html(found.doubt) + bars, ui.info_html(found.info), button


def _known(checkpoint: str, word: str) -> str:
    from core import classify as task

    if not isinstance(word, str):
        raise InputError("The word to search the classes for must be text.")
    return chips_html(task.classes(checkpoint), word)


def doubt_html(sentence: str) -> str:
    """The sentence above the bars of a picture that probably shows none of the classes."""
    return f'<p class="doubt" role="note">{html.escape(sentence)}</p>' if sentence else ""


def chips_html(names: tuple[str, ...], word: str) -> str:
    """The names with `word` in them as chips, at most `CHIPS`, and how many there are."""
    wanted = " ".join(word.split()).casefold()
    found = [name for name in names if wanted in name.casefold()]
    chips = "".join(f"<li>{html.escape(name)}</li>" for name in found[:CHIPS])
    shown = f"{min(CHIPS, len(found)):,} of " if len(found) > CHIPS else ""
    count = f"{shown}{len(found):,} classes" if len(found) != 1 else "1 class"
    which = f" with {html.escape(wanted)} in the name" if wanted else ""
    return f'<p>{count}{which}</p><ul class="chips" aria-label="Classes">{chips}</ul>'


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
        The classes with their confidences, and how the answer was made; `doubt` there is a
        sentence if the picture probably shows none of the classes.
    """
    from core import classify as task

    found = task.predict(image, checkpoint, top_k, temperature)
    return dict(zip(found.labels, found.scores.tolist(), strict=True)), found.about()


TAB = Tab("classify", "Classify", 10, build, "Which classes a model sees in the picture.")
