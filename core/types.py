"""The values that travel between layers: frozen, checked on construction, arrays on the CPU.

Coordinates are pixels of the upright original picture: x to the right, y down, (0, 0) the top left
corner. Pictures are (H, W, 3) uint8 RGB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

RGB = NDArray[np.uint8]  # (H, W, 3)

Array = NDArray[np.generic]
Seconds = Mapping[str, float]


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _is_rgb(array: Array) -> bool:
    return array.ndim == 3 and array.shape[2] == 3 and array.dtype == np.uint8


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a result came about; shown under every output.

    `seconds` holds wall seconds by stage (`load`, `prepare`, `encode`, `forward`, `decode`, …).
    `cache` maps each cached item (`model`, `output`) to "hit" or "miss".
    `note` is a sentence if something other than the requested checkpoint answered.
    """

    checkpoint: str
    tier: str
    device: str
    precision: str = "fp32"
    seconds: Seconds = field(default_factory=dict)
    cache: Mapping[str, str] = field(default_factory=dict)
    trained_on: str = ""
    metric: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, object]:
        """The same as plain JSON values."""
        return {
            "checkpoint": self.checkpoint,
            "tier": self.tier,
            "device": self.device,
            "precision": self.precision,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "cache": dict(self.cache),
            "trained_on": self.trained_on,
            "metric": self.metric,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Classification:
    """The K best classes, best first. `scores` (K,) float32 in 0..1.

    `doubt` is a sentence if the picture probably shows none of the classes that the model knows.
    """

    labels: tuple[str, ...]
    scores: NDArray[np.float32]
    info: RunInfo
    doubt: str = ""

    def __post_init__(self) -> None:
        _check(self.scores.shape == (len(self.labels),), f"scores {self.scores.shape} for labels")
        _check(bool(np.all(np.diff(self.scores) <= 0)), "scores must descend")

    def about(self) -> dict[str, object]:
        """`info` as plain JSON values, and the `doubt` if there is one."""
        return self.info.to_dict() | ({"doubt": self.doubt} if self.doubt else {})


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """N boxes, best first. `boxes` (N, 4) float32 xyxy pixels, `scores` (N,) float32."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: tuple[str, ...]
    image_size: tuple[int, int]  # (W, H)
    info: RunInfo

    def __post_init__(self) -> None:
        n = len(self.labels)
        _check(self.boxes.shape == (n, 4), f"boxes {self.boxes.shape}, expected ({n}, 4)")
        _check(self.scores.shape == (n,), f"scores {self.scores.shape}, expected ({n},)")

    def only(self, numbers: Sequence[int]) -> Detections:
        """Some of the boxes, by their numbers from 0."""
        kept = list(numbers)
        labels = tuple(self.labels[number] for number in kept)
        return replace(self, boxes=self.boxes[kept], scores=self.scores[kept], labels=labels)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON, in the documented format of `/detect`; boxes in hundredths of a pixel."""
        rows = [
            {"label": name, "score": float(score), "box": [round(float(v), 2) for v in box]}
            for name, score, box in zip(self.labels, self.scores, self.boxes, strict=True)
        ]
        return {"image_size": list(self.image_size), "detections": rows}


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """K masks. `masks` (K, H, W) bool; `scores` (K,) float32 predicted IoU.

    `low_res` (K, h, w) float32 mask logits, to refine with the next prompt; None if not kept.
    `stability` (K,) float32 0..1 is the IoU of the mask at a raised and a lowered logit threshold;
    None if not computed. `names` (K,) are "largest", "middle" and "smallest" by area if one point
    gave three masks; empty otherwise.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    info: RunInfo
    low_res: NDArray[np.float32] | None = None
    stability: NDArray[np.float32] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.masks.ndim == 3 and self.masks.dtype == bool, f"masks {self.masks.shape}")
        _check(self.scores.shape == (len(self.masks),), f"scores {self.scores.shape}")
        if self.stability is not None:
            _check(self.stability.shape == self.scores.shape, f"stability {self.stability.shape}")
        _check(len(self.names) in (0, len(self.masks)), f"{len(self.names)} names")

    @property
    def best(self) -> NDArray[np.bool_]:
        """(H, W) bool: the mask with the highest predicted IoU."""
        found: NDArray[np.bool_] = self.masks[int(self.scores.argmax())]
        return found


@dataclass(frozen=True, slots=True, eq=False)
class ClassMap:
    """The class of every pixel. `labels` (H, W) uint8 are indices of `classes`."""

    labels: NDArray[np.uint8]
    classes: tuple[str, ...]
    info: RunInfo

    def __post_init__(self) -> None:
        _check(
            self.labels.ndim == 2 and self.labels.dtype == np.uint8, f"labels {self.labels.shape}"
        )
        _check(int(self.labels.max(initial=0)) < len(self.classes), "a label without a class")

    @property
    def shares(self) -> dict[str, float]:
        """The share of the picture, 0..1, of each class that is in it, largest first."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.classes))
        order = np.argsort(-counts, kind="stable")
        return {self.classes[i]: float(counts[i] / counts.sum()) for i in order if counts[i]}


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """One mask of everything mode: `box` xyxy pixels; `score` (predicted IoU), `stability` 0..1.

    `counts` (R,) int32 are run lengths down the columns, alternating outside and inside: a picture
    has hundreds of masks, which would not fit in memory as arrays. `size` is (H, W).
    """

    counts: NDArray[np.int32]
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    score: float
    stability: float

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, a new array each time."""
        inside = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(inside, self.counts).reshape(self.size[::-1]).T

    @property
    def area(self) -> int:
        """Pixels inside."""
        return int(self.counts[1::2].sum())


@dataclass(frozen=True, slots=True, eq=False)
class GridStep:
    """Everything mode in progress: `done` 0..1, and the `masks` kept so far.

    A later step may replace a mask by a better one of the same thing.
    """

    done: float
    masks: tuple[Mask, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PointPrompts:
    """P points. `points` (P, 2) float32 xy pixels; `labels` (P,) 1 = include, 0 = exclude."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        _check(self.points.ndim == 2 and self.points.shape[1] == 2, f"points {self.points.shape}")
        _check(self.labels.shape == (len(self.points),), f"labels {self.labels.shape}")
        if not np.all(np.isfinite(self.points)):
            raise InputError("A point has an invalid coordinate; click it again.")
        if not np.all(np.isin(self.labels, (0, 1))):
            raise InputError("A point's label must be 1 (include) or 0 (exclude).")


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """Softmax attention. `weights` (L, heads, N, N), rows sum to 1; `grid` (rows, columns)."""

    weights: NDArray[np.float32]
    grid: tuple[int, int]
    prefix_tokens: int

    def __post_init__(self) -> None:
        n = self.grid[0] * self.grid[1] + self.prefix_tokens
        _check(self.weights.shape[2:] == (n, n), f"weights {self.weights.shape}, N = {n}")


@dataclass(frozen=True, slots=True, eq=False)
class Reconstruction:
    """MAE's three views, each (H, W, 3) uint8, and `patch_mask` (rows, columns), True = hidden.

    `masked` shows hidden patches in grey, `image` every predicted patch, `pasted` the prediction in
    hidden patches and the original elsewhere. `hidden_mse` is over hidden pixels, in 0..1 units.
    """

    masked: NDArray[np.uint8]
    image: NDArray[np.uint8]
    pasted: NDArray[np.uint8]
    patch_mask: NDArray[np.bool_]
    hidden_mse: float
    info: RunInfo

    def __post_init__(self) -> None:
        for picture in (self.masked, self.image, self.pasted):
            _check(_is_rgb(picture), f"picture {picture.shape} {picture.dtype}")
        _check(self.patch_mask.ndim == 2, f"patch_mask {self.patch_mask.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Restoration:
    """`image` (H * scale, W * scale, 3) uint8. `sigma` in grey levels 0..255 if it was used.

    `guarded` is the share of the area, 0..1, where the network's output departed from the picture
    and was replaced: by bicubic interpolation if it enlarges, else by the input.
    """

    image: NDArray[np.uint8]
    scale: int
    info: RunInfo
    sigma: float | None = None
    guarded: float = 0.0

    def __post_init__(self) -> None:
        _check(_is_rgb(self.image), f"image {self.image.shape} {self.image.dtype}")
        _check(0 <= self.guarded <= 1, f"guarded {self.guarded}")
