"""Compare classifiers on one picture: answers, agreement, cost, and what each looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, classify, images
from core.checkpoints import CATALOGUE, Checkpoint
from core.nets import cam, cost, whole
from core.sources import resolver, several
from core.sources.resolver import Progress
from core.types import RunInfo

# ViT and CNN of about the same accuracy, the best pair first: 79.9 and 80.4 % top-1 on ImageNet-1k,
# then the starter and the CNN that it was made from.
PAIRS = (("deit-small", "resnet50"), ("classify-starter", "efficientnet-lite0"))


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What one checkpoint says of the picture.

    `labels` and `scores` (k,) are the most probable classes. `params`, and `macs`, multiply-adds of
    one pass; `seconds` of that pass when it ran. `heat` is (h, w) float32 in 0..1, the Grad-CAM of
    the best class over `seen`, (x1, y1, x2, y2) in pixels of the picture; all 0 if there is none.
    """

    title: str
    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    params: int
    macs: int
    seconds: float
    heat: NDArray[np.float32]
    seen: tuple[float, float, float, float]
    info: RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The answers, and (n, n) float32 `agreement`: of two answers the probability that they share,
    the sum over the classes of the smaller of both probabilities; 1 on the diagonal."""

    answers: tuple[Answer, ...]
    agreement: NDArray[np.float32]

    @property
    def same_best(self) -> bool:
        """Whether all have the same best class."""
        return len({one.labels[0] for one in self.answers}) == 1


def default_pair() -> tuple[str, str]:
    """A Vision Transformer and a CNN of about the same accuracy that need no download."""
    for pair in PAIRS:
        if all(resolver.is_ready(one) for one in _known(pair)):
            return pair
    return PAIRS[-1]


def other(key: str) -> str:
    """A checkpoint of the other kind, CNN or Vision Transformer, that needs no download."""
    first, second = default_pair()
    if key in (first, second):
        return second if key == first else first
    arch = resolver.find(key, "classify").arch
    return second if arch.startswith(("vit", "deit")) else first


def _known(keys: Sequence[str]) -> list[Checkpoint]:
    return [one for one in CATALOGUE if one.key in keys]


def look(
    image: images.ImageLike,
    checkpoints: Sequence[str] = (),
    top_k: int = 5,
    progress: Progress | None = None,
) -> Comparison:
    """The answers of two to four checkpoints to one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoints: keys of `core.checkpoints`; none for `default_pair`.
        top_k: how many classes of each, 1 or more.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: not two to four checkpoints, or one twice.
        CheckpointError, OutOfMemory.
    """
    top_k = checks.whole(top_k, "The number of classes (top_k)", low=1)
    keys = several.chosen(checkpoints, "classify", default_pair(), "checkpoints")
    picture = images.picture(image)
    found = [_answer(picture, key, progress) for key in keys]
    tables = [dict(zip(one.labels, one.scores.tolist(), strict=True)) for one in found]
    shared = [[_shared(a, b) for b in tables] for a in tables]
    answers = tuple(_first(one, top_k) for one in found)
    return Comparison(answers, np.array(shared, dtype=np.float32))


def _shared(a: dict[str, float], b: dict[str, float]) -> float:
    return sum(min(score, b.get(label, 0.0)) for label, score in a.items())


def _first(one: Answer, top_k: int) -> Answer:
    return Answer(
        one.title, one.labels[:top_k], one.scores[:top_k], one.params, one.macs, one.seconds,
        one.heat, one.seen, one.info,
    )  # fmt: skip


def _answer(picture: images.Picture, key: str, progress: Progress | None) -> Answer:
    """The answer with all classes, the most probable first."""
    found = classify.through(picture, key, "compare", cam.best_class, _facts, progress)
    logits, heat, seconds = (x[0].numpy() for x in found.tensors)
    if not np.all(np.isfinite(logits)):
        raise checks.not_numbers()
    spent: cost.Cost = found.facts
    scores = softmax(logits.astype(np.float64))
    order = np.argsort(-scores, kind="stable")
    names = classify.classes(found.info.checkpoint)
    checkpoint = resolver.find(found.info.checkpoint, "classify")
    return Answer(
        checkpoint.title or checkpoint.key,
        tuple(names[i] for i in order),
        scores[order].astype(np.float32),
        spent.params,
        spent.macs,
        float(seconds[0]),
        heat,
        found.seen,
        found.info,
    )


def _facts(network: whole.Network) -> cost.Cost:
    grey = np.full((64, 64, 3), 128, np.uint8)
    return cost.count(network.module, [x.shape for x in network.inputs(grey)])
