"""Inside a classifier: the filters of its first layer, and what each layer makes of a picture.

A channel of a layer is a small picture: where it is bright, the pattern that the channel answers to
was found. One forward pass records every layer.
Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014; Krizhevsky
et al., 2012, figure 3 for the filters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from core import checks, classify, images
from core.errors import InputError
from core.nets import layers, whole
from core.sources.resolver import Progress
from core.types import RGB, RunInfo

MOST_CHANNELS = 64
MOST_SIDE = 56
MOST_FILTERS = 256


@dataclass(frozen=True, slots=True, eq=False)
class LayerMaps:
    """The channels of one layer that vary most over the picture.

    `maps` is (c, h, w) float32 for `channels` (c,), the most varied first; `count` channels there
    are in all, of `size` (rows, columns). Larger maps were averaged to 56 cells a side. `silent` is
    the share of all channels that are the same everywhere.
    """

    name: str
    kind: str
    count: int
    size: tuple[int, int]
    channels: NDArray[np.int64]
    maps: NDArray[np.float32]
    silent: float

    def __post_init__(self) -> None:
        if self.maps.ndim != 3 or self.channels.shape != self.maps.shape[:1]:
            raise ValueError(f"maps {self.maps.shape}, channels {self.channels.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class FeatureMaps:
    """Every layer of a network on one picture.

    `filters` are (F, k, k, 3) float32, the weights of the first convolution on red, green and blue;
    None if there is none. `seen` is the part of the picture that the model saw, (x1, y1, x2, y2) in
    pixels.
    """

    layers: tuple[LayerMaps, ...]
    filters: NDArray[np.float32] | None
    seen: tuple[float, float, float, float]
    info: RunInfo

    def layer(self, which: str | float = -1) -> LayerMaps:
        """A layer by its name, or by its number; -1 is the last.

        Raises:
            InputError: there is no such layer.
        """
        if isinstance(which, str):
            for one in self.layers:
                if one.name == which:
                    return one
            known = ", ".join(one.name for one in self.layers)
            raise InputError(f"There is no layer called {which[:60]}; choose one of {known}.")
        last = len(self.layers) - 1
        return self.layers[checks.whole(which, "The layer", low=-1, high=last)]


@dataclass(frozen=True, slots=True)
class _Facts:
    listed: tuple[layers.Layer, ...]
    filters: torch.Tensor | None


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> FeatureMaps:
    """The filters of a classifier, and its layers on one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        progress: called during a download with (fraction, message).

    Raises:
        InputError: no layer of the model is a picture.
        CheckpointError, OutOfMemory.
    """
    found = classify.through(image, checkpoint, "feature maps", record, _facts, progress)
    facts: _Facts = found.facts
    table = found.tensors[0][0]  # (L, 4)
    shown = []
    for (number, count, *size), (chosen, maps, silent) in zip(
        table.tolist(), _triples(found.tensors[1:]), strict=True
    ):
        layer = facts.listed[number]
        shown.append(
            LayerMaps(
                layer.name, layer.kind, count, (size[0], size[1]),
                chosen[0].numpy(), maps[0].numpy(), float(silent[0]),
            )
        )  # fmt: skip
    filters = facts.filters
    colours = None if filters is None else filters.permute(0, 2, 3, 1).float().cpu().numpy()
    return FeatureMaps(tuple(shown), colours, found.seen, found.info)


def record(model: Any, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Run a network on pictures (B, 3, s, s) and keep the maps of all its layers.

    Returns:
        (B, L, 4) int64: for each layer its number among `layers.listed`, its channels, rows and
        columns. Then for each layer the chosen channels (B, c) int64, their maps (B, c, h, w)
        float32 and the share of silent channels (B,).

    Raises:
        InputError: no layer of the model is a picture.
    """
    kept: dict[int, tuple[torch.Tensor, ...]] = {}
    rows: dict[int, tuple[int, ...]] = {}

    def take(number: int, maps: torch.Tensor) -> None:
        rows[number] = (number, *maps.shape[1:])
        kept[number] = _reduced(maps.float())

    with layers.watched(model, take):
        model(*given)
    if not rows:
        raise InputError("No layer of this model is a picture; choose another checkpoint.")
    table = torch.tensor([rows[number] for number in sorted(rows)])
    parts = [part for number in sorted(kept) for part in kept[number]]
    return table.repeat(len(given[0]), 1, 1), *parts


def _reduced(maps: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """(B, C, h, w) -> channels (B, c), maps (B, c, h', w') and the share of silent ones (B,)."""
    spread = maps.flatten(2).std(2, correction=0)  # (B, C)
    chosen = spread.topk(min(MOST_CHANNELS, maps.shape[1]), dim=1).indices
    picked = maps.gather(1, chosen[:, :, None, None].expand(-1, -1, *maps.shape[2:]))
    rows, columns = maps.shape[2:]
    size = (min(rows, MOST_SIDE), min(columns, MOST_SIDE))
    small = F.adaptive_avg_pool2d(picked, size) if size != (rows, columns) else picked
    return chosen, small, (spread == 0).float().mean(1)


def _triples(parts: tuple[torch.Tensor, ...]) -> list[tuple[torch.Tensor, ...]]:
    return [parts[i : i + 3] for i in range(0, len(parts), 3)]


def _facts(network: whole.Network) -> _Facts:
    filters = layers.first_filters(network.module)
    return _Facts(layers.listed(network.module), None if filters is None else filters.clone())


def as_pictures(filters: NDArray[np.float32]) -> RGB:
    """(F, k, k, 3) weights as colours, (F, k, k, 3) uint8; grey is 0, the largest weight of each
    filter 255 or 0. At most 256 of them."""
    some = filters[:MOST_FILTERS].astype(np.float64)
    most = np.abs(some).max(axis=(1, 2, 3), keepdims=True)
    return np.rint(127.5 + 127.5 * some / np.maximum(most, 1e-12)).astype(np.uint8)
