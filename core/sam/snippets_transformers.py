"""Python code that reproduces the masks with transformers alone."""

from __future__ import annotations

from pathlib import Path

from core.checkpoints import Checkpoint
from core.sam.snippet_parts import (
    MIN_LINES,
    Prompt,
    check,
    cleaning,
    head,
    numbers,
    opened,
    ordered,
)

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
_NAMES = {"sam": "Sam", "sam2": "Sam2"}
# The processor for a folder without its own file, by architecture.
_SIZES = {
    "sam": 'size={"longest_edge": side}, pad_size={"height": side, "width": side}',
    "sam2": 'size={"height": side, "width": side}',
}


def with_transformers(prompt: Prompt, checkpoint: Checkpoint, weights: str) -> str:
    """A script whose `masks` are those of `core.segment.predict`, best first.

    Args:
        checkpoint: with the loader "transformers"; a full one is named by its repository.
        weights: path or name of the user's own weight file, whose folder the script opens.
    """
    own_processor = checkpoint.tier == "own" and not any(
        Path(checkpoint.source).with_name(name).is_file() for name in PROCESSOR_FILES
    )
    name = _NAMES[checkpoint.arch]
    picture_processor = f"{name}ImageProcessor, " if own_processor else ""
    own = checkpoint.tier == "own"
    folder = (str(Path(weights).parent), "the folder of your own checkpoint") if own else ()
    lines = [
        *head(_needs(prompt), prompt.picture, *folder),
        *([] if own else [f"# Weights: transformers fetches them from {checkpoint.source}."]),
        "from pathlib import Path",
        "",
        "import numpy as np",
        "import torch",
        "from PIL import Image, ImageOps",
        *([MIN_LINES] if prompt.min_area else []),
        f"from transformers import {picture_processor}{name}Model, {name}Processor",
        "",
        *check("PICTURE", *(["WEIGHTS"] if own else [])),
        *_model(checkpoint, own_processor),
        *opened(prompt.picture),
        "",
        *_inputs(prompt),
        _sizes(checkpoint),
        "with torch.inference_mode():",
        '    embeddings = model.get_image_embeddings(inputs.pop("pixel_values"))',
        *(f"    {line}" for line in _answer(prompt)),
        "masks = processor.post_process_masks(answer.pred_masks, *sizes)[0][0].numpy()",
        "scores = answer.iou_scores[0, 0].numpy()",
        'order = np.argsort(-scores, kind="stable")  # best predicted IoU first',
        "masks, scores = masks[order], scores[order]",
        *cleaning(prompt.min_area),
    ]
    return "\n".join(lines) + "\n"


def _needs(prompt: Prompt) -> str:
    needs = "pip install transformers torch torchvision numpy pillow"
    more = " segment-anything opencv-python-headless" if prompt.min_area else ""
    return needs + more


def _model(checkpoint: Checkpoint, own_processor: bool) -> list[str]:
    name = _NAMES[checkpoint.arch]
    source = "WEIGHTS" if checkpoint.tier == "own" else repr(checkpoint.source)
    pinned = f", revision={checkpoint.revision!r}" if checkpoint.revision else ""
    model = f"{name}Model.from_pretrained({source}{pinned}, dtype=torch.float32).eval()"
    if not own_processor:
        return [
            f"model = {model}",
            f"processor = {name}Processor.from_pretrained({source}{pinned})",
        ]
    return [
        f"model = {model}",
        "side = model.config.prompt_encoder_config.image_size",
        f"processor = {name}Processor({name}ImageProcessor({_SIZES[checkpoint.arch]}))",
    ]


def _inputs(prompt: Prompt) -> list[str]:
    lines = ["inputs = processor(", "    picture,"]
    if prompt.points:
        xy = ", ".join(numbers(point[:2]) for point in prompt.points)
        labels = [int(point[2]) for point in prompt.points]
        lines += [
            f"    input_points=[[[{xy}]]],  # x, y in pixels",
            f"    input_labels=[[{labels}]],  # 1 include, 0 exclude",
        ]
    if prompt.box is not None:
        lines.append(f"    input_boxes=[[{numbers(ordered(prompt.box))}]],")
    return [*lines, '    return_tensors="pt",', ").to(torch.float32)"]


def _sizes(checkpoint: Checkpoint) -> str:
    names = ["original_sizes"] + ["reshaped_input_sizes"] * (checkpoint.arch == "sam")
    return f"sizes = [{', '.join(f'inputs.pop({name!r})' for name in names)}]"


def _answer(prompt: Prompt) -> list[str]:
    if prompt.refine is None or not prompt.points:
        call = f"image_embeddings=embeddings, **inputs, multimask_output={prompt.three}"
        return [f"answer = model({call})"]
    start = "earlier = None"
    if prompt.box is not None:
        start = (
            'earlier = model(image_embeddings=embeddings, input_boxes=inputs["input_boxes"], '
            "multimask_output=False).pred_masks[:, 0]"
        )
    three = "count == 1" if prompt.multimask and prompt.box is None else "False"
    return [
        start,
        f"for count in range(1, {len(prompt.points) + 1}):  # each click refines the mask before",
        "    answer = model(",
        "        image_embeddings=embeddings,",
        '        input_points=inputs["input_points"][:, :, :count],',
        '        input_labels=inputs["input_labels"][:, :, :count],',
        '        input_boxes=inputs.get("input_boxes"),',
        "        input_masks=earlier,",
        f"        multimask_output={three},",
        "    )",
        "    best = answer.iou_scores[0, 0].argsort(descending=True, stable=True)",
        f"    meant = best[min({prompt.refine}, len(best) - 1)]",
        "    earlier = answer.pred_masks[:, 0, meant : meant + 1]",
    ]
