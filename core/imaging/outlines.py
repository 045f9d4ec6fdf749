"""Masks as outlines: rings along pixel edges, and SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

Ring = NDArray[np.float64]  # (N, 2) xy, (0, 0) the corner of the picture; closed without repeating
BoolMask = NDArray[np.bool_]
Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """One connected part of a mask: its `outer` ring and the rings of its `holes`."""

    outer: Ring
    holes: tuple[Ring, ...] = ()


def outlines(mask: BoolMask, tolerance: float = 0.0) -> list[Outline]:
    """The connected parts of a mask (pixels that share a side), traced by scikit-image.

    Args:
        mask: (H, W) bool.
        tolerance: 0 follows pixel edges, so that filling the rings reproduces the mask exactly;
        otherwise lines may deviate by this many pixels (Douglas-Peucker).

    Returns:
        One Outline for each part; [] for an empty mask.
    """
    from scipy import ndimage
    from skimage.measure import find_contours

    if not mask.any():
        return []
    framed = np.pad(mask, 1)
    parts = ndimage.label(framed)[0]
    outer: dict[int, Ring] = {}
    holes: dict[int, list[Ring]] = {}
    # Mid-points of pixel edges, (N, 2) in rows and columns of the padded mask, first = last.
    for contour in find_contours(framed.astype(np.uint8), 0.5):
        low, high = np.floor(contour[0]).astype(int), np.ceil(contour[0]).astype(int)
        part = max(parts[tuple(low)], parts[tuple(high)])  # an edge has a pixel on each side
        ring = _corners(contour) if tolerance <= 0 else _simplified(contour, tolerance)
        if _signed_area(_corners(contour)) > 0:
            outer[part] = ring
        else:
            holes.setdefault(part, []).append(ring)
    return [Outline(ring, tuple(holes.get(part, ()))) for part, ring in sorted(outer.items())]


def _corners(contour: NDArray[np.float64]) -> Ring:
    """The corners of the pixel edges whose mid-points a contour connects."""
    here, there = contour[:-1], contour[1:]
    across = here[:, 0] % 1 != 0  # this edge lies between two rows
    turns = across != (there[:, 0] % 1 != 0)
    rows = np.where(across, here[:, 0], there[:, 0])[turns]
    columns = np.where(across, there[:, 1], here[:, 1])[turns]
    return np.stack([columns, rows], axis=1) - 0.5  # padding -1, pixel corner +0.5


def _simplified(contour: NDArray[np.float64], tolerance: float) -> Ring:
    from skimage.measure import approximate_polygon

    ring = approximate_polygon(contour, tolerance)[:-1, ::-1] - 0.5
    return ring if len(ring) >= 3 else _corners(contour)


def _signed_area(ring: Ring) -> float:
    x, y = ring[:, 0], ring[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def keyholed(outline: Outline) -> Ring:
    """One ring (N, 2) that enters each hole along a zero-width line and returns.

    COCO polygons cannot have holes; the even-odd rule leaves them open in this ring.
    """
    ring = outline.outer
    for hole in outline.holes:
        distance = np.abs(ring[:, None] - hole[None]).sum(-1)  # (N, M)
        at, start = np.unravel_index(int(np.argmin(distance)), distance.shape)
        around = np.roll(hole, -int(start), axis=0)
        ring = np.concatenate([ring[: at + 1], around, around[:1], ring[at:]])
    return ring


def path(mask: BoolMask, tolerance: float = 0.0) -> str:
    """The `d` of an SVG path, to be filled with `fill-rule="evenodd"`; "" for an empty mask."""
    rings = [r for part in outlines(mask, tolerance) for r in (part.outer, *part.holes)]
    return " ".join("M" + " ".join(f"{x:g},{y:g}" for x, y in ring) + "Z" for ring in rings)


def svg(
    masks: Sequence[BoolMask],
    names: Sequence[str],
    colours: Sequence[Colour],
    size: tuple[int, int],
    tolerance: float = 0.0,
) -> str:
    """An SVG drawing of `size` (H, W) with one path for each mask, titled with its name."""
    height, width = size
    rows = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">'
    ]
    for number, (mask, name, colour) in enumerate(zip(masks, names, colours, strict=True), 1):
        fill = "#" + "".join(f"{value:02x}" for value in colour)
        rows.append(
            f'<path id="object-{number}" fill="{fill}" fill-rule="evenodd" '
            f'd="{path(mask, tolerance)}"><title>{escape(name)}</title></path>'
        )
    return "\n".join([*rows, "</svg>", ""])
