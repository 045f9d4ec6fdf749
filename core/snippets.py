"""Python text that makes the same masks again, with `core` and with the library alone."""

from __future__ import annotations

from core.checkpoints import Checkpoint
from core.snippet_parts import MIN_LINES, Prompt, cleaning, numbers, ordered
from core.snippets_transformers import with_transformers

__all__ = [
    "Prompt",
    "everything_with_core",
    "everything_with_segment_anything",
    "picked",
    "with_core",
    "with_library",
    "with_segment_anything",
    "with_transformers",
]


def with_core(prompt: Prompt, checkpoint: str) -> str:
    """A script whose `result.masks` are the masks, best first, on `checkpoint` (its key)."""
    arguments = [
        repr(prompt.picture),
        f"points={_points(prompt)}",
        *([f"box={numbers(prompt.box)}"] if prompt.box is not None else []),
        f"checkpoint={checkpoint!r}",
        *([] if prompt.multimask else ["multimask=False"]),
        *([] if prompt.refine is None else [f"refine={prompt.refine}"]),
        *([f"min_area={prompt.min_area:g}"] if prompt.min_area else []),
    ]
    call = ",\n    ".join(arguments)
    return (
        "from core import segment\n\n"
        f"result = segment.predict(\n    {call},\n)\n"
        "masks, scores = result.masks, result.scores  # (K, H, W) bool, predicted IoU\n"
    )


def with_library(prompt: Prompt, checkpoint: Checkpoint, weights: str) -> str:
    """The same with the library that the checkpoint is of, transformers or segment_anything.

    Args:
        weights: path or name of the weight file that the text opens.
    """
    if checkpoint.loader == "transformers":
        return with_transformers(prompt, checkpoint, weights)
    return with_segment_anything(prompt, checkpoint, weights)


def with_segment_anything(prompt: Prompt, checkpoint: Checkpoint, weights: str) -> str:
    """A script whose `masks` are the same, best first, made by `SamPredictor`.

    Args:
        weights: path or name of the weight file that the text opens.
    """
    lines = [
        "import numpy as np",
        "from PIL import Image, ImageOps",
        f"from segment_anything import SamPredictor{_registry_import(checkpoint)}",
        *([MIN_LINES] if prompt.min_area else []),
        *_model(checkpoint, weights),
        *_picture(prompt.picture),
        "predictor = SamPredictor(sam)",
        "predictor.set_image(image)",
        *_arrays(prompt),
        *(_at_once(prompt) if prompt.refine is None else _click_by_click(prompt)),
        'order = np.argsort(-scores, kind="stable")  # best predicted IoU first',
        "masks, scores, low_res = masks[order], scores[order], low_res[order]",
        *cleaning(prompt.min_area),
    ]
    return "\n".join(lines) + "\n"


def everything_with_core(
    picture: str,
    checkpoint: str,
    points_per_side: int,
    pred_iou_thresh: float,
    stability_score_thresh: float,
    min_area: float = 0,
) -> str:
    """A script whose `masks` are those of everything mode, largest first."""
    area = f"    min_area={min_area:g},\n" if min_area else ""
    return (
        "from core import runtime, segment\n\n"
        "stream = segment.everything_stream(\n"
        f"    {picture!r},\n    {checkpoint!r},\n    {points_per_side},\n"
        f"    pred_iou_thresh={pred_iou_thresh!r},\n"
        f"    stability_score_thresh={stability_score_thresh!r},\n{area})\n"
        "found, info = runtime.finish(stream)\n"
        "masks = [one.mask for one in found]  # (H, W) bool each\n"
    )


def everything_with_segment_anything(
    picture: str,
    checkpoint: Checkpoint,
    weights: str,
    points_per_side: int,
    pred_iou_thresh: float,
    stability_score_thresh: float,
    min_area: float = 0,
    points_per_batch: int = 16,
) -> str:
    """The same by `SamAutomaticMaskGenerator`, for checkpoints of segment_anything."""
    lines = [
        "import numpy as np",
        "from PIL import Image, ImageOps",
        f"from segment_anything import SamAutomaticMaskGenerator{_registry_import(checkpoint)}",
        *_model(checkpoint, weights),
        *_picture(picture),
        "generator = SamAutomaticMaskGenerator(",
        "    sam,",
        f"    points_per_side={points_per_side},",
        f"    points_per_batch={points_per_batch},",
        f"    pred_iou_thresh={pred_iou_thresh!r},",
        f"    stability_score_thresh={stability_score_thresh!r},",
        *([f"    min_mask_region_area={min_area:g},  # needs OpenCV"] if min_area else []),
        ")",
        'found = sorted(generator.generate(image), key=lambda one: -one["area"])',
        f'masks = [one["segmentation"] for one in found if one["area"] >= {min_area:g}]',
    ]
    return "\n".join(lines) + "\n"


def picked(everything: str, x: int, y: int) -> str:
    """A script of everything mode that goes on to `mask`, the smallest one at a pixel."""
    chosen = "mask = min((one for one in masks if one[y, x]), key=lambda one: one.sum())"
    return f"{everything}x, y = {x}, {y}\n{chosen}\n"


def _registry_import(checkpoint: Checkpoint) -> str:
    return ", sam_model_registry" if checkpoint.arch else ""


def _model(checkpoint: Checkpoint, weights: str) -> list[str]:
    if checkpoint.arch:
        build = f"sam_model_registry[{checkpoint.arch!r}](checkpoint={weights!r})"
        return ["", f"sam = {build}"]
    return [
        "import json",
        "",
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        "",
        "from core.models.sam import build  # the starter's small network is this project's own",
        "",
        f"with safe_open({weights!r}, 'pt') as file:",
        "    config = json.loads(file.metadata()['config'])",
        "sam = build(**config['sam'])",
        f"sam.load_state_dict(load_file({weights!r}))",
    ]


def _picture(name: str) -> list[str]:
    opened = f"ImageOps.exif_transpose(Image.open({name!r}))"
    return ["sam.eval()", f'image = np.array({opened}.convert("RGB"))', ""]


def _arrays(prompt: Prompt) -> list[str]:
    box = "None" if prompt.box is None else f"np.array({numbers(ordered(prompt.box))})"
    if not prompt.points:
        return ["points = labels = None", f"box = {box}"]
    xy = [numbers(point[:2]) for point in prompt.points]
    return [
        f"points = np.array([{', '.join(xy)}], dtype=np.float32)  # x, y in pixels",
        f"labels = np.array({[int(point[2]) for point in prompt.points]})  # 1 include, 0 exclude",
        f"box = {box}",
    ]


def _at_once(prompt: Prompt) -> list[str]:
    return [
        "masks, scores, low_res = predictor.predict(",
        f"    points, labels, box, multimask_output={prompt.three}",
        ")",
    ]


def _click_by_click(prompt: Prompt) -> list[str]:
    if not prompt.points:
        return _at_once(prompt)
    start = []
    if prompt.box is not None:
        start = ["_, _, earlier = predictor.predict(box=box, multimask_output=False)"]
    three = "count == 1" if prompt.multimask and prompt.box is None else "False"
    return [
        *(start or ["earlier = None"]),
        "for count in range(1, len(points) + 1):  # each click refines the mask before",
        "    masks, scores, low_res = predictor.predict(",
        "        points[:count], labels[:count], box, earlier,",
        f"        multimask_output={three},",
        "    )",
        f"    meant = min({prompt.refine}, len(scores) - 1)",
        '    earlier = low_res[np.argsort(-scores, kind="stable")][meant : meant + 1]',
    ]


def _points(prompt: Prompt) -> str:
    rows = (f"[{point[0]:.10g}, {point[1]:.10g}, {int(point[2])}]" for point in prompt.points)
    return f"[{', '.join(rows)}]"
