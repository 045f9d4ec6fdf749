"""Footprints: the gradient of one unit of a layer by the pixels that a network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core.errors import InputError
from core.nets import layers

MOST = 6  # layers whose footprint is measured, if none is named


@dataclass(frozen=True, slots=True)
class Unit:
    """Where a unit lies: in which layer ("" for several), and in which row and column of its map;
    -1 for the one at `down` and `across`, shares of the map's height and width, 0..1."""

    across: float = 0.5
    down: float = 0.5
    layer: str = ""
    row: int = -1
    column: int = -1

    def on(self, rows: int, columns: int) -> tuple[int, int]:
        """The row and column on a map.

        Raises:
            InputError: the map is smaller.
        """
        if self.row >= rows or self.column >= columns:
            raise InputError(
                f"The map of {self.layer} has {rows} rows and {columns} columns; choose a unit "
                "among these."
            )
        row = self.row if self.row >= 0 else min(rows - 1, int(self.down * rows))
        column = self.column if self.column >= 0 else min(columns - 1, int(self.across * columns))
        return row, column


def gradients(
    model: Any, *given: torch.Tensor, unit: Unit | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients of one unit in each of at most `MOST` layers, for pictures (B, 3, s, s).

    Args:
        unit: the one that is measured; None for the middle of several layers.

    Returns:
        (B, L, s, s) float32, absolute and summed over the colours; (B, L, 5) int64: number of the
        layer among `layers.listed`, row, column, and the rows and columns of its map; and
        (B, A, 3) int64: number, rows and columns of every layer that is a picture.

    Raises:
        InputError: no layer of the model is a picture, or not the one of the unit.
    """
    unit, listed = unit or Unit(), layers.listed(model)
    values: dict[int, torch.Tensor] = {}
    places: dict[int, tuple[int, int]] = {}
    sizes: dict[int, tuple[int, int]] = {}

    def take(number: int, maps: torch.Tensor) -> None:
        rows, columns = maps.shape[2:]
        sizes[number] = (rows, columns)
        if unit.layer not in ("", listed[number].name):
            return
        row, column = places[number] = unit.on(rows, columns)
        # Added up now, since an activation that follows may write into the maps. Pictures of a
        # batch do not see each other.
        values[number] = maps[:, :, row, column].sum()

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(given[0].device.type, enabled=False),
    ):
        inputs = [x.float().clone() for x in given]
        inputs[0].requires_grad_()
        with layers.watched(model, take):
            model(*inputs)
        _check(unit, values, [listed[n].name for n in sorted(sizes)])
        picked = _picked({n: sizes[n] for n in values}, listed)
        found = []
        for number in picked:
            (slope,) = torch.autograd.grad(values[number], inputs[0], retain_graph=True)
            found.append(slope.detach().abs().sum(1))
    table = torch.tensor([(n, *places[n], *sizes[n]) for n in picked])
    every = torch.tensor([(n, *sizes[n]) for n in sorted(sizes)])
    batch = len(given[0])
    return torch.stack(found, 1), table.repeat(batch, 1, 1), every.repeat(batch, 1, 1)


def _check(unit: Unit, values: dict[int, torch.Tensor], names: Sequence[str]) -> None:
    if not names:
        raise InputError("No layer of this model is a picture; choose another checkpoint.")
    if not values:
        raise InputError(
            f"The model has no layer called {unit.layer[:60]}; the first is {names[0]} and the "
            f"last {names[-1]}."
        )


def _picked(sizes: dict[int, tuple[int, int]], listed: Sequence[layers.Layer]) -> list[int]:
    """The layers that are measured: the last of each resolution, then others evenly."""
    numbers = sorted(sizes)
    after = [*numbers[1:], -1]
    kept = {n for n, m in zip(numbers, after, strict=True) if sizes[n] != sizes.get(m)}
    kept |= {numbers[0], *(n for n in numbers if listed[n].name.endswith("blocks.0"))}
    left = [n for n in numbers if n not in kept]
    room = max(0, MOST - len(kept))
    if left and room:
        places = np.linspace(0, len(left) - 1, min(room, len(left))).round().astype(int)
        kept |= {left[i] for i in places}
    return sorted(kept)
