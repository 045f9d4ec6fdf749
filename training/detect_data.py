"""Pictures with boxes for the detect recipe: six classes of Caltech-101.

DATA.md describes the data folder. Only the airplanes' boxes come as a table. The others are
derived: a face from the position of the `Faces_easy` picture in that of `Faces`; motorbikes,
watches, umbrellas and laptops from pictures with a plain background, which can be separated from
the object.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.feature import match_template

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float64]

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CLASSES = ("face", "airplane", "motorbike", "watch", "umbrella", "laptop")
FOLDERS = {"motorbike": "Motorbikes", "watch": "watch", "umbrella": "umbrella", "laptop": "laptop"}
#: box of a face in its `Faces_easy` picture: left, top, right, bottom
FACE_PART = (0.2, 0.08, 0.8, 0.86)
FIRST_HELD_OUT_FACE = 366  # files are sorted by person, and a new one begins here
#: pictures of one of the classes, or of something similar, are not backgrounds
NOT_BACKGROUND = {
    *("Faces", "Faces_easy", "airplanes", "Motorbikes", "watch", "umbrella", "laptop"),
    *("helicopter", "buddha", "cougar_face", "snoopy", "garfield", "inline_skate"),
}
BACKGROUNDS_PER_CLASS = 12


@dataclass
class Thing:
    """A picture (H, W, 3) with one object: `box` xyxy pixels, `mask` (H, W) if known."""

    name: str
    label: int
    image: Picture
    box: Boxes
    mask: NDArray[np.bool_] | None = None


@dataclass
class Stock:
    """The parts of scenes. `distractors` are cut-outs of other classes."""

    things: list[list[Thing]] = field(default_factory=list)  # by class
    backgrounds: list[Picture] = field(default_factory=list)
    distractors: list[Thing] = field(default_factory=list)


def held_out(name: str) -> bool:
    """A fifth of the names, by hash."""
    return int(hashlib.sha1(name.encode()).hexdigest()[:8], 16) % 5 == 0


def _open(path: Path, longest: int = 320) -> tuple[Picture, float]:
    image = Image.open(path).convert("RGB")
    scale = min(1.0, longest / max(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)), scale


def plain_ground_mask(image: Picture) -> NDArray[np.bool_] | None:
    """The object in a picture with a background of one colour, (H, W); None for other pictures."""
    x = ndimage.gaussian_filter(image.astype(np.float32), (1, 1, 0))
    border = np.concatenate([x[2], x[-3], x[:, 2], x[:, -3]])
    colour = np.median(border, axis=0)
    if (np.abs(border - colour).max(axis=1) < 30).mean() < 0.92:
        return None
    regions, _ = ndimage.label(np.abs(x - colour).max(axis=2) < 30)
    edge = np.concatenate([regions[2], regions[-3], regions[:, 2], regions[:, -3]])
    mask = ndimage.binary_fill_holes(~np.isin(regions, np.setdiff1d(edge, [0])))
    mask[:2], mask[-2:], mask[:, :2], mask[:, -2:] = False, False, False, False
    parts, count = ndimage.label(ndimage.binary_opening(mask, iterations=2))
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    mask = parts == 1 + int(sizes.argmax())
    left, top, right, bottom = mask_box(mask)
    framed = mask.sum() > 0.93 * (right - left) * (bottom - top)  # a photograph with a margin
    if framed or not 0.06 < mask.mean() < 0.85 or sizes.max() < 0.9 * sizes.sum():
        return None
    return mask


def mask_box(mask: NDArray[np.bool_]) -> Boxes:
    """xyxy pixels; right and bottom are one past the last column and row."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def _faces(root: Path) -> Iterator[tuple[bool, Thing]]:
    for path in sorted((root / "Faces").glob("*.jpg")):
        easy = Image.open(root / "Faces_easy" / path.name).convert("L")
        whole = Image.open(path).convert("L")
        small = [np.asarray(i.resize((i.width // 6, i.height // 6)), float) for i in (whole, easy)]
        if any(a < b for a, b in zip(small[0].shape, small[1].shape, strict=True)):
            continue
        match = match_template(*small)
        if match.max() < 0.9:
            continue
        y, x = np.unravel_index(match.argmax(), match.shape)
        left, top, right, bottom = FACE_PART
        box = np.array([x * 6 + left * easy.width, y * 6 + top * easy.height,
                        x * 6 + right * easy.width, y * 6 + bottom * easy.height])  # fmt: skip
        image, scale = _open(path)
        is_test = int(path.stem.split("_")[1]) >= FIRST_HELD_OUT_FACE
        yield is_test, Thing(f"face/{path.stem}", 0, image, box * scale)


def _airplanes(root: Path) -> Iterator[tuple[bool, Thing]]:
    with (root.parent / "airplanes.csv").open() as file:
        for row in list(csv.reader(file))[1:]:
            top, bottom, left, right = (float(v) for v in row[2:6])
            if bottom <= top or right <= left:  # the list contains a box without area
                continue
            image, scale = _open(root / "airplanes" / row[1])
            box = np.array([left, top, right, bottom]) * scale
            yield held_out(f"airplane/{row[1]}"), Thing(f"airplane/{row[1]}", 1, image, box)


def _on_plain_ground(folder: Path, label: int) -> Iterator[tuple[bool, Thing]]:
    for path in sorted(folder.glob("*.jpg")):
        image, _ = _open(path)
        mask = plain_ground_mask(image)
        if mask is not None:
            name = f"{folder.name}/{path.name}"
            yield held_out(name), Thing(name, label, image, mask_box(mask), mask)


def load(data: Path) -> tuple[Stock, Stock]:
    """(training, held out): no picture, face or background is in both.

    Raises:
        SystemExit: the pictures or the table of boxes are missing.
    """
    root = data / "caltech101" / "101_ObjectCategories"
    for needed in (root / "Faces", root.parent / "airplanes.csv"):
        if not needed.exists():
            raise SystemExit(f"{needed} is missing: see training/DATA.md.")
    stocks = (Stock(), Stock())
    sources = [_faces(root), _airplanes(root)]
    sources += [_on_plain_ground(root / FOLDERS[c], CLASSES.index(c)) for c in CLASSES[2:]]
    for source in sources:
        for stock in stocks:
            stock.things.append([])
        for is_test, thing in source:
            stocks[is_test].things[-1].append(thing)
    for folder in sorted(root.glob("*")):
        if folder.name in NOT_BACKGROUND:
            continue
        limit = 400 if folder.name == "BACKGROUND_Google" else BACKGROUNDS_PER_CLASS
        for path in sorted(folder.glob("*.jpg"))[:limit]:
            stock = stocks[held_out(f"{folder.name}/{path.name}")]
            image, _ = _open(path, 256)
            mask = plain_ground_mask(image)
            if mask is None:
                stock.backgrounds.append(image)
            else:
                stock.distractors.append(Thing(path.name, -1, image, mask_box(mask), mask))
    return stocks


def normalise(images: NDArray[np.uint8]) -> torch.Tensor:
    """(B, H, W, 3) -> (B, 3, H, W)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
