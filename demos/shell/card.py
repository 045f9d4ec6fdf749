"""The model card of the selected checkpoint, collapsed below the picker."""

from __future__ import annotations

import base64
import html

import gradio as gr

from core.checkpoints import Checkpoint, Task
from core.errors import HubError
from core.sources import cards, resolver


def show(key: str, task: Task, scale: int | None = None) -> tuple[str, str]:
    """Markdown and pictures of a checkpoint's card; `scale` decides which checkpoint "auto" is."""
    try:
        auto = key == "auto"
        checkpoint = (
            resolver.resolve(key, task, scale=scale).checkpoint
            if auto
            else resolver.find(key, task)
        )
    except HubError as error:
        return cards.plain(str(error)), ""
    return cards.text(checkpoint), "".join(_figures(checkpoint))


def _figures(checkpoint: Checkpoint) -> list[str]:
    """Pictures embedded in the page, since visitors have no access to the weights folder."""
    figures = []
    for alt, path in cards.pictures(checkpoint):
        data = base64.b64encode(path.read_bytes()).decode()
        kind = "png" if path.suffix == ".png" else "jpeg"
        words = html.escape(alt)
        figures.append(
            f'<figure class="card-picture"><img src="data:image/{kind};base64,{data}" '
            f'alt="{words}"><figcaption>{words}</figcaption></figure>'
        )
    return figures


def place(tab: str) -> tuple[gr.Accordion, gr.Markdown, gr.HTML]:
    """The accordion with the text and pictures, empty until opened."""
    with gr.Accordion("Model card", open=False, elem_id=f"{tab}-card") as fold:
        text = gr.Markdown(elem_classes="card")
        pictures = gr.HTML()
    return fold, text, pictures
