"""Python code that reproduces the masks, with `core` and with the library alone.

A script runs as pasted, in a folder with the picture: it states its requirements, fetches published
weights itself, and contains the network of a starter, which no library has.
"""

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
    source,
)
from core.sam.snippets_transformers import with_transformers

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


CORE = Path(__file__).resolve().parent.parent
_CORE_NEEDS = "Vision Hub's core package (`pip install .` in a copy of its repository)"
_LIBRARY_NEEDS = "pip install segment-anything torch torchvision numpy pillow"
SAVED = 'Image.fromarray(mask).save("mask.png")\n'


def with_core(prompt: Prompt, checkpoint: str) -> str:
    """A script whose `result.masks` are the masks, best first, on `checkpoint` (its key)."""
    arguments = [
        "PICTURE",
        f"points={_points(prompt)}",
        *([f"box={numbers(prompt.box)}"] if prompt.box is not None else []),
        f"checkpoint={checkpoint!r}",
        *([] if prompt.multimask else ["multimask=False"]),
        *([] if prompt.refine is None else [f"refine={prompt.refine}"]),
        *([f"min_area={prompt.min_area:g}"] if prompt.min_area else []),
    ]
    call = ",\n    ".join(arguments)
    return (
        f"{_core_head(prompt.picture)}from core import segment\n\n"
        f"{_checked('PICTURE')}"
        f"result = segment.predict(\n    {call},\n)\n"
        "masks, scores = result.masks, result.scores  # (K, H, W) bool, predicted IoU\n"
    )


def with_library(prompt: Prompt, checkpoint: Checkpoint, weights: str) -> str:
    """The same with the checkpoint's library, transformers or segment_anything.

    Args:
        weights: path or name of the weight file that the script opens.
    """
    if checkpoint.loader == "transformers":
        return with_transformers(prompt, checkpoint, weights)
    return with_segment_anything(prompt, checkpoint, weights)


def with_segment_anything(prompt: Prompt, checkpoint: Checkpoint, weights: str) -> str:
    """A script whose `masks` are the same, best first, made by `SamPredictor`.

    Args:
        weights: path or name of the weight file that the script opens.
    """
    lines = [
        *_library_head(
            prompt.picture, checkpoint, weights, "opencv-python-headless" * bool(prompt.min_area)
        ),
        *([MIN_LINES] if prompt.min_area else []),
        f"from segment_anything import SamPredictor{_registry_import(checkpoint)}",
        *_model(checkpoint),
        *opened(prompt.picture),
        "image = np.array(picture)",
        "",
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
    only_things: bool = False,
) -> str:
    """A script whose `masks` are those of everything mode, in its order."""
    things = "    only_things=True,\n" if only_things else ""
    area = f"    min_area={min_area:g},\n" if min_area else ""
    return (
        f"{_core_head(picture)}from core import segment\n"
        "from core.serving import runtime\n\n"
        f"{_checked('PICTURE')}"
        "stream = segment.everything_stream(\n"
        f"    PICTURE,\n    {checkpoint!r},\n    {points_per_side},\n"
        f"    pred_iou_thresh={pred_iou_thresh!r},\n"
        f"    stability_score_thresh={stability_score_thresh!r},\n{area}{things})\n"
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
    only_things: bool = False,
    points_per_batch: int = 16,
) -> str:
    """The same with `SamAutomaticMaskGenerator`, for checkpoints of segment_anything.

    With `only_things` each mask is in one piece, as in the app, but none is left out.
    """
    lines = [
        *_library_head(
            picture,
            checkpoint,
            weights,
            "opencv-python-headless" * bool(min_area),
            "scipy" * only_things,
        ),
        f"from segment_anything import SamAutomaticMaskGenerator{_registry_import(checkpoint)}",
        *_model(checkpoint),
        *opened(picture),
        "image = np.array(picture)",
        "",
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
    if only_things:  # scipy comes with scikit-image; the function imports it
        piece = source(CORE / "imaging" / "things.py", "in_one_piece")
        piece = piece.replace("mask: BoolMask) -> BoolMask", "mask)")
        lines += ["", "", "HOLE = 0.1", "", "", piece, "", ""]
        lines += ["masks = [in_one_piece(one) for one in masks]"]
    return "\n".join(lines) + "\n"


def picked(everything: str, x: int, y: int, area: int) -> str:
    """A script of everything mode that goes on to `mask`, the one of `area` pixels at a pixel."""
    return (
        f"{everything}x, y, area = {x}, {y}, {area}  # where a mask was picked, and its size\n"
        "there = [one for one in masks if one[y, x]]\n"
        f"mask = min(there, key=lambda one: abs(int(one.sum()) - area))\n{SAVED}"
    )


def saved(text: str, chosen: int) -> str:
    """Extend a script of `masks` to the chosen `mask`, and save it as a picture."""
    why = "the one that was chosen" if chosen else "the best by the model's own guess"
    return f"{text}mask = masks[{chosen}]  # {why}\n{SAVED}"


def _core_head(picture: str) -> str:
    imports = ["from pathlib import Path", "", "from PIL import Image", ""]
    lines = [*head(_CORE_NEEDS, picture), *imports]
    return "\n".join(lines) + "\n"


def _checked(*names: str) -> str:
    return "\n".join(check(*names)) + "\n"


def _library_head(picture: str, checkpoint: Checkpoint, weights: str, *more: str) -> list[str]:
    whence = {
        "starter": "the file that the page gives beside this code, or `weights/` of the repository",
        "own": "your own checkpoint",
        "full": f"fetched from {checkpoint.source} where the file is not here",
    }
    own = "timm safetensors" * (not checkpoint.arch)  # the starter
    hub = "huggingface_hub" * (checkpoint.tier == "full")
    needs = " ".join(filter(None, [_LIBRARY_NEEDS, own, hub, *more]))
    return [
        *head(needs, picture, weights, whence[checkpoint.tier]),
        "from pathlib import Path",
        "",
        "import numpy as np",
        "from PIL import Image, ImageOps",
    ]


def _registry_import(checkpoint: Checkpoint) -> str:
    return ", sam_model_registry" if checkpoint.arch else ""


def _model(checkpoint: Checkpoint) -> list[str]:
    """Lines that make `sam` from `WEIGHTS`."""
    if checkpoint.arch:
        build = f"sam_model_registry[{checkpoint.arch!r}](checkpoint=WEIGHTS).eval()"
        return ["", *_fetched(checkpoint), *check("PICTURE", "WEIGHTS"), f"sam = {build}"]
    return [
        "import json",
        "",
        "from safetensors import safe_open",
        "from safetensors.torch import load_file",
        "",
        *check("PICTURE", "WEIGHTS"),
        "# ---- the network of the starter, as in core/nets/sam.py",
        source(CORE / "nets" / "sam.py"),
        "",
        "",
        "# ---- its weights, and the masks",
        "with safe_open(WEIGHTS, 'pt') as file:",
        "    config = json.loads(file.metadata()['config'])",
        "sam = build(**config['sam'])",
        "sam.load_state_dict(load_file(WEIGHTS))",
    ]


def _fetched(checkpoint: Checkpoint) -> list[str]:
    if checkpoint.tier != "full":
        return []
    pinned = f", revision={checkpoint.revision!r}" if checkpoint.revision else ""
    call = f"hf_hub_download({checkpoint.source!r}, {checkpoint.filename!r}{pinned})"
    return [
        "if not Path(WEIGHTS).exists():",
        "    from huggingface_hub import hf_hub_download",
        "",
        f"    WEIGHTS = {call}",
        "",
    ]


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
