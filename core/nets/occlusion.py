"""Hide parts of a picture from a classifier, and read the probability of a class.

A part is hidden in the input of the network, where the grid of a map fits the pixels exactly. The
passes are steps of a long job; nothing of them is kept but the answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from core import images
from core.nets import transforms, trunk
from core.nets.classifiers import build
from core.serving import devices, runtime, stores
from core.sources.resolver import Progress

BATCH = 8  # pictures in one pass


@dataclass(frozen=True, slots=True, eq=False)
class Occlusion:
    """What is hidden: `cells` (rows, columns) bool on the square that the model sees.

    Hidden pixels become the mean colour of the square, or come from a copy that is blurred to a
    thirty-second of its side.
    """

    cells: NDArray[np.bool_]
    blurred: bool = False

    def apply(self, x: torch.Tensor, zoom: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
        """(1, 3, s, s) -> the same with hidden cells.

        Args:
            zoom: height and width of the part of the picture in `x`, over those of the part that
                the cells divide; both have the same middle. Outside, the nearest cell counts.
        """
        side = x.shape[-1]
        place = (torch.arange(side) + 0.5) / side - 0.5  # from the middle, in sides of x
        rows, columns = (
            ((0.5 + place * by).clamp(0, 1 - 1e-6) * count).long()
            for by, count in zip(zoom, self.cells.shape, strict=True)
        )
        mask = torch.from_numpy(self.cells)[rows][:, columns]
        return torch.where(mask, _blurred(x) if self.blurred else x.mean((2, 3), True), x)


def _blurred(x: torch.Tensor) -> torch.Tensor:
    small = F.adaptive_avg_pool2d(x, max(2, x.shape[-1] // 32))
    return F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False)


def probabilities(
    picture: images.Picture,
    checkpoint: str,
    target: int,
    occlusions: Sequence[Occlusion],
    progress: Progress | None = None,
) -> Generator[float, None, NDArray[np.float64]]:
    """The probability of class number `target` under each of n occlusions, (n,); kept in the store.

    Yields:
        The share of the work that is done, 0..1.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("classify", checkpoint, build, progress) as run:
        extra = run.extra
        hidden = [(one.cells.tobytes(), one.cells.shape, one.blurred) for one in occlusions]
        key = (run.key, "occluded", picture.digest, target, tuple(hidden))
    kept: NDArray[np.float64] | None = stores.outputs().find(key)
    if kept is not None:
        return kept
    hide = partial(_hidden, picture.pixels(), occlusions)
    view, transform = extra.view, extra.transform
    if transform is not None:
        inputs = ((batch,) for batch in hide(transform))
        found = yield from _read(checkpoint, inputs, len(occlusions), target, progress)
    else:  # no two models are held at once
        assert view is not None
        fine, glance = [], []
        zoom = _zoom(picture.size, trunk.CLASSES.crop, view.crop)
        passes = math.ceil(len(occlusions) / BATCH)
        for one in trunk.last_maps(hide(trunk.transform(view)), progress):
            fine.append(one)
            yield 0.7 * len(fine) / passes
        for one in trunk.last_maps(hide(trunk.transform(trunk.CLASSES), zoom), progress):
            glance.append(one.mean((2, 3)))
            yield 0.7 + 0.2 * len(glance) / passes
        pairs = zip(fine, glance, strict=True)
        found = yield from _read(checkpoint, pairs, len(occlusions), target, progress, 0.9)
    stores.outputs().keep(key, found)
    return found


def _hidden(
    rgb: images.RGB,
    occlusions: Sequence[Occlusion],
    transform: Callable[[images.RGB], torch.Tensor],
    zoom: tuple[float, float] = (1.0, 1.0),
) -> Iterator[torch.Tensor]:
    """Batches (n, 3, s, s) of the input under each occlusion."""
    x = transform(rgb)
    for start in range(0, len(occlusions), BATCH):
        yield torch.cat([one.apply(x, zoom) for one in occlusions[start : start + BATCH]])


def _zoom(size: tuple[int, int], crop: float | None, of_cells: float | None) -> tuple[float, float]:
    """Height and width of what one view sees over what the view of the cells sees."""
    x1, y1, x2, y2 = transforms.seen(size, crop)
    left, top, right, bottom = transforms.seen(size, of_cells)
    return (y2 - y1) / (bottom - top), (x2 - x1) / (right - left)


def _read(
    checkpoint: str,
    inputs: Iterable[tuple[torch.Tensor, ...]],
    count: int,
    target: int,
    progress: Progress | None,
    begun: float = 0.0,
) -> Generator[float, None, NDArray[np.float64]]:
    """The probability of class `target` for `count` inputs, which come in batches."""
    found: list[float] = []
    with runtime.run("classify", checkpoint, build, progress) as run:
        for batch in inputs:
            scores = runtime.forward(partial(_scores, run.model, batch), True, True)
            found += scores[:, target].tolist()
            yield begun + (1 - begun) * len(found) / count
    return np.array(found)


def _scores(module: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """(n, K) probabilities on the CPU."""
    scores: torch.Tensor = module(*(x.to(devices.device()) for x in batch))
    return scores.double().softmax(1).cpu()
