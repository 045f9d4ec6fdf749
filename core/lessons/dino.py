"""What patches are like: their features as colours, the nearest ones, and the class attention.

A network describes each patch by D numbers. Their three principal components make a picture of
colours, the cosine between two patches says how alike they are, and the attention of the class
token says what the answer is read from. In DINO, which was trained without labels, these follow
the objects. The features of one forward pass are kept, so layers, heads and patches cost no other.
Sources: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers" (DINO), 2021;
Oquab et al., "DINOv2", 2023.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, classify, images
from core.checkpoints import Checkpoint
from core.errors import InputError
from core.nets import hooks, tokens
from core.sources import resolver
from core.sources.resolver import Progress
from core.types import RunInfo

MANY = 600  # with more patches than that only the last blocks are kept
LAST = 4
LARGEST = 1600  # positions of the largest map of a CNN that is kept


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """The patches after one layer.

    `features` (N, D) float32, row by row on `grid` (rows, columns). `components` (N, 3) are the
    projections on the first three principal components, and `explained` (3,) their shares of the
    variance, 0..1. `attention` (heads, N) is the share that the class token takes from each patch,
    or None where there is no class token.
    """

    name: str
    grid: tuple[int, int]
    features: NDArray[np.float32]
    components: NDArray[np.float32]
    explained: NDArray[np.float32]
    attention: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if len(self.features) != self.grid[0] * self.grid[1]:
            raise ValueError(f"{len(self.features)} patches, grid {self.grid}")

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(rows, columns, 3): each component from its smallest to its largest value as 0..255."""
        low, high = self.components.min(0), self.components.max(0)
        shares = (self.components - low) / np.maximum(high - low, 1e-12)
        return np.rint(255 * shares).astype(np.uint8).reshape(*self.grid, 3)

    def similarity(self, row: int, column: int) -> NDArray[np.float32]:
        """(rows, columns): the cosine between the features of one patch and those of each.

        Raises:
            InputError: there is no such patch.
        """
        row = checks.whole(row, "The row", 0, self.grid[0] - 1)
        column = checks.whole(column, "The column", 0, self.grid[1] - 1)
        unit = self.features.astype(np.float64)
        unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
        found = unit @ unit[row * self.grid[1] + column]
        return found.astype(np.float32).reshape(self.grid)

    def nearest(self, row: int, column: int, count: int = 10) -> tuple[tuple[int, int, float], ...]:
        """The `count` patches most like one patch, best first, without itself: (row, column,
        cosine) each.

        Raises:
            InputError: there is no such patch, or a count below 1.
        """
        count = checks.whole(count, "The number of patches", low=1)
        found = self.similarity(row, column).reshape(-1)
        found[row * self.grid[1] + column] = -np.inf
        order = np.argsort(-found, kind="stable")[: min(count, len(found) - 1)]
        return tuple(
            (int(i) // self.grid[1], int(i) % self.grid[1], float(found[i])) for i in order
        )


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """The levels of one picture, the first layer first. `learnt` is a sentence on whether the
    model was trained with labels, "" if that is unknown. `seen` is the part of the picture that
    the model saw, (x1, y1, x2, y2) in pixels."""

    levels: tuple[Level, ...]
    learnt: str
    seen: tuple[float, float, float, float]
    info: RunInfo


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Features:
    """The features of every patch after each layer of a network, on one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, also "dino-small" and "dinov2-small", which have
            no classes; or "auto".
        progress: called during a download with (fraction, message).

    Raises:
        InputError: the model has no grid of patches.
        CheckpointError, OutOfMemory.
    """
    found = classify.inside(image, checkpoint, "dino", features_of, _facts, progress)
    names, has_class = found.facts
    *maps, attention = found.tensors  # (1, D, rows, columns) each; (1, L, heads, patches)
    levels = []
    skipped = len(maps) - attention.shape[1] if has_class else 0
    for number, tensor in enumerate(maps):
        _, dim, rows, columns = tensor.shape
        features = tensor[0].reshape(dim, -1).T.contiguous().numpy()
        shown = attention[0, number - skipped].numpy() if has_class and number >= skipped else None
        name = names[len(names) - len(maps) + number]
        levels.append(Level(name, (rows, columns), features, *pca(features), shown))
    return Features(tuple(levels), _learnt(found.info.checkpoint), found.seen, found.info)


def pca(features: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(N, D) -> (N, 3) projections on the first three principal components, and (3,) shares of the
    variance that they explain. Each component's largest projection is positive."""
    table = features.astype(np.float64)
    table -= table.mean(0)
    left, singular, _ = np.linalg.svd(table, full_matrices=False)
    kept = min(3, len(singular))
    found, explained = np.zeros((len(table), 3)), np.zeros(3)
    found[:, :kept] = left[:, :kept] * singular[:kept]
    largest = found[np.abs(found).argmax(0), np.arange(3)]
    found *= np.where(largest < 0, -1.0, 1.0)
    total = float((singular**2).sum())
    if total > 0:
        explained[:kept] = singular[:kept] ** 2 / total
    return found.astype(np.float32), explained.astype(np.float32)


def features_of(model: Any, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Run the model on its inputs (B, …); return maps (B, D, rows, columns) of the kept layers, the
    first layer first, and class attention (B, L, heads, N) of those that have it (else empty).

    The features of a Vision Transformer are those after each block, normalised by its last layer
    norm; those of a CNN its maps. No hook stays.
    """
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(model, VisionTransformer):
        all_maps = model.forward_intermediates(x[0], intermediates_only=True)
        fine = [one.shape[-2] * one.shape[-1] > LARGEST for one in all_maps[:-1]]
        maps = [one.float() for one in all_maps[sum(fine) :]]
        return (*maps, maps[0].new_zeros(len(x[0]), 0, 0, 0))
    outputs, inputs = _recorded(model, x)
    first, (rows, columns) = int(model.num_prefix_tokens), model.patch_embed.grid_size
    kept = _kept(rows * columns, len(outputs))
    found = [] if len(x) == 1 else [x[0].float()]  # the hybrid's map of the trunk
    for number in kept:
        tokens = model.norm(outputs[number])[:, first:].float()
        found.append(tokens.transpose(1, 2).reshape(len(tokens), -1, rows, columns))
    if not model.has_class_token:
        return (*found, found[0].new_zeros(len(found[0]), 0, 0, 0))
    shares = [class_attention(model.blocks[i].attn, inputs[i])[:, :, first:] for i in kept]
    return (*found, torch.stack(shares, 1))


def class_attention(layer: Any, x: torch.Tensor) -> torch.Tensor:
    """(B, N, D) inputs of an attention layer of timm -> (B, heads, N): the class token's row of
    softmax(QKᵀ / √d)."""
    batch, count, _ = x.shape
    parts = layer.qkv(x).reshape(batch, count, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4)
    query = layer.q_norm(parts[0][:, :, :1]) * layer.scale
    scores = query @ layer.k_norm(parts[1]).transpose(-2, -1)  # (B, heads, 1, N)
    return scores.float().softmax(-1)[:, :, 0]


def _recorded(
    model: Any, x: tuple[torch.Tensor, ...]
) -> tuple[dict[int, torch.Tensor], dict[int, torch.Tensor]]:
    """The outputs of each block and the inputs of its attention, during one pass."""
    outputs: dict[int, torch.Tensor] = {}

    def after(place: int) -> Callable[..., None]:
        def keep(_: Any, __: Any, output: torch.Tensor) -> None:
            outputs[place] = output

        return keep

    with (
        tokens.inputs_of([block.attn for block in model.blocks]) as inputs,
        hooks.heard([(block, after(i)) for i, block in enumerate(model.blocks)]),
    ):
        model(*x)
    return outputs, inputs


def _kept(patches: int, blocks: int) -> range:
    """Numbers of the blocks to keep: all, or the last few of a large grid."""
    return range(blocks) if patches <= MANY else range(max(0, blocks - LAST), blocks)


def _facts(model: Any) -> tuple[tuple[str, ...], bool]:
    """The names of all levels, and whether there is a class token.

    Raises:
        InputError: the model has no maps.
    """
    from timm.models.vision_transformer import VisionTransformer

    from core.nets.hybrid import HybridViT

    if isinstance(model, VisionTransformer):
        names = [f"block {i + 1}" for i in range(len(model.blocks))]
        if isinstance(model, HybridViT):
            names = ["the CNN's map", *names]
        return tuple(names), bool(model.has_class_token)
    if not hasattr(model, "forward_intermediates") or not hasattr(model, "feature_info"):
        raise InputError(
            "This lesson needs a network of timm; choose a Vision Transformer or another CNN."
        )
    return tuple(f"1 / {one['reduction']} of the size" for one in model.feature_info), False


def _learnt(key: str) -> str:
    try:
        chosen = resolver.find(key, "classify")
    except InputError:
        return ""
    return learnt(chosen)


def learnt(checkpoint: Checkpoint) -> str:
    """A sentence on whether a checkpoint was trained with labels; "" if that is unknown."""
    if checkpoint.tier == "own":
        return ""
    title = checkpoint.title or checkpoint.key
    if checkpoint.features:
        return f"{title} was trained on pictures alone, without labels."
    return f"{title} was trained with labels, so its features serve its classes first of all."
