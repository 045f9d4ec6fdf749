"""The layers of a classifier that give a picture: their names, and their values in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core.nets import hooks

_CONTAINERS = (nn.Sequential, nn.ModuleList)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)
_PASSIVE = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Linear, nn.Flatten)
_ACTIVE = ("act", "relu", "silu", "swish", "gelu", "tanh")

Taken = Callable[[int, torch.Tensor], None]


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of a network: its path, such as `layer1.0`, and the name of its class."""

    name: str
    kind: str


def listed(model: nn.Module) -> tuple[Layer, ...]:
    """The layers of a network in order: blocks, pools, and convolutions after their activation.

    Blocks are not taken apart. A convolution that a normalisation or an activation follows is left
    out, since the next layer reads what those give. Some of the layers may give no picture.
    """
    found = list(_walk(model, ""))
    kept: list[Layer] = []
    for place, (name, module) in enumerate(found):
        if isinstance(module, _PASSIVE) or (isinstance(module, _NORMS) and not _acts(module)):
            continue
        after = [later for _, later in found[place + 1 : place + 3]]
        if isinstance(module, nn.Conv2d) and after:
            plain = isinstance(after[0], _NORMS) and not _acts(after[0])
            if _acts(after[0]) or (plain and len(after) > 1 and _acts(after[1])):
                continue
        kept.append(Layer(name, type(module).__name__))
    return tuple(kept)


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        path = prefix + name
        deeper = isinstance(child, _CONTAINERS) or isinstance(
            getattr(child, "blocks", None), _CONTAINERS
        )
        if deeper:
            yield from _walk(child, path + ".")
        else:
            yield path, child


def _acts(module: nn.Module) -> bool:
    """Is this an activation, or a normalisation that ends with one?"""
    return any(word in type(module).__name__.lower() for word in _ACTIVE)


@contextmanager
def watched(model: nn.Module, taken: Taken) -> Iterator[None]:
    """Call `taken(number, maps)` when one of the `listed` layers has run; maps are (B, C, h, w).

    Only the first run of a layer in this thread counts, and only where it gives more than one
    place. No hook stays behind.
    """
    modules = dict(model.named_modules())
    done: set[int] = set()

    def keep(number: int, name: str) -> Callable[..., None]:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            if number in done or not isinstance(output, torch.Tensor):
                return
            done.add(number)
            maps = as_maps(model, name, output)
            if maps is not None:
                taken(number, maps)

        return hook

    kept = [(modules[one.name], keep(number, one.name)) for number, one in enumerate(listed(model))]
    with hooks.heard(kept):
        yield


def as_maps(model: nn.Module, name: str, output: torch.Tensor) -> torch.Tensor | None:
    """The output of a layer as (B, C, h, w); None where it is no picture.

    Tokens (B, N, C) are laid out on the grid of patches, without the special ones before them.
    """
    owner = _owner(model, name)
    if output.ndim == 4:
        if getattr(owner, "output_fmt", "NCHW") == "NHWC":
            output = output.permute(0, 3, 1, 2)
        return output if output.shape[2] * output.shape[3] > 1 else None
    grid = getattr(getattr(owner, "patch_embed", None), "grid_size", None)
    if output.ndim != 3 or grid is None:
        return None
    rows, columns = grid
    special = output.shape[1] - rows * columns
    if not 0 <= special <= int(getattr(owner, "num_prefix_tokens", 0)):
        return None
    tokens = output[:, special:].transpose(1, 2)  # (B, C, rows * columns)
    return tokens.reshape(*tokens.shape[:2], rows, columns)


def _owner(model: nn.Module, name: str) -> Any:
    """The network that a layer belongs to: the model, or one of two that were joined."""
    first = name.partition(".")[0]
    part = getattr(model, first, None)
    return part if hasattr(part, "forward_features") else model


def first_filters(model: nn.Module) -> torch.Tensor | None:
    """(F, 3, k, k): the weights of the first convolution on the colours; None without one.

    A network that reads the mean of the colours has the same weights on each.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels in (1, 3):
            weight = module.weight.detach()
            return weight if module.in_channels == 3 else weight.expand(-1, 3, -1, -1) / 3
    return None
