"""Attention of a Vision Transformer: who looks at whom, in every layer and head.

In head h of a layer, each of N tokens has a query q and a key k of d numbers. Row i of
softmax(QKᵀ / √d) is what token i takes from each token. Queries and keys of one forward pass are
kept, so rows, heads, layers and temperatures cost no other pass.
Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, classify, images
from core.nets import tokens
from core.nets.hybrid import HybridViT
from core.sources.resolver import Progress
from core.types import RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class ClassAttention:
    """What a model reads its answer with after the last layer, if it has a readout of its own.

    Only the class token looks, and only at the P patches. `queries` (H, d), already divided by √d,
    and `keys` (H, P, d) are float32.
    """

    queries: NDArray[np.float32]
    keys: NDArray[np.float32]

    def weights(self, head: int, temperature: float = 1.0) -> NDArray[np.float32]:
        """(P,): the softmax of the scores, divided by the temperature."""
        scores = self.keys[head] @ self.queries[head] / temperature
        found: NDArray[np.float32] = softmax(scores)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Queries and keys of one picture.

    `queries` and `keys` are (L, H, N, d) float32 for L layers and H heads; the queries are already
    divided by √d. The first tokens are the `special` ones, such as the class token; then the
    patches follow row by row on `grid` (rows, columns). `seen` is the part of the picture that
    the model saw, (x1, y1, x2, y2) in pixels. `readout` is the class attention of a model that has
    one after its layers, such as the starter.
    """

    queries: NDArray[np.float32]
    keys: NDArray[np.float32]
    special: tuple[str, ...]
    grid: tuple[int, int]
    seen: tuple[float, float, float, float]
    info: RunInfo
    readout: ClassAttention | None = None

    def __post_init__(self) -> None:
        patches = self.grid[0] * self.grid[1]
        if self.queries.shape != self.keys.shape or self.queries.ndim != 4:
            raise ValueError(f"queries {self.queries.shape}, keys {self.keys.shape}")
        if self.queries.shape[2] != len(self.special) + patches:
            raise ValueError(f"{self.queries.shape[2]} tokens, grid {self.grid}")

    def scores(self, layer: int, head: int) -> NDArray[np.float32]:
        """(N, N): QKᵀ / √d; row i belongs to token i."""
        return self.queries[layer, head] @ self.keys[layer, head].T

    def weights(self, layer: int, head: int, temperature: float = 1.0) -> NDArray[np.float32]:
        """(N, N): the softmax of each row of the scores, divided by the temperature."""
        scores = self.scores(layer, head) / temperature
        found: NDArray[np.float32] = softmax(scores, axis=1)
        return found

    def chosen(self, layer: float, head: float, temperature: float = 1.0) -> NDArray[np.float32]:
        """(N, N) weights of one layer and head; -1 is the last layer, and the mean of all heads.

        Layer L, one more than the last, is the `readout` if there is one: the class token's row has
        weights for the patches, and all others are 0.

        Raises:
            InputError: there is no such layer or head, or the temperature is out of range.
        """
        layers, heads = self.queries.shape[:2]
        last = layers - 1 if self.readout is None else layers
        layer = checks.whole(layer, "The layer", low=-1, high=last)
        head = checks.whole(head, "The head", low=-1, high=heads - 1)
        temperature = checks.number(temperature, "The temperature", 0.05, 100)
        which = range(heads) if head < 0 else [head]
        if self.readout is not None and layer == layers:
            table = np.zeros((self.queries.shape[2],) * 2, np.float32)
            rows = [self.readout.weights(one, temperature) for one in which]
            table[0, len(self.special) :] = np.mean(rows, axis=0)
            return table
        found = [self.weights(layer % layers, one, temperature) for one in which]
        return np.mean(found, axis=0, dtype=np.float32)

    def distances(self) -> NDArray[np.float32]:
        """(L, H): how far patches look, as a share of the side of the square that was seen.

        The mean distance between a patch and those that it looks at, weighted by attention, as in
        figure 7 of the ViT paper; special tokens have no place and are left out.
        """
        rows, columns = self.grid
        y, x = np.divmod(np.arange(rows * columns), columns)
        gaps = np.hypot((y[:, None] - y) / rows, (x[:, None] - x) / columns)
        first = len(self.special)
        found = np.empty(self.queries.shape[:2], dtype=np.float32)
        for layer, head in np.ndindex(found.shape):
            weights = self.weights(layer, head)[first:, first:]
            found[layer, head] = (weights * gaps).sum(1).mean() / weights.sum(1).mean()
        return found


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Attention:
    """Queries and keys of every layer of a Vision Transformer on one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`; "auto" is the one that Classify would use if that
            is a Vision Transformer, and otherwise the starter.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: the checkpoint has no attention over all patches, such as a CNN.
        CheckpointError, OutOfMemory.
    """
    key = tokens.checkpoint() if checkpoint == "auto" else checkpoint
    found = classify.inside(image, key, "attention", queries_and_keys, tokens.named, progress)
    queries, keys, *more = (x[0].numpy() for x in found.tensors)
    special, grid = found.facts
    readout = ClassAttention(*more) if more else None
    return Attention(queries, keys, special, grid, found.seen, found.info, readout)


def queries_and_keys(model: Any, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Run the model on its inputs (B, …); return (B, L, H, N, d) queries, divided by √d, and keys.

    Those of its class attention follow, (B, H, d) and (B, H, P, d), if it has one. The inputs of
    the layers are recorded during the pass and their own weights applied to them again, since fused
    attention does not give its weights away.
    """
    layers = [block.attn for block in model.blocks]
    readout = model.readout if isinstance(model, HybridViT) else None
    more = [] if readout is None else [readout.q, readout.k]
    with tokens.inputs_of([*layers, *more]) as inputs:
        model(*x)
    pairs = [tokens.projected(layer, inputs[i])[:2] for i, layer in enumerate(layers)]
    queries, keys = zip(*pairs, strict=True)
    stacked = torch.stack(queries, 1).float(), torch.stack(keys, 1).float()
    if readout is None:
        return stacked
    query = readout.q(inputs[len(layers)]).unflatten(1, (readout.heads, -1))  # (B, H, d)
    key = readout.k(inputs[len(layers) + 1]).unflatten(2, (readout.heads, -1)).transpose(1, 2)
    return *stacked, query.float() * query.shape[-1] ** -0.5, key.float()
