"""The user's own checkpoints: what lies in the folder, or is the file, that the settings name.

Task and architecture are told from the file itself: our starter header, the config.json beside it
(transformers, timm), the weights' names (Segment Anything) or spandrel's detection (restoration).
Where that fails the scan says why in one sentence, and goes on.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.checkpoints import TASK_SPECS, TASKS, WORDS, Checkpoint, Loader, Task
from core.cpu import compute_threads
from core.settings import get_settings

Shapes = dict[str, tuple[int, ...]]

LICENCE = "your own file"
WEIGHTS = {".safetensors", ".pth", ".pt", ".ckpt", ".bin"}
FOREIGN = {".onnx", ".h5", ".keras", ".pb", ".tflite", ".gguf", ".npz", ".msgpack", ".engine"}
MAX_FILES = 500

_MODEL_TYPES: dict[str, Task] = {
    kind: task for task, spec in TASK_SPECS.items() for kind in spec.model_types
}
_SAM_WIDTHS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}
_FOLDERS: dict[str, Task] = {
    name: task for task, spec in TASK_SPECS.items() for name in spec.folders
}
# Names that only one kind of network uses, for files that lack their config.json.
_NEEDS_CONFIG = {
    "class_labels_classifier.": "a DETR of transformers",
    "vit.embeddings.": "a ViT-MAE of transformers",
    "patch_embed.proj.": "a Vision Transformer of timm",
    "vision_encoder.": "a SAM of transformers",
}


class _Unclear(Exception):
    """Carries the sentence for a file that cannot be used; never leaves this module."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found, and one sentence for each file that cannot be used."""

    checkpoints: tuple[Checkpoint, ...] = ()
    problems: tuple[str, ...] = ()


_known: dict[tuple[Path, int, int], Scan] = {}  # (file, mtime_ns, bytes) -> what it is


def scan() -> Scan:
    """Look at `VISION_HUB_CHECKPOINTS`, a folder (with sub-folders) or one file; never raises.

    A file is opened once and then only again after it changed.
    """
    root = get_settings().checkpoints
    if root is None:
        return Scan()
    if not root.exists():
        return Scan((), (f"VISION_HUB_CHECKPOINTS names {root.name}, which is not there.",))
    base = root if root.is_dir() else root.parent
    scans = [_of_file(file, base) for file in _files(root)]
    checkpoints = tuple(c for one in scans for c in one.checkpoints)
    return Scan(checkpoints, tuple(p for one in scans for p in one.problems))


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = [
        file
        for file in sorted(root.rglob("*"))
        if file.suffix.lower() in WEIGHTS | FOREIGN
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
        and file.is_file()
    ]
    # A folder of transformers often holds the same weights twice.
    twice = {f.parent for f in found if f.name == "model.safetensors"}
    return [f for f in found if not (f.name == "pytorch_model.bin" and f.parent in twice)][
        :MAX_FILES
    ]


def _of_file(file: Path, base: Path) -> Scan:
    try:
        stat = file.stat()
        config = _config(file)
        beside = file.with_name("config.json")
        changed = beside.stat().st_mtime_ns if config else 0
        known = (file, stat.st_mtime_ns + changed, stat.st_size)
        if known not in _known:
            _known[known] = _look(file, base, config)
        return _known[known]
    except OSError:
        return Scan((), (f"{file.name} cannot be read.",))


def _look(file: Path, base: Path, config: dict[str, Any]) -> Scan:
    name = file.relative_to(base).as_posix()
    if config and file.stem in ("model", "pytorch_model") and file.parent != base:
        name = file.parent.relative_to(base).as_posix()
    try:
        found = tuple(_identify(file, config))
    except _Unclear as unclear:
        return Scan((), (f"{name} {unclear}",))
    except Exception:  # whatever a strange file makes a library do, the others must still load
        return Scan((), (f"{name} is not a model that this program can read.",))
    size = file.stat().st_size / 1e6
    return Scan(tuple(replace(c, key=f"own:{name}", title=name, size_mb=size) for c in found))


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.with_name("config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


# --- what a file is ---


def _identify(file: Path, config: dict[str, Any]) -> Iterable[Checkpoint]:
    if file.suffix.lower() not in WEIGHTS:
        raise _Unclear("is not a PyTorch weight file; use .safetensors or .pth.")
    if "-of-" in file.stem:
        raise _Unclear("is one part of a split checkpoint; join the parts into one file.")
    shapes, header = _contents(file)
    params = sum(math.prod(shape) for shape in shapes.values()) / 1e6

    def make(task: Task, loader: Loader, arch: str = "", scale: int = 1) -> Checkpoint:
        return Checkpoint(
            "",
            task,
            loader,
            str(file),
            LICENCE,
            tier="own",
            params_m=params,
            arch=arch,
            scale=scale,
        )

    if any("lora_" in key for key in shapes):
        raise _Unclear("is a LoRA adapter, which changes a model and is none by itself.")
    if header in TASKS and TASK_SPECS[_task(header)].loader != "spandrel":
        return [make(_task(header), TASK_SPECS[_task(header)].loader)]
    # Before the config: Meta's own file often lies beside that of transformers.
    if any(k.startswith("image_encoder.") for k in shapes) and "mask_decoder" in str(list(shapes)):
        return [make("segment", "sam", _sam_arch(shapes))]
    if config:
        return [make(*_from_config(config))]
    for prefix, kind in _NEEDS_CONFIG.items():
        if any(key.startswith(prefix) for key in shapes):
            raise _Unclear(f"is {kind} and needs its config.json beside it.")
    scale = _restoration_scale(file)
    return [make(task, "spandrel", scale=scale) for task in _restoration_tasks(file, header, scale)]


def _task(name: str) -> Task:
    return next(task for task in TASKS if task == name)


def _from_config(config: dict[str, Any]) -> tuple[Task, Loader, str]:
    architecture, kind = config.get("architecture"), config.get("model_type")
    if isinstance(architecture, str):
        import timm

        if not timm.is_model(architecture.split(".")[0]):
            raise _Unclear(f"is a {architecture}, which this version of timm does not know.")
        return "classify", "timm", architecture
    if kind in _MODEL_TYPES:
        named = _MODEL_TYPES[kind] == "segment" or kind == WORDS
        arch = kind.removesuffix("_video") if named else ""
        return _MODEL_TYPES[kind], "transformers", arch
    known = ", ".join(_MODEL_TYPES)
    raise _Unclear(f"is a {kind or 'nameless'} model; of transformers this program shows {known}.")


def _sam_arch(shapes: Shapes) -> str:
    if any(key.startswith("image_encoder.trunk.") for key in shapes):
        raise _Unclear("is a SAM 2 in Meta's format; use the file that transformers reads.")
    width = shapes.get("image_encoder.pos_embed", (0,))[-1]
    if width not in _SAM_WIDTHS:
        raise _Unclear("is a SAM with an image encoder other than ViT-B, ViT-L or ViT-H.")
    return _SAM_WIDTHS[width]


def _restoration_scale(file: Path) -> int:
    from spandrel import ImageModelDescriptor, UnsupportedModelError

    from core.sources import state_dicts

    try:
        loaded = state_dicts.restoration_net(state_dicts.read(file))
    except UnsupportedModelError as error:
        raise _Unclear(
            "is not a network that timm, transformers, SAM or spandrel knows."
        ) from error
    if not isinstance(loaded, ImageModelDescriptor):
        raise _Unclear("needs a mask besides the picture; such networks are not shown.")
    if loaded.input_channels != 3 or loaded.output_channels != 3:
        raise _Unclear("works on grey pictures; only colour networks are shown.")
    return loaded.scale


def _restoration_tasks(file: Path, header: str, scale: int) -> tuple[Task, ...]:
    if scale > 1:
        return ("super_resolve",)
    named = header if header in TASKS else _FOLDERS.get(file.parent.name.lower(), "")
    if named in ("denoise", "deblur"):
        return (_task(named),)
    return ("denoise", "deblur")  # the weights do not say which


# --- names and shapes, without reading the weights ---


def _contents(file: Path) -> tuple[Shapes, str]:
    """Names and shapes of a file's tensors, and the task in a starter's header ("" elsewhere)."""
    if file.suffix.lower() == ".safetensors":
        return _safetensors_contents(file)
    if _is_torchscript(file):
        raise _Unclear("is TorchScript, which runs code of its own; save the weights alone.")
    import torch

    compute_threads.settle()
    try:
        try:
            state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # the format before torch 1.6 cannot be mapped
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise _Unclear("is damaged, or holds more than plain weights.") from error
    for wrapper in ("params_ema", "params", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise _Unclear("does not hold a plain table of weights.")
    return {name: tuple(tensor.shape) for name, tensor in state.items()}, ""


def _safetensors_contents(file: Path) -> tuple[Shapes, str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            header = (opened.metadata() or {}).get("task", "")
            names = opened.keys()
            return {n: tuple(opened.get_slice(n).get_shape()) for n in names}, header
    except (SafetensorError, OSError) as error:
        raise _Unclear("is damaged or is not a safetensors file.") from error


def _is_torchscript(file: Path) -> bool:
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(
            "/code/" in name or name.endswith("constants.pkl") for name in archive.namelist()
        )
