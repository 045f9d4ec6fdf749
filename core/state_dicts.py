"""Read weight files without running code from them, and put them into models built on `meta`.

A starter file is fp16 safetensors whose header carries two strings: `task` (one of the tasks of
`core.checkpoints`) and `config` (JSON: what the builder of that task needs), so that a model is
told from the file alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from core.errors import CheckpointError, DamagedFile

StateDict = dict[str, torch.Tensor]


def save_starter(path: Path, state: StateDict, task: str, config: dict[str, Any]) -> None:
    """Write floats as fp16 safetensors with `task` and `config` in the header."""
    small = {
        name: (t.half() if t.is_floating_point() else t).detach().cpu().contiguous().clone()
        for name, t in state.items()
    }
    save_file(small, path, {"format": "pt", "task": task, "config": json.dumps(config)})


def read_header(path: Path) -> tuple[str, dict[str, Any]]:
    """(task, config) of a starter file; ("", {}) for any other safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return metadata.get("task", ""), json.loads(metadata.get("config", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise DamagedFile(f"{path.name} is damaged or is not a safetensors file.") from error


def read(path: Path) -> StateDict:
    """The tensors of a `.safetensors`, `.pth`, `.pt` or `.bin` file, floats as float32.

    Pickles are read with `weights_only=True`, whatever the environment says. Wrappers that
    training scripts put around weights (`model`, `state_dict`, `params`, `params_ema`) come off.

    Raises:
        DamagedFile: the file is truncated, or holds something other than tensors.
    """
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"The weight file {path.name} is not there.") from error
    except Exception as error:  # the unpickler raises a dozen kinds; all mean the same here
        raise DamagedFile(f"{path.name} is damaged or is not a weight file.") from error
    for wrapper in ("params_ema", "params", "state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(torch.is_tensor(t) for t in state.values()):
        raise DamagedFile(f"{path.name} does not hold a plain table of weights.")
    return {k: t.float() if t.is_floating_point() else t for k, t in state.items()}


def assign(model: torch.nn.Module, state: StateDict, name: str) -> torch.nn.Module:
    """Put `state` into `model` (built on `meta`) without copying; every key must match.

    Raises:
        CheckpointError: keys are missing or left over, or a shape differs.
    """
    try:
        result = model.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{name} has weights of another shape than its model.") from error
    refuse_mismatch(name, result.missing_keys, result.unexpected_keys)
    return model.eval().requires_grad_(False)


def refuse_mismatch(name: str, missing: list[str], surplus: list[str]) -> None:
    """Raise CheckpointError when a file lacks keys of the model, or has keys it does not know."""
    if missing or surplus:
        example = (missing or surplus)[0]
        raise CheckpointError(
            f"{name} does not fit its model: {len(missing)} weights missing, "
            f"{len(surplus)} unknown (for example {example}); choose another file."
        )
