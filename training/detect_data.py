"""Pictures with boxes for the detect recipe: six classes of Caltech-101, and scenes made of them.

`--data DIR` holds

    caltech101/101_ObjectCategories/<class>/*.jpg     Caltech-101, every class
    caltech101/airplanes.csv   its airplane boxes: index, file, top, bottom, left, right, label

Only the airplanes' boxes come as a table. The others are derived: a face from where the picture of
`Faces_easy` lies in that of `Faces`; motorbikes, watches, umbrellas and laptops from pictures
taken on a plain ground, where the outline of the object can be told from the ground.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.feature import match_template

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float64]

CLASSES = ("face", "airplane", "motorbike", "watch", "umbrella", "laptop")
FOLDERS = {"motorbike": "Motorbikes", "watch": "watch", "umbrella": "umbrella", "laptop": "laptop"}
#: what a face covers of its `Faces_easy` picture: left, top, right, bottom
FACE_PART = (0.2, 0.08, 0.8, 0.86)
FIRST_HELD_OUT_FACE = 366  # files go by person, and here a new one begins
#: pictures that show one of the classes, or something that may pass for it, are no background
NOT_BACKGROUND = {
    *("Faces", "Faces_easy", "airplanes", "Motorbikes", "watch", "umbrella", "laptop"),
    *("helicopter", "buddha", "cougar_face", "snoopy", "garfield", "inline_skate"),
}
BACKGROUNDS_PER_CLASS = 12
MAX_STRETCH = 0.3  # largest change of a photograph's aspect ratio, as a logarithm


@dataclass
class Thing:
    """A picture (H, W, 3) with one object: `box` xyxy pixels, `mask` (H, W) where it is known."""

    name: str
    label: int
    image: Picture
    box: Boxes
    mask: NDArray[np.bool_] | None = None


@dataclass
class Stock:
    """What scenes are made of. `distractors` are cut-outs of other classes."""

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
    """The object of a picture on a ground of one colour, (H, W); None for other pictures."""
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
    """xyxy pixels; right and bottom lie behind the last column and row."""
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
            if bottom <= top or right <= left:  # the list has a box without area
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
    """(training, held out): no picture, face or background is in both."""
    root = data / "caltech101" / "101_ObjectCategories"
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


def _resize(image: Picture, size: tuple[int, int]) -> Picture:
    """(W, H)."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    return np.array(picture.resize(size, Image.Resampling.BILINEAR))


class Scene:
    """A canvas (H, W, 3) under construction with the boxes put on it."""

    def __init__(self, image: Picture) -> None:
        self.image = image
        self.boxes: list[Boxes] = []
        self.labels: list[int] = []

    def add(self, box: Boxes, label: int) -> None:
        h, w = self.image.shape[:2]
        self.boxes.append(np.clip(box, 0, [w, h, w, h]))
        self.labels.append(label)

    def free(self, box: Boxes) -> bool:
        """Whether a new object would leave those under it in view."""
        for other in self.boxes:
            corner = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
            if np.prod(np.clip(corner, 0, None)) > 0.2 * np.prod(other[2:] - other[:2]):
                return False
        return True


def _mirrored(thing: Thing) -> Thing:
    w = thing.image.shape[1]
    left, top, right, bottom = thing.box
    mask = None if thing.mask is None else thing.mask[:, ::-1]
    box = np.array([w - right, top, w - left, bottom])
    return Thing(thing.name, thing.label, thing.image[:, ::-1], box, mask)


def put_picture(
    scene: Scene, thing: Thing, cell: tuple[int, int, int, int], rng: np.random.Generator
) -> None:
    """A random crop around the object, scaled into the cell (x, y, w, h) of the canvas."""
    left_edge, top_edge, w, h = cell
    height, width = thing.image.shape[:2]
    outer = np.array([0.0, 0.0, width, height])
    crop = thing.box + (outer - thing.box) * rng.random(4) ** 0.7
    left, top, right, bottom = (int(v) for v in (*np.floor(crop[:2]), *np.ceil(crop[2:])))
    left, top = max(left, 0), max(top, 0)
    part = thing.image[top:bottom, left:right]
    scale = min(w / part.shape[1], h / part.shape[0]) * rng.uniform(0.7, 1.0)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    new_w = int(np.clip(part.shape[1] * scale * stretch, 8, w))
    new_h = int(np.clip(part.shape[0] * scale / stretch, 8, h))
    x = left_edge + int(rng.integers(w - new_w + 1))
    y = top_edge + int(rng.integers(h - new_h + 1))
    scene.image[y : y + new_h, x : x + new_w] = _resize(part, (new_w, new_h))
    factor = np.tile([new_w / part.shape[1], new_h / part.shape[0]], 2)
    scene.add((thing.box - [left, top, left, top]) * factor + [x, y, x, y], thing.label)


def put_cut_out(scene: Scene, thing: Thing, rng: np.random.Generator) -> None:
    """Only the object, turned a little, over what is there; skipped where no room is left."""
    assert thing.mask is not None
    h, w = scene.image.shape[:2]
    left, top, right, bottom = (int(v) for v in thing.box)
    part, mask = thing.image[top:bottom, left:right], thing.mask[top:bottom, left:right]
    scale = rng.uniform(0.25, 0.85) * min(h / part.shape[0], w / part.shape[1])
    size = (max(12, int(part.shape[1] * scale)), max(12, int(part.shape[0] * scale)))
    layers = np.dstack([part, mask.astype(np.uint8) * 255])
    turned = Image.fromarray(layers).resize(size, Image.Resampling.BILINEAR)
    turned = turned.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, expand=True)
    layers = np.asarray(turned)[:h, :w]
    solid = layers[..., 3] > 127
    if not solid.any():
        return
    for _ in range(8):
        y, x = rng.integers(h - solid.shape[0] + 1), rng.integers(w - solid.shape[1] + 1)
        box = mask_box(solid) + np.array([x, y, x, y])
        if scene.free(box):
            alpha = layers[..., 3:].astype(np.float32) / 255
            under = scene.image[y : y + solid.shape[0], x : x + solid.shape[1]]
            under[:] = (layers[..., :3] * alpha + under * (1 - alpha)).astype(np.uint8)
            if thing.label >= 0:
                scene.add(box, thing.label)
            return


def _cells(h: int, w: int, count: int, rng: np.random.Generator) -> list[tuple[int, int, int, int]]:
    """The canvas split in one, two or four parts, each (x, y, w, h)."""
    if count == 1:
        return [(0, 0, w, h)]
    x, y = int(w * rng.uniform(0.38, 0.62)), int(h * rng.uniform(0.38, 0.62))
    if count == 2:
        if w >= h:
            return [(0, 0, x, h), (x, 0, w - x, h)]
        return [(0, 0, w, y), (0, y, w, h - y)]
    return [(0, 0, x, y), (x, 0, w - x, y), (0, y, x, h - y), (x, y, w - x, h - y)]


def colours(image: Picture, rng: np.random.Generator) -> Picture:
    """Random gain, offset and saturation, now and then grey."""
    x = image.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * (0.0 if rng.random() < 0.07 else rng.uniform(0.5, 1.4))
    x = (x - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    return np.clip(x, 0, 255).astype(np.uint8)


def whole_photograph(stock: Stock, h: int, w: int, rng: np.random.Generator) -> Scene | None:
    """A photograph as it is, stretched a little to the canvas; None where none of a few fits."""
    for _ in range(6):
        group = stock.things[rng.integers(len(stock.things))]
        thing = group[rng.integers(len(group))]
        thing = _mirrored(thing) if rng.random() < 0.5 else thing
        height, width = thing.image.shape[:2]
        if abs(np.log(width * h / (height * w))) < MAX_STRETCH:
            scene = Scene(_resize(thing.image, (w, h)))
            scene.add(thing.box * np.tile([w / width, h / height], 2), thing.label)
            scene.image = colours(scene.image, rng)
            return scene
    return None


def make_scene(stock: Stock, h: int, w: int, rng: np.random.Generator) -> Scene:
    """A background with one to four pictures of objects, or with cut-outs, or with both."""
    back = stock.backgrounds[rng.integers(len(stock.backgrounds))]
    scene = Scene(_resize(back, (w, h)))

    def draw(cut: bool) -> Thing:
        first = 2 if cut else 0  # faces and airplanes have no outline
        group = stock.things[rng.integers(first, len(CLASSES))]
        thing = group[rng.integers(len(group))]
        return _mirrored(thing) if rng.random() < 0.5 else thing

    if rng.random() < 0.8:
        for cell in _cells(h, w, int(rng.choice([1, 1, 2, 4])), rng):
            if rng.random() < 0.85:
                put_picture(scene, draw(cut=False), cell, rng)
    if rng.random() < 0.45:
        for _ in range(int(rng.integers(1, 4))):
            other = rng.random() < 0.35
            things = stock.distractors
            thing = things[rng.integers(len(things))] if other else draw(cut=True)
            put_cut_out(scene, thing, rng)
    scene.image = colours(scene.image, rng)
    return scene
