"""Write and read the restore starters; spandrel recognises the architecture from the weights."""

from __future__ import annotations

from pathlib import Path

import spandrel
import torch
from torch import nn

from core.restoring import consistency
from core.sources import state_dicts


def export(model: nn.Module, task: str, path: Path) -> Path:
    """Save `model` as the safetensors file `path` (fp16), and check that spandrel recognises it.

    Raises:
        ValueError: spandrel recognises another architecture.
    """
    config = {"task": task}
    if task == "super_resolve":
        config["reduced_by"] = consistency.FILTER
    state_dicts.save_starter(path, model.state_dict(), task, config)
    known = load(path).model
    if type(known) is not type(model):
        raise ValueError(f"{path.name} is taken for a {type(known).__name__}.")
    return path


def load(path: Path) -> spandrel.ImageModelDescriptor:
    """The starter at `path` as spandrel recognises it, on the CPU, ready to run."""
    descriptor = spandrel.ModelLoader("cpu").load_from_state_dict(state_dicts.read(path))
    if not isinstance(descriptor, spandrel.ImageModelDescriptor):
        raise ValueError(f"{path.name} is not a model that turns one picture into one.")
    descriptor.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return descriptor.eval()
