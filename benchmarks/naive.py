"""The usual Gradio demo of each model, as in tutorials: the baseline for the app.

It loads the model inside the function, returns pictures as Gradio's default WebP, and caches
nothing between requests, not even SAM's embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageDraw

from benchmarks import networks


def demo(task: str, folder: Path | None, keep: bool = False, device: str = "cpu") -> gr.Interface:
    """The demo of a task; with `folder` None it runs on the stand-in device.

    `keep` makes a better demo of the stand-in that keeps its model loaded.
    """
    where = folder or Path()

    def load(task: str, where: Path) -> networks.Answer:
        if folder:
            return networks.load(task, where, device)
        if not keep:
            networks.load_starter(task)
        return networks.load_standin(task, where)

    def classify(image: Image.Image) -> dict[str, float]:
        scores = load(task, where)(image)
        return {f"class {i}": float(score) for i, score in enumerate(scores)}

    def detect(image: Image.Image) -> Image.Image:
        draw = ImageDraw.Draw(image)
        for box in load(task, where)(image):
            draw.rectangle([float(v) for v in box], outline="red", width=3)
        return image

    def picture(image: Image.Image) -> Any:
        return load(task, where)(image)

    def segment(image: Image.Image, x: float, y: float) -> Any:
        mask = load(task, where)(image, x, y)
        shown = np.array(image)
        shown[mask] = shown[mask] // 2 + np.array([0, 127, 0], np.uint8)
        return shown

    source = gr.Image(type="pil")
    if task == "classify":
        return gr.Interface(classify, source, gr.Label(num_top_classes=5), api_name="predict")
    if task == "segment":
        inputs = [source, gr.Number(), gr.Number()]
        return gr.Interface(segment, inputs, gr.Image(), api_name="predict")
    fn = detect if task == "detect" else picture
    return gr.Interface(fn, source, gr.Image(), api_name="predict")
