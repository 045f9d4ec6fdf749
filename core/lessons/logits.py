"""From logits to probabilities and to the loss, and why the loss wants the logits themselves.

The last layer gives each of K classes a number without limits, its logit z. The softmax makes
probabilities of them, and training lowers the cross-entropy, -log of the true class's probability.
Source: Goodfellow, Bengio, Courville, "Deep Learning", 2016, sections 4.1 and 6.2.2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from core import checks, classify, images
from core.sources.resolver import Progress
from core.types import RunInfo

#: Above these, exp() has no finite value in the type.
LARGEST = {"float16": float(np.log(65504)), "float32": float(np.log(np.finfo(np.float32).max))}


@dataclass(frozen=True, slots=True, eq=False)
class Logits:
    """The logits of one picture: `values` (K,) float64, and the names of the K classes."""

    labels: tuple[str, ...]
    values: NDArray[np.float64]
    info: RunInfo

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.labels),):
            raise ValueError(f"{self.values.shape} values for {len(self.labels)} classes")

    def softmax(self, temperature: float = 1.0) -> NDArray[np.float64]:
        """(K,): exp(z_i / T) over their sum; adds up to 1."""
        temperature = checks.number(temperature, "The temperature", 0.05, 100)
        return softmax(self.values / temperature)

    def sigmoid(self) -> NDArray[np.float64]:
        """(K,): 1 / (1 + exp(-z_i)), each class for itself."""
        return np.exp(-np.logaddexp(0, -self.values))  # never overflows

    def cross_entropy(self, label: str, temperature: float = 1.0) -> float:
        """-log of the probability of the true class, in nats: log Σ exp(z_j / T) - z_true / T."""
        temperature = checks.number(temperature, "The temperature", 0.05, 100)
        return cross_entropy(self.values / temperature, self.index(label))

    def softmax_twice(self, label: str) -> float:
        """The loss if probabilities are passed to a loss that expects logits.

        Probabilities lie in 0..1, so with K classes it cannot fall below log(e + K - 1) - 1.
        """
        return cross_entropy(self.softmax(), self.index(label))

    def gradient(self, label: str, twice: bool = False) -> NDArray[np.float64]:
        """(K,): the slope of the loss for each logit: softmax minus 1 at the true class.

        Args:
            twice: of the loss of `softmax_twice`.
        """
        p, target = self.softmax(), np.zeros(len(self.labels))
        target[self.index(label)] = 1
        if not twice:
            return p - target
        slope = softmax(p) - target  # for each probability
        return p * (slope - (p * slope).sum())

    def index(self, label: str) -> int:
        """The number of a class.

        Raises:
            InputError: the model does not know it.
        """
        return classify.number_of(self.labels, label)


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Logits:
    """The logits of a classifier for one picture; the forward pass is the tab's own.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        progress: called during a download with (fraction, message).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    found = classify.logits(image, checkpoint, progress)
    return Logits(found.labels, found.values, found.info)


def cross_entropy(logits: NDArray[np.float64], target: int) -> float:
    """log Σ exp(z_j) - z_target of (K,) logits; the largest is taken out, so nothing overflows."""
    most = logits.max()
    return float(most + np.log(np.exp(logits - most).sum()) - logits[target])


def naive_cross_entropy(logits: NDArray[np.float64], target: int, dtype: str = "float32") -> float:
    """-log(exp(z_target) / Σ exp(z_j)) as it is written, in float16 or float32: it overflows."""
    with np.errstate(all="ignore"):
        powers = np.exp(logits.astype(dtype))
        return float(-np.log(powers[target] / powers.sum(dtype=dtype)))
