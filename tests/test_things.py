"""Things among the masks of everything mode, measured on coins that no network counted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data, filters, segmentation

from core import segment
from core.imaging import things
from core.serving import runtime
from core.types import Mask

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "coins.jpg"


def coins() -> list[np.ndarray]:
    """The 24 coins of scikit-image's picture, by its own watershed between dark and light."""
    grey = data.coins()
    seeds = np.zeros(grey.shape, int)
    seeds[grey < 30], seeds[grey > 150] = 1, 2
    inside = segmentation.watershed(filters.sobel(grey), seeds) == 2
    labels, count = ndimage.label(ndimage.binary_fill_holes(inside))
    found = [labels == i for i in range(1, count + 1)]
    return [one for one in found if one.sum() > 200]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.count_nonzero(a & b) / np.count_nonzero(a | b))


@pytest.fixture(scope="module")
def found() -> list[np.ndarray]:
    picture = np.asarray(Image.open(EXAMPLE).convert("RGB"))
    stream = segment.everything_stream(picture, "segment-starter", only_things=None)
    return [one.mask for one in runtime.finish(stream)[0]]


@pytest.mark.slow
def test_on_the_coins_the_starter_gives_coins_first(found: list[np.ndarray]) -> None:
    """All masks, by area, have no coin among the first 24, and cover 97 % of the picture."""
    known = coins()
    assert len(known) == 24
    which = [int(np.argmax([iou(mask, coin) for coin in known])) for mask in found]
    good = [iou(mask, known[k]) >= 0.7 for mask, k in zip(found, which, strict=True)]
    assert all(good[:12]) and len(set(which[:12])) == 12, "twelve coins first, each once"
    assert sum(good) >= 0.7 * len(found), "little else"
    covered = np.any(found, axis=0)
    assert covered.mean() < 0.4
    on_coins = np.any(known, axis=0)
    assert np.count_nonzero(covered & on_coins) > 0.8 * np.count_nonzero(covered)


@pytest.mark.slow
def test_things_are_in_one_piece(found: list[np.ndarray]) -> None:
    assert {ndimage.label(mask)[1] for mask in found} == {1}


def disc(y: int, x: int, radius: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return np.hypot(rows - y, columns - x) < radius


def as_mask(array: np.ndarray, score: float = 0.8) -> Mask:
    flat = array.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    counts = tuple([0, *runs] if flat[0] else runs)
    return Mask(counts, array.shape, (0.0, 0.0, 1.0, 1.0), score, 0.9)  # type: ignore[arg-type]


@pytest.fixture
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A grey picture with two light discs, and the discs."""
    one, two = disc(40, 45, 22), disc(80, 115, 25)
    picture = np.full((120, 160, 3), 90, np.uint8)
    picture[one | two] = 210
    return picture, one, two


def test_ground_lumps_and_doubles_go(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    picture, one, two = scene
    speck = disc(5, 150, 3)
    masks = [
        as_mask(~(one | two), 0.99),  # the ground
        as_mask(one | two, 0.95),  # both at once, which is one of them and the other as an island
        as_mask(disc(60, 80, 10), 0.99),  # a piece of the ground
        as_mask(one | speck, 0.8),
        as_mask(disc(40, 45, 21), 0.7),  # a double
        as_mask(two, 0.9),
    ]
    kept = things.Selection(picture).of(masks)
    assert len(kept) == 2
    assert max(iou(mask.mask, one) for mask in kept) == 1, "without the speck"
    assert max(iou(mask.mask, two) for mask in kept) == 1
    for mask in kept:
        rows, columns = np.flatnonzero(mask.mask.any(1)), np.flatnonzero(mask.mask.any(0))
        if mask.box != (0.0, 0.0, 1.0, 1.0):  # it was changed
            assert mask.box == (columns[0], rows[0], columns[-1], rows[-1])


def test_a_small_part_stays_beside_the_whole() -> None:
    whole, part = disc(60, 80, 45), disc(60, 80, 12)
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[whole], picture[part] = 140, 230
    kept = things.Selection(picture).of([as_mask(whole), as_mask(part)])
    assert len(kept) == 2


def test_a_plain_picture_and_an_empty_mask_have_no_things() -> None:
    picture = np.full((120, 160, 3), 90, np.uint8)
    empty = as_mask(np.zeros((120, 160), bool))
    assert things.Selection(picture).of([empty, as_mask(disc(60, 80, 30))]) == []
    assert things.Selection(picture).of([]) == []


def test_a_large_picture_keeps_its_pixels() -> None:
    thing = disc(500, 700, 200, (1000, 1400))
    picture = np.full((1000, 1400, 3), 90, np.uint8)
    picture[thing] = 210
    torn = thing | disc(20, 20, 5, (1000, 1400))
    (kept,) = things.Selection(picture).of([as_mask(torn)])
    np.testing.assert_array_equal(kept.mask, thing)
