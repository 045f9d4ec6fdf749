"""What SAM's image encoder sees: its embedding as colours, by principal components."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core import images, segment
from core.sam.insight import pca_picture
from core.types import RunInfo


@dataclass(frozen=True, slots=True, eq=False)
class EncoderFeatures:
    """An embedding of `channels` numbers for each place.

    `colours` is (rows, columns, 3) uint8, one pixel for each place on the picture; `explained` is
    the share of the variance that each of the three colours carries.
    """

    colours: NDArray[np.uint8]
    explained: tuple[float, ...]
    channels: int
    info: RunInfo


def look(image: images.ImageLike, checkpoint: str = "auto") -> EncoderFeatures:
    """The three principal components of the embedding as red, green and blue.

    The embedding is that of the clicks, so a picture that was read before costs no forward pass.

    Raises:
        CheckpointError, OutOfMemory.
    """
    features, info = segment.features(image, checkpoint)
    return EncoderFeatures(pca_picture(features), explained(features), features.shape[0], info)


def explained(features: NDArray[np.float32]) -> tuple[float, ...]:
    """Shares of the variance of (C, h, w) features in their three largest components."""
    table = features.reshape(features.shape[0], -1).astype(np.float64)
    table -= table.mean(axis=1, keepdims=True)
    variances = np.linalg.eigvalsh(table @ table.T)[::-1].clip(min=0)
    total = variances.sum()
    return tuple(float(v / total) if total > 0 else 0.0 for v in variances[:3])
