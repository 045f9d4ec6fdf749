"""Scenes for the detect recipe: objects on backgrounds, whole or cut out, with their boxes."""

from __future__ import annotations

import numpy as np
from PIL import Image

from training.detect_data import CLASSES, Boxes, Picture, Stock, Thing, mask_box

MAX_STRETCH = 0.3  # largest change of a photograph's aspect ratio, as a logarithm


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
        """Whether the objects under a new one would remain visible."""
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
    """Only the object, slightly rotated, over the canvas; skipped if there is no room."""
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
    """Random gain, offset and saturation, sometimes grey."""
    x = image.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * (0.0 if rng.random() < 0.07 else rng.uniform(0.5, 1.4))
    x = (x - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    return np.clip(x, 0, 255).astype(np.uint8)


def whole_photograph(stock: Stock, h: int, w: int, rng: np.random.Generator) -> Scene | None:
    """An unmodified photograph, slightly stretched to the canvas; None if none of a few fits."""
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
