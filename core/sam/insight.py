"""What a learner looks at: an embedding as colours, which click helped, the parts of a decoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.imaging import metrics

BoolMask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Part:
    """One tensor on the way from prompt to mask: `key` names its place in the diagram.

    `parameters` counts the weights of the module that made it.
    """

    key: str
    title: str
    shape: tuple[int, ...]
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class ClickGain:
    """What one prompt changed. `click` counts from 1; 0 is the box.

    `unchanged` is the IoU with the mask before (None for the first), `predicted` the model's own
    IoU, `true` the IoU with the reference and `gain` its change (None without a reference; the
    first prompt gains over no mask at all).
    """

    click: int
    predicted: float
    unchanged: float | None
    true: float | None = None
    gain: float | None = None


def click_gains(
    answers: Sequence[tuple[BoolMask, float]], reference: BoolMask | None, first: int = 1
) -> list[ClickGain]:
    """One ClickGain for each (mask (h, w), predicted IoU); `first` is the number of the first.

    The reference is brought to the size of the masks.
    """
    gains: list[ClickGain] = []
    wanted = None if reference is None else _resized(reference, answers[0][0].shape)
    for number, (mask, predicted) in enumerate(answers):
        unchanged = metrics.mask_iou(answers[number - 1][0], mask) if number else None
        true = None if wanted is None else metrics.mask_iou(mask, wanted)
        before = gains[-1].true if gains else 0.0
        gain = None if true is None or before is None else true - before
        gains.append(ClickGain(first + number, predicted, unchanged, true, gain))
    return gains


def pca_picture(features: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The three principal components of (C, h, w) features as (h, w, 3) uint8.

    Each runs from its 1st percentile (0) to its 99th (255); its sign is such that its largest
    weight is positive, so that equal features give equal colours.
    """
    channels, height, width = features.shape
    table = features.reshape(channels, -1).T.astype(np.float64)  # (h * w, C)
    table -= table.mean(axis=0)
    _, axes = np.linalg.eigh(table.T @ table)  # ascending
    axes = axes[:, ::-1][:, :3]
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=0)[None], axis=0)
    values = table @ (axes * np.sign(largest))  # (h * w, at most 3)
    low, high = np.percentile(values, [1, 99], axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled = np.clip((values - low) / span, 0, 1)
    picture = np.zeros((height * width, 3))
    picture[:, : scaled.shape[1]] = scaled
    return np.rint(picture * 255).astype(np.uint8).reshape(height, width, 3)


def _resized(mask: BoolMask, shape: tuple[int, ...]) -> BoolMask:
    if mask.shape == shape:
        return mask
    picture = Image.fromarray(mask.astype(np.uint8))
    return np.array(picture.resize((shape[1], shape[0]), Image.Resampling.NEAREST)) > 0
