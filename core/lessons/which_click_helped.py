"""Which click helped: what each prompt of SAM changed about the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core import images, segment
from core.imaging.prompts import Points
from core.sam.insight import ClickGain


@dataclass(frozen=True, slots=True)
class ClickGains:
    """One row for each prompt in its order, the box first; see `ClickGain`."""

    rows: tuple[ClickGain, ...]

    @property
    def most_helpful(self) -> ClickGain | None:
        """The row that gained the most true IoU; None without a reference, or where none gained."""
        gained = [row for row in self.rows if row.gain is not None and row.gain > 0]
        return max(gained, key=lambda row: row.gain or 0.0, default=None)


def measure(
    image: images.ImageLike,
    points: Points = (),
    box: Sequence[float] | None = None,
    checkpoint: str = "auto",
    *,
    refine: int | None = None,
    reference: NDArray[np.bool_] | None = None,
    max_side: int | None = 1024,
) -> ClickGains:
    """Masks of the first prompt, the first two and so on, each compared with the one before.

    The encoder's embedding and every mask are kept, so another click decodes once.

    Args:
        points: [x, y, label] each, pixels of the upright picture; label 1 include, 0 exclude.
        box: [x1, y1, x2, y2] in pixels, or None.
        refine: as in `segment.predict`; it also names the mask that is followed.
        reference: (H, W) bool, the mask that was wanted, for the true IoU.
        max_side: IoU is taken on masks of this longest side; None for the picture's own size.

    Raises:
        InputError: as `segment.predict`; the reference is of another size than the picture.
    """
    rows = segment.click_gains(
        image, points, box, checkpoint, refine=refine, reference=reference, max_side=max_side
    )
    return ClickGains(tuple(rows))
