"""Receptive fields: how much of the picture a unit sees, by arithmetic and measured.

The arithmetic (`core.nets.chains`) gives the square outside of which no pixel counts. The footprint
is measured on a checkpoint and a picture: the gradient of one unit by the pixels says how much each
of them counts. In trained networks it covers a small part of the square.
Source: Luo et al., "Understanding the Effective Receptive Field in Deep Convolutional Neural
Networks", 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, classify, images
from core.errors import InputError
from core.nets import chains, layers, whole
from core.nets.chain_presets import PRESETS, Preset, parsed, preset
from core.nets.chains import MOST_STEPS, Field, Step
from core.nets.footprints import MOST, Unit, gradients
from core.sources import resolver
from core.sources.resolver import Progress
from core.types import RunInfo

__all__ = [
    "MOST", "MOST_STEPS", "PRESETS", "Field", "Footprint", "Footprints", "Preset", "Step", "Unit",
    "Units", "chain", "gradients", "measure",
]  # fmt: skip

SHARE = 0.9  # of the gradient, which `Footprint.side` holds


@dataclass(frozen=True, slots=True, eq=False)
class Footprint:
    """What one unit of a layer saw of the picture.

    The unit is at `row` and `column` of the layer's `grid` (rows, columns), all its channels added
    up. `weights` is (s, s) float32: the sum over the colours of the absolute gradient of the unit
    by each pixel of the network's input; all 0 where every channel is off. `field` is the square of
    the arithmetic; None where the network's paths are not known.
    """

    name: str
    kind: str
    row: int
    column: int
    grid: tuple[int, int]
    weights: NDArray[np.float32]
    field: Field | None

    @property
    def box(self) -> tuple[float, float, float, float] | None:
        """(x1, y1, x2, y2) of the field in pixels of the input, cut at its border."""
        side = self.weights.shape[0]
        return None if self.field is None else self.field.box(self.row, self.column, side)

    @property
    def middle(self) -> tuple[float, float]:
        """(x, y) of the middle of the unit in pixels of the input."""
        side, (rows, columns) = self.weights.shape[0], self.grid
        return (self.column + 0.5) * side / columns, (self.row + 0.5) * side / rows

    @property
    def side(self) -> int:
        """Pixels of a side of the smallest square around the unit with 90 % of the gradient; 0 for
        a unit that is off."""
        total = float(self.weights.sum(dtype=np.float64))
        if total <= 0:
            return 0
        x, y = self.middle
        rows, columns = np.indices(self.weights.shape)
        far = np.maximum(np.abs(columns + 0.5 - x), np.abs(rows + 0.5 - y)).ravel()
        order = np.argsort(far)
        held = np.cumsum(self.weights.ravel()[order], dtype=np.float64)
        reach = far[order][int(np.searchsorted(held, SHARE * total))]
        return round(2 * float(reach) + 1)


@dataclass(frozen=True, slots=True)
class Units:
    """The units of a layer that can be measured: its name and the (rows, columns) of its map."""

    name: str
    kind: str
    grid: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Footprints:
    """The footprints of some layers, in order, on one picture.

    `seen` is the part of the picture that the model saw, (x1, y1, x2, y2) in pixels; the input has
    `side` x `side` pixels. `title` names the checkpoint and `steps` its chain, as far as that is
    known. `units` are all layers that give a picture. `looks_aside`: a side way
    (squeeze-and-excitation) lets each unit see a mean of the whole picture, so that gradients leave
    the square.
    """

    title: str
    steps: tuple[Step, ...]
    layers: tuple[Footprint, ...]
    units: tuple[Units, ...]
    looks_aside: bool
    side: int
    seen: tuple[float, float, float, float]
    info: RunInfo


@dataclass(frozen=True, slots=True)
class _Facts:
    listed: tuple[layers.Layer, ...]
    steps: tuple[Step, ...] | None
    counts: tuple[int, ...]  # how many steps lie before the end of each layer
    looks_aside: bool


def chain(steps: Sequence[Step] | str = "vgg16", side: int = 0) -> tuple[Field, ...]:
    """The receptive field after each layer of a chain.

    Args:
        steps: the chain; or the key of a preset such as "vgg16"; or a text such as "c3 c3 m2s2",
            where c3 is a convolution of 3 x 3, m2 a pool, and s, p and d give stride, padding and
            dilation.
        side: pixels of a side of the picture; 0 is the preset's, or 224.

    Raises:
        InputError: there is no such layer or preset, or a number is out of range.
    """
    if isinstance(steps, str):
        if steps.strip() in {one.key for one in PRESETS} or not any(c.isdigit() for c in steps):
            known = preset(steps.strip())
            return chains.fields(known.steps, side or known.side)
        steps = parsed(steps)
    return chains.fields(steps, side or 224)


def measure(
    image: images.ImageLike,
    checkpoint: str = "auto",
    across: float = 0.5,
    down: float = 0.5,
    layer: str = "",
    row: int = -1,
    column: int = -1,
    progress: Progress | None = None,
) -> Footprints:
    """The footprint of one unit in some layers: by one forward pass, and a backward pass for each.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        across: where the unit lies, as a share of the width of what the model sees, 0 to 1.
        down: the same of the height.
        layer: the name of the only layer to measure, one of the `units` of an answer; all others
            are left out. Empty for at most `MOST` that are spread over the network.
        row: of the unit on that layer's map, the first is 0; -1 for the one at `down`.
        column: the same; -1 for the one at `across`.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: a number is out of range, there is no such layer, or none is a picture.
        CheckpointError, OutOfMemory.
    """
    across = float(checks.number(across, "The place across", 0, 1))
    down = float(checks.number(down, "The place down", 0, 1))
    row, column = (checks.whole(x, "Row and column of the unit", low=-1) for x in (row, column))
    if not isinstance(layer, str):
        raise InputError("Name a layer, such as the first of `units`.")
    name = f"footprint {across!r} {down!r} {layer} {row} {column}"
    compute = partial(gradients, unit=Unit(across, down, layer, row, column))
    found = classify.through(image, checkpoint, name, compute, _facts, progress)
    weights, numbers, sizes = (x[0].numpy() for x in found.tensors)
    facts: _Facts = found.facts
    side = weights.shape[-1]
    fields = chains.fields(facts.steps, side) if facts.steps else ()
    shown = []
    for map_, (number, row, column, *grid) in zip(weights, numbers.tolist(), strict=True):
        one, count = facts.listed[number], facts.counts[number]
        field = fields[count - 1] if fields and count else None
        shown.append(Footprint(one.name, one.kind, row, column, (grid[0], grid[1]), map_, field))
    units = [(facts.listed[number], (rows, columns)) for number, rows, columns in sizes.tolist()]
    return Footprints(
        resolver.find(found.info.checkpoint, "classify").title or found.info.checkpoint,
        facts.steps or (),
        tuple(shown),
        tuple(Units(one.name, one.kind, grid) for one, grid in units),
        facts.looks_aside,
        side,
        found.seen,
        found.info,
    )


def _facts(network: whole.Network) -> _Facts:
    model = network.module
    listed, steps = layers.listed(model), chains.chain_of(model)
    return _Facts(listed, steps, _counts(model, listed, steps or ()), chains.looks_aside(model))


def _counts(
    model: torch.nn.Module, listed: Sequence[layers.Layer], steps: Sequence[Step]
) -> tuple[int, ...]:
    """How many of the steps lie within or before each layer, in the order of the modules."""
    order = {name: place for place, (name, _) in enumerate(model.named_modules())}
    ends: list[int] = []
    for layer in listed:
        inside: Callable[[str], bool] = partial(_within, layer.name)
        end = max(place for name, place in order.items() if inside(name))
        ends.append(sum(order[step.name] <= end for step in steps))
    return tuple(ends)


def _within(owner: str, name: str) -> bool:
    return name == owner or name.startswith(owner + ".")
