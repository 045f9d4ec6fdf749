"""Position embeddings: what a Vision Transformer adds to each patch so that it knows its place.

Patches enter the transformer as a set; a vector for each place, learned in training, is added to
them. Places whose vectors point the same way are near for the model.
Source: Dosovitskiy et al., "An Image is Worth 16x16 Words", 2021, figure 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, classify
from core.errors import InputError
from core.nets import tokens, transforms
from core.sources.resolver import Progress
from core.types import RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """`similarity` (N, N) float32 in -1..1: the cosine between the embeddings of two places.

    The N places follow row by row on `grid` (rows, columns); `dim` numbers are in each embedding.
    `crop` is the side of the middle square that the model sees as a share of the shorter side of a
    picture; None for the whole picture.
    """

    similarity: NDArray[np.float32]
    grid: tuple[int, int]
    dim: int
    crop: float | None
    info: RunInfo

    def __post_init__(self) -> None:
        if self.similarity.shape != (self.grid[0] * self.grid[1],) * 2:
            raise ValueError(f"similarity {self.similarity.shape}, grid {self.grid}")

    def of(self, row: int, column: int) -> NDArray[np.float32]:
        """(rows, columns): how similar each place is to the one in that row and column, from 0.

        Raises:
            InputError: there is no such place.
        """
        rows, columns = self.grid
        row = checks.whole(row, "The row", low=0, high=rows - 1)
        column = checks.whole(column, "The column", low=0, high=columns - 1)
        return self.similarity[row * columns + column].reshape(self.grid)

    def seen(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """The part of a picture of `size` (H, W) that the model sees, (x1, y1, x2, y2)."""
        return transforms.seen(size, self.crop)


def look(checkpoint: str = "auto", progress: Progress | None = None) -> Positions:
    """The position embeddings of a Vision Transformer; they are the same for every picture.

    Args:
        checkpoint: a key of `core.checkpoints`; "auto" is the one that Classify would use if that
            is a Vision Transformer, and otherwise the starter.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: the model adds nothing to its patches by their place.
        CheckpointError, OutOfMemory.
    """
    key = tokens.checkpoint() if checkpoint == "auto" else checkpoint
    (table, grid), crop, info = classify.of_model(key, embeddings, progress)
    return Positions(similarity(table), grid, table.shape[1], crop, info)


def embeddings(model: Any) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """(N, D) position embeddings of the patches, row by row, and their grid (rows, columns).

    Raises:
        InputError: the model has none.
    """
    table = getattr(model, "pos_embed", None)
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    count = int(grid[0]) * int(grid[1]) if grid is not None else 0
    if not isinstance(table, torch.Tensor) or table.ndim != 3 or table.shape[1] < count or not grid:
        raise InputError(f"{_why_none(model)} Choose a Vision Transformer, such as the starter.")
    patches = table[0, table.shape[1] - count :]  # special tokens come first, if they have any
    return patches.detach().float().cpu().numpy(), (int(grid[0]), int(grid[1]))


def similarity(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) -> (N, N): the cosine between any two rows; 0 for a row of zeros."""
    lengths = np.linalg.norm(table, axis=1, keepdims=True)
    unit = table / np.maximum(lengths, 1e-12)
    return np.clip(unit @ unit.T, -1, 1).astype(np.float32)


def _why_none(model: Any) -> str:
    parts = list(model.modules())
    if hasattr(model, "rope") or any(type(one).__name__.startswith("Rotary") for one in parts):
        return (
            "This model rotates queries and keys by their place, and adds nothing to its patches."
        )
    if any(hasattr(one, "relative_position_bias_table") for one in parts):
        return (
            "This model adds to each score how far two patches lie apart, and nothing to patches."
        )
    if any("Attention" in type(one).__name__ for one in parts):
        return "This model has no learned vector for each place of one grid."
    return "This model has no position embeddings, since a convolution always knows the neighbours."
