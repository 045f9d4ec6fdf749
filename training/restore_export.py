"""Write and read the restore starters; spandrel recognises the architecture from the weights.

Two starters of which one began with the other's weights can be averaged; the mean keeps most of
what each is better at (Wortsman et al., Robust fine-tuning of zero-shot models, 2022):

    python -m training.restore_export FIRST SECOND --share 0.8 --out FILE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import spandrel
import torch
from torch import nn

from core.restoring import consistency
from core.sources import state_dicts
from training import common


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


def mean(first: Path, second: Path, share: float, out: Path) -> Path:
    """Save (1 - share) * first + share * second, weight by weight, as the starter `out`.

    Raises:
        ValueError: the networks have different weights.
    """
    weights = common.mean_weights(first, second, share)
    model = load(first).model
    model.load_state_dict(weights)
    return export(model, state_dicts.read_header(first)[0], out)


def main() -> None:
    """Command line: average two starters."""
    parser = argparse.ArgumentParser(description="Average two restore starters.")
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second, 0 to 1")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    mean(options.first, options.second, options.share, options.out)


if __name__ == "__main__":
    main()
