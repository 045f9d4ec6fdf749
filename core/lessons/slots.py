"""What each query of a DETR is used for: its boxes over several pictures.

DETR's queries are learned once and are the same for every picture, so each slot has places and
sizes that it answers for. In RT-DETR and its successors the places with the best class become the
queries of a picture, so that slot q is only the q-th best of them.
Source: Carion et al., "End-to-End Object Detection with Transformers", 2020, figure 7.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from core import detect, images
from core.errors import InputError
from core.serving.runtime import finish
from core.sources.resolver import Progress
from core.types import RunInfo

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
STARTER = "detect-starter"
_CLEARLY = 0.8  # of the spread by chance: a smaller one is a habit
_DRAWS = 50  # random exchanges of the slots that `Slots.by_chance` averages over
Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """The boxes of Q queries on E pictures.

    `boxes` (E, Q, 4) are cxcywh in 0..1, `scores` (E, Q) the best probability of each, "no object"
    aside, and `labels` its class. `chosen` tells that the queries are chosen for each picture.
    """

    names: tuple[str, ...]
    boxes: Array
    scores: Array
    labels: tuple[tuple[str, ...], ...]
    chosen: bool
    info: RunInfo

    def __post_init__(self) -> None:
        shape = (len(self.names), self.boxes.shape[1])
        if self.boxes.shape != (*shape, 4) or self.scores.shape != shape:
            raise ValueError(f"{len(self.names)} names, boxes {self.boxes.shape}")

    def spread(self) -> Array:
        """(Q,): how far the centres of a slot lie from their mean, on average, in sides of the
        picture."""
        return spread(self.boxes[..., :2])

    def by_chance(self) -> float:
        """The mean spread if the slots were exchanged at random in every picture."""
        rng = np.random.default_rng(0)
        centres = self.boxes[..., :2]
        order = np.tile(np.arange(centres.shape[1]), (len(centres), 1))  # (E, Q)
        draws = (rng.permuted(order, axis=1)[..., None] for _ in range(_DRAWS))
        return float(np.mean([spread(np.take_along_axis(centres, one, 1)) for one in draws]))

    def has_habits(self) -> bool:
        """Whether the slots have places of their own: their boxes lie clearly closer together than
        by chance."""
        return bool(self.spread().mean() < _CLEARLY * self.by_chance())


def spread(centres: Array) -> Array:
    """(Q,): the mean distance of centres (E, Q, 2) from their mean over the E pictures."""
    gaps = centres - centres.mean(0)
    found: Array = np.hypot(gaps[..., 0], gaps[..., 1]).mean(0)
    return found


def look(
    checkpoint: str = "auto",
    pictures: Sequence[images.ImageLike] | None = None,
    progress: Progress | None = None,
) -> Slots:
    """The boxes of every query on several pictures.

    Args:
        checkpoint: a key of `core.checkpoints`; "auto" is the one that Detect would use if that is
            a DETR, and otherwise the starter.
        pictures: two or more; None: the photographs among the bundled examples.

    Raises:
        InputError: the checkpoint has no queries, or there are too few pictures.
        CheckpointError, OutOfMemory.
    """
    return finish(look_steps(checkpoint, pictures, progress))


def look_steps(
    checkpoint: str = "auto",
    pictures: Sequence[images.ImageLike] | None = None,
    progress: Progress | None = None,
) -> Generator[float, None, Slots]:
    """As `look`, yielding the share that is done after each picture; a picture that Detect has seen
    costs no other pass."""
    if pictures is None:
        pictures = sorted(EXAMPLES.glob("*.jpg"))
    if len(pictures) < 2:
        raise InputError("Give at least two pictures: one alone shows no habit.")
    found: list[detect.Inside] = []
    names = []
    for i, one in enumerate(pictures):
        picture = images.picture(one)
        answer = detect.inside(picture, checkpoint, progress)
        if answer.kind == "dense" and checkpoint == "auto":
            checkpoint = STARTER
            answer = detect.inside(picture, checkpoint, progress)
        if answer.kind == "dense":
            raise InputError(
                "This detector answers at every place of the picture and has no queries; choose a "
                "DETR, such as the starter DETR."
            )
        found.append(answer)
        name = one.name if isinstance(one, Path) else picture.name
        names.append(name or f"picture {i + 1}")
        yield (i + 1) / len(pictures)
    return _gathered(tuple(names), found)


def _gathered(names: tuple[str, ...], found: list[detect.Inside]) -> Slots:
    chosen = found[0].kind == "sigmoid"  # RT-DETR and its successors
    logits = np.stack([one.logits for one in found])  # (E, Q, C)
    shares = expit(logits) if chosen else softmax(logits, axis=-1)[..., :-1]
    known = found[0].labels
    best = shares.argmax(-1)
    labels = tuple(tuple(known.get(int(c), f"class {c}") for c in row) for row in best)
    boxes = np.stack([one.boxes for one in found])
    return Slots(names, boxes, shares.max(-1), labels, chosen, found[-1].info)
