"""The tokens of a Vision Transformer: their names, their grid, and what its attention layers get.

For lessons, which look inside a model without changing it: a hook lives for one pass, and hears
only the thread that set it, since another may be using the same model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from core.checkpoints import CATALOGUE
from core.errors import InputError
from core.nets import hooks
from core.sources import resolver


def named(model: Any) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The names of the special tokens and the grid (rows, columns) of patches.

    Raises:
        InputError: this is no Vision Transformer with attention over all patches.
    """
    if not is_vision_transformer(model):
        raise InputError(
            "This model has no attention over the whole picture; choose a Vision Transformer, "
            "such as the starter or ViT-Ti/16."
        )
    names = ["class token"] if model.has_class_token else []
    left = int(model.num_prefix_tokens) - len(names)  # registers, or one for distillation
    names += [f"register {i + 1}" for i in range(left)] if left > 1 else ["extra token"] * left
    rows, columns = model.patch_embed.grid_size
    return tuple(names), (int(rows), int(columns))


def is_vision_transformer(model: Any) -> bool:
    """Whether it is timm's VisionTransformer, with attention over all patches in every block."""
    from timm.models.vision_transformer import VisionTransformer

    return isinstance(model, VisionTransformer)


def checkpoint() -> str:
    """The checkpoint of "auto" if it is a Vision Transformer by its name, else the starter."""
    chosen = resolver.resolve("auto", "classify").checkpoint
    if chosen.arch.startswith(("vit", "deit")) or chosen.tier in ("starter", "own"):
        return chosen.key
    starters = [c.key for c in CATALOGUE if c.task == "classify" and c.tier == "starter"]
    return starters[0] if starters else chosen.key


@contextmanager
def inputs_of(layers: Sequence[Any]) -> Iterator[dict[int, torch.Tensor]]:
    """The first input of each layer, by its place, in the pass that this thread runs meanwhile."""
    found: dict[int, torch.Tensor] = {}

    def record(place: int) -> Callable[[Any, tuple[torch.Tensor, ...]], None]:
        def keep(_: Any, given: tuple[torch.Tensor, ...]) -> None:
            found[place] = given[0]

        return keep

    with hooks.heard([(layer, record(i)) for i, layer in enumerate(layers)], before=True):
        yield found


def projected(layer: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(B, N, D) -> queries, divided by √d, keys and values, each (B, H, N, d), of one attention
    layer of timm."""
    batch, count, _ = x.shape
    parts = layer.qkv(x).reshape(batch, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    return layer.q_norm(parts[0]) * layer.scale, layer.k_norm(parts[1]), parts[2]
