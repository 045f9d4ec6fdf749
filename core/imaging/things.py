"""Select the masks of everything mode that are things rather than ground, best first.

An unsure network also returns pieces of the ground, lumps of several things, and duplicates. A
thing is in one piece, fills most of its convex hull, and its rim follows an edge of the picture.
Masks are ranked by one figure made of solidity, edge strength along the rim and the model's own
score; where masks overlap the best one stays.

Sources: edges on the rim as in Alexe et al., "What is an object?", 2010; duplicates by mask instead
of box overlap as in Wang et al., "SOLO", 2020. The constants were chosen on the starter's masks of
`examples/coins.jpg`, where `tests/test_things.py` measures them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.imaging import bands, regions
from core.imaging.sizes import fitted
from core.types import Mask

BoolMask = NDArray[np.bool_]
Slope = NDArray[np.float64]
SIDE = 384  # masks are judged at this longest side
HOLE = 0.1  # holes below this share of a mask are noise
SURE_EDGE = 2.0  # a rim this many times steeper than average counts fully
LEAST = 0.52  # lowest figure of a thing
SAME = 0.4  # masks with a higher IoU show the same thing
LUMP = 0.5  # a mask covered to this share by better ones is a lump
PART = 0.3  # a part: at most this share of the mask around it
GROUND = 0.4  # a mask this large with two better ones inside is ground
# Thresholds for a starter's masks before they are judged; its usual thresholds are meant for final
# masks and would drop coins that judging finds.
CANDIDATES = {"pred_iou_thresh": 0.2, "stability_score_thresh": 0.3}


class Selection:
    """The things among the masks of one picture; judgements are kept.

    Args:
        rgb: (H, W, 3) uint8.
    """

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self._slope = steepness(rgb)
        self._judged: dict[int, tuple[Mask, Mask, BoolMask, float]] = {}  # by id of the first

    def of(self, masks: Sequence[Mask]) -> list[Mask]:
        """The masks that are things, each in one piece, best first."""
        judged = [self._judge(mask) for mask in masks]
        kept = chosen([small for *_, small, _ in judged], [worth for *_, worth in judged])
        return [judged[i][1] for i in kept]

    def _judge(self, mask: Mask) -> tuple[Mask, Mask, BoolMask, float]:
        if id(mask) not in self._judged:
            whole = mask.mask
            piece = in_one_piece(whole)
            made = mask if piece is whole else _with(mask, piece)
            small = _shrunk(piece, self._slope.shape)
            worth = worth_of(small, self._slope, mask.score)
            self._judged[id(mask)] = (mask, made, small, worth)
        return self._judged[id(mask)]


def in_one_piece(mask: BoolMask) -> BoolMask:
    """Drop all islands but the largest, and fill small holes.

    Returns:
        (H, W) bool; `mask` itself if nothing changes.
    """
    from scipy import ndimage

    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(down):
        return mask
    box = np.s_[down[0] : down[-1] + 1, across[0] : across[-1] + 1]
    part = mask[box]
    rows = [np.s_[top : top + 64] for top in range(0, len(part), 64)]

    # Of 48 megapixels each array counts: labels in two bytes, and no step on more than some rows.
    def labelled(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        try:
            labels, count = ndimage.label(part, output=np.uint16)
        except RuntimeError:  # more labels than that
            labels, count = ndimage.label(part)
        sizes = np.zeros(count + 1, np.int64)
        for band in rows:
            sizes += np.bincount(labels[band].ravel(), minlength=count + 1)
        return labels, sizes

    labels, sizes = labelled(part)
    part = labels == 1 + int(np.argmax(sizes[1:]))
    del labels
    holes = ndimage.binary_fill_holes(part)
    np.greater(holes, part, out=holes)
    labels, sizes = labelled(holes)
    small = sizes < HOLE * np.count_nonzero(part)
    small[0] = False  # what is no hole
    for band in rows:
        part[band] |= small[labels[band]]
    del labels
    if np.array_equal(part, mask[box]):
        return mask
    made = np.zeros_like(mask)
    made[box] = part
    return made


def steepness(rgb: NDArray[np.uint8]) -> Slope:
    """Gradient of a picture at each place, 1 on average: (h, w), longest side `SIDE`."""
    from scipy import ndimage

    height, width = fitted(rgb.shape[:2], SIDE)
    box = Image.Resampling.BOX
    small = np.asarray(bands.resized(rgb, (width, height), box), dtype=np.float64)
    smooth = ndimage.gaussian_filter(small, (1.5, 1.5, 0))
    slope = np.hypot(ndimage.sobel(smooth, 0), ndimage.sobel(smooth, 1)).max(axis=2)
    return slope / max(float(slope.mean()), 1e-9)


def worth_of(mask: BoolMask, slope: Slope, score: float) -> float:
    """How much a mask looks like a thing, 0..1.

    Args:
        mask: (h, w) bool, of the size of `slope`.
        slope: from `steepness`.
        score: the model's own estimate of the mask's IoU.
    """
    from scipy import ndimage

    if not mask.any():
        return 0.0
    rim = mask & ~ndimage.binary_erosion(mask, border_value=1)  # the mask's rim
    frame = np.ones_like(mask)
    frame[1:-1, 1:-1] = False  # ignore rims at the picture's border
    framed = mask & frame
    cut = np.count_nonzero(framed) / max(1, int(np.count_nonzero(rim | framed)))
    steep = float(slope[rim].mean()) if rim.any() else 0.0
    edge = min(1.0, steep / SURE_EDGE) * (1 - cut)
    solidity = min(1.0, np.count_nonzero(mask) / _hull_area(mask))
    return float(solidity**2 * edge * min(1.0, max(0.0, score)) ** 0.5)


def _hull_area(mask: BoolMask) -> float:
    from scipy.spatial import ConvexHull

    rows = np.flatnonzero(mask.any(axis=1))
    first = mask[rows].argmax(axis=1)
    last = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [np.stack([rows + down, side], 1) for down in (0, 1) for side in (first, last)]
    return float(ConvexHull(np.concatenate(corners)).volume)


def chosen(masks: Sequence[BoolMask], worths: Sequence[float]) -> list[int]:
    """Which of (h, w) bool masks of one size are things, best first."""
    taken: list[int] = []
    for i in sorted(range(len(masks)), key=lambda i: -worths[i]):
        if worths[i] < LEAST:
            break
        if not _made_of(masks[i], [masks[k] for k in taken]):
            taken.append(i)
    return taken


def _made_of(mask: BoolMask, better: Sequence[BoolMask]) -> bool:
    """Whether a mask duplicates a better one, is a lump of several, or their ground."""
    area = np.count_nonzero(mask)
    shared = [np.count_nonzero(mask & one) for one in better]
    areas = [np.count_nonzero(one) for one in better]
    pairs = list(zip(shared, areas, strict=True))
    if any(both > SAME * (area + other - both) for both, other in pairs):
        return True
    if area > GROUND * mask.size and sum(both > 0.5 * other for both, other in pairs) > 1:
        return True
    if not better or np.count_nonzero(mask & np.any(better, axis=0)) <= LUMP * area:
        return False
    holders = [other for both, other in pairs if both > 0.8 * area]
    return not holders or any(area > PART * other for other in holders)


def _with(mask: Mask, piece: BoolMask) -> Mask:
    """`mask` with the pixels of `piece`."""
    counts = regions.runs(piece)
    return replace(mask, counts=counts, box=regions.box(counts, mask.size))


def _shrunk(mask: BoolMask, size: tuple[int, ...]) -> BoolMask:
    if mask.shape == size:
        return mask
    small = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST)
    return np.asarray(small, dtype=bool)
