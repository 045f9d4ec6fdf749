"""Why this class: which parts of the picture count for it, how far that holds, and a doubt.

Three ways to see it as maps (`core.nets.relevance`). A map is worth as much as it predicts: hide
the cells in its order, and the probability should fall quickly (deletion); show them in its order,
and it should rise quickly (insertion). And a map that looks the same with random weights explains
the picture, not the model.
Sources: Petsiuk et al., "RISE", 2018; Adebayo et al., "Sanity Checks for Saliency Maps", 2018.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax

from core import classify, images
from core.errors import InputError
from core.nets import occlusion, relevance
from core.nets.occlusion import Occlusion
from core.serving import runtime
from core.sources.resolver import Progress
from core.types import RunInfo

STEPS = 8  # of the curves
CHANCE = "Random order"


@dataclass(frozen=True, slots=True, eq=False)
class Map:
    """`values` (rows, columns) float32, none negative: how much each cell counts for the class.

    `random` is the same from a model of that kind with random weights.
    """

    method: str
    values: NDArray[np.float32]
    random: NDArray[np.float32]

    def order(self) -> NDArray[np.int64]:
        """(N,) numbers of the cells, row by row from 0, the most important first."""
        return np.argsort(-self.values.ravel(), kind="stable")

    def likeness(self) -> float:
        """Correlation of the two maps, -1..1; near 1 the weights do not matter for the map."""
        a, b = (x.ravel() - x.mean() for x in (self.values, self.random))
        length = float(np.linalg.norm(a) * np.linalg.norm(b))
        return float(a @ b) / length if length > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Why:
    """The maps for one class, number `target` of the model, and its `probability`.

    `best` are the most probable classes with their probabilities. `seen` is the part of the picture
    that the maps cover, (x1, y1, x2, y2) in pixels.
    """

    label: str
    target: int
    probability: float
    best: tuple[tuple[str, float], ...]
    maps: tuple[Map, ...]
    seen: tuple[float, float, float, float]
    info: RunInfo

    @property
    def about(self) -> str:
        """What the maps of this kind of model show, in a few sentences."""
        return relevance.about(tuple(one.method for one in self.maps))


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """The probability of the class as cells are hidden and shown in the order of each map.

    `shares` (S,) of the cells, 0 to 1. `deletion` and `insertion` (M, S), a row for each of
    `names`; the last is a random order.
    """

    names: tuple[str, ...]
    shares: NDArray[np.float64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]

    def areas(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(M,) areas under the curves of deletion (small is good) and insertion (large is)."""
        wide = np.diff(self.shares)
        deletion, insertion = (
            ((rows[:, 1:] + rows[:, :-1]) / 2 * wide).sum(1)
            for rows in (self.deletion, self.insertion)
        )
        return deletion, insertion


def explain(
    image: images.ImageLike,
    checkpoint: str = "auto",
    label: str = "",
    progress: Progress | None = None,
) -> Why:
    """Which parts of a picture count for a class, with one forward and one backward pass.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        label: the class by its name; "" for the most probable one.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: the model does not know the class, or has no map of the picture.
        CheckpointError, OutOfMemory.
    """
    known = classify.logits(image, checkpoint, progress)
    scores = softmax(known.values)
    order = np.argsort(-scores, kind="stable")
    target = known.find(label) if str(label or "").strip() else int(order[0])

    def both(model: Any, *x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        twin = relevance.randomised(model)
        return relevance.maps(model, target, *x), relevance.maps(twin, target, *x)

    found = classify.inside(image, checkpoint, f"why {target}", both, relevance.methods, progress)
    real, random = (x[0].float().numpy() for x in found.tensors)
    if not np.all(np.isfinite(real)):
        raise InputError("The model gives no numbers for this picture; choose another one.")
    return Why(
        known.labels[target],
        target,
        float(scores[target]),
        tuple((known.labels[i], float(scores[i])) for i in order[:5]),
        tuple(map(Map, found.facts, real, np.nan_to_num(random))),
        found.seen,
        found.info,
    )


def measure_steps(
    image: images.ImageLike,
    why: Why,
    progress: Progress | None = None,
) -> Generator[float, None, Curves]:
    """The deletion and insertion curves of the maps of `explain`, of the same picture.

    Hidden cells have the mean colour of the picture; cells that are not shown yet come from a
    blurred copy. Takes `2 * (STEPS - 1)` forward passes for each order, and three.

    Yields:
        The share of the work that is done, 0..1.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    shape = why.maps[0].values.shape
    cells = shape[0] * shape[1]
    orders = [one.order() for one in why.maps]
    orders.append(np.random.default_rng(0).permutation(cells))
    counts = [round(step / STEPS * cells) for step in range(STEPS + 1)]
    wanted = [Occlusion(hidden(orders[0], shape, 0))]  # the whole picture, then nothing of it
    wanted += [Occlusion(hidden(orders[0], shape, cells), blurred) for blurred in (False, True)]
    for order in orders:
        for count in counts[1:-1]:
            wanted.append(Occlusion(hidden(order, shape, count)))
            wanted.append(Occlusion(~hidden(order, shape, count), blurred=True))
    scores = yield from occlusion.probabilities(
        images.picture(image), why.info.checkpoint, why.target, wanted, progress
    )
    whole, grey, blurred = scores[:3]
    between = scores[3:].reshape(len(orders), STEPS - 1, 2)
    ends = np.ones((len(orders), 1))
    return Curves(
        (*(one.method for one in why.maps), CHANCE),
        np.array(counts) / cells,
        np.hstack([ends * whole, between[:, :, 0], ends * grey]),
        np.hstack([ends * blurred, between[:, :, 1], ends * whole]),
    )


def measure(image: images.ImageLike, why: Why) -> Curves:
    """Run `measure_steps` to its end."""
    return runtime.finish(measure_steps(image, why))


def hidden(order: NDArray[np.int64], shape: tuple[int, ...], count: int) -> NDArray[np.bool_]:
    """(rows, columns) bool: the first `count` cells of an order."""
    found = np.zeros(shape, bool)
    found.ravel()[order[:count]] = True
    return found
