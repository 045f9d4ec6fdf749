"""Pictures of VOC 2007 with masks of its 20 classes, and which of them are held out.

`DIR/voc/SegmentationClass/<name>.png` holds class numbers, 0 for the background and 255 for
borders and what is too hard to tell.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

HELD_OUT = 79
IGNORED = 255


def names(folder: Path) -> list[str]:
    """Names of the pictures that have a mask of their size, in a random but fixed order."""
    masks = (folder / "SegmentationClass").glob("*.png")
    found = [path.stem for path in masks if _fits(path, picture(folder, path.stem))]
    return sorted(found, key=lambda name: hashlib.sha1(name.encode()).hexdigest())


def held_out_names(folder: Path) -> list[str]:
    """Those that are only measured on."""
    return names(folder)[:HELD_OUT]


def training_names(folder: Path) -> list[str]:
    """The others."""
    return names(folder)[HELD_OUT:]


def picture(folder: Path, name: str) -> Path:
    """The photograph's path."""
    return folder / "JPEGImages" / f"{name}.jpg"


def _fits(mask: Path, photograph: Path) -> bool:
    """Other data sets number their pictures alike, so a mask can be that of another picture."""
    if not photograph.exists():
        return False
    with Image.open(mask) as one, Image.open(photograph) as other:
        return one.size == other.size


def read(folder: Path, name: str) -> NDArray[np.uint8]:
    """(H, W) class numbers, 255 where they are not known."""
    return np.array(Image.open(folder / "SegmentationClass" / f"{name}.png"))


def without_borders(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same with each 255 replaced by the nearest known class."""
    unknown = classes == IGNORED
    if not unknown.any() or unknown.all():
        return classes
    _, (rows, columns) = ndimage.distance_transform_edt(unknown, return_indices=True)
    return classes[rows, columns]
