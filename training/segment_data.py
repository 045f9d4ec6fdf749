"""Pictures with masks for the segment recipe: loading, held-out sets, augmentation, composites.

DATA.md describes the data folder: ecssd and bsds500 are required; coco128, pennfudan, voc (only
its pictures with masks) and caltech101 (only its pictures with a white background) are optional.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage
from scipy.io import loadmat

from training import voc_masks
from training.recognition_data import bsds_files

Picture = NDArray[np.uint8]
LabelMap = NDArray[np.uint8]

STORED_SIDE = 352  # longer side of stored pictures, before cropping
HELD_OUT = 200  # ECSSD pictures
CALTECH_PER_CLASS = 40  # cut-outs per class, so that motorbikes do not dominate


@dataclass
class Sample:
    """`image` (H, W, 3); each of `maps` (H, W), 0 = no mask, 1.. = one mask each."""

    name: str
    image: Picture
    maps: list[LabelMap]


def shrink(image: Image.Image, nearest: bool = False) -> NDArray[np.uint8]:
    """The picture at a longer side of at most STORED_SIDE pixels."""
    scale = min(1.0, STORED_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    kind = Image.Resampling.NEAREST if nearest else Image.Resampling.BILINEAR
    return np.asarray(image.resize(size, kind, reducing_gap=None if nearest else 2.0))


def ecssd(root: Path, held_out: bool) -> Iterator[Sample]:
    """The 200 pictures whose names hash lowest are held out, the other 800 train."""
    paths = sorted((root / "ecssd" / "images").glob("*.jpg"))
    paths.sort(key=lambda p: hashlib.sha1(p.stem.encode()).hexdigest())
    for path in paths[:HELD_OUT] if held_out else paths[HELD_OUT:]:
        mask = Image.open(root / "ecssd" / "ground_truth_mask" / f"{path.stem}.png").convert("L")
        image = Image.open(path).convert("RGB")
        label = (shrink(mask, nearest=True) > 127).astype(np.uint8)
        yield Sample(f"ecssd/{path.stem}", shrink(image), [label])


def bsds(root: Path, splits: tuple[str, ...]) -> Iterator[Sample]:
    """One map per annotator; every human segment is a mask."""
    for split in splits:
        for path in bsds_files(root, split):
            truth = loadmat(root / "bsds500" / "groundTruth" / split / f"{path.stem}.mat")
            maps = []
            for annotation in truth["groundTruth"][0]:
                label = np.minimum(annotation["Segmentation"][0, 0], 255).astype(np.uint8)
                maps.append(shrink(Image.fromarray(label), nearest=True))
            yield Sample(f"bsds/{path.stem}", shrink(Image.open(path).convert("RGB")), maps)


def coco(root: Path) -> Iterator[Sample]:
    """Polygons drawn from large to small, so that objects in front stay whole."""
    for path in sorted((root / "coco128" / "images").glob("*2017/*.jpg")):
        labels = root / "coco128/instance_segmentation/labels" / path.parent.name
        text = labels / f"{path.stem}.txt"
        if not text.exists():
            continue
        image = shrink(Image.open(path).convert("RGB"))
        size = np.array([image.shape[1], image.shape[0]])
        polygons = [np.array(line.split()[1:], float) for line in text.read_text().splitlines()]
        shapes = [p.reshape(-1, 2) * size for p in polygons if len(p) >= 6]
        shapes.sort(key=lambda p: -float(np.prod(np.ptp(p, axis=0))))
        canvas = Image.new("L", (image.shape[1], image.shape[0]))
        for number, polygon in enumerate(shapes[:255], start=1):
            ImageDraw.Draw(canvas).polygon([tuple(xy) for xy in polygon], fill=number)
        yield Sample(f"coco/{path.stem}", image, [np.asarray(canvas)])


def penn(root: Path) -> Iterator[Sample]:
    """Pedestrians; the mask files number them from 1."""
    for path in sorted((root / "pennfudan" / "PNGImages").glob("*.png")):
        mask = Image.open(root / "pennfudan" / "PedMasks" / f"{path.stem}_mask.png")
        label = shrink(mask.convert("P"), nearest=True)
        yield Sample(f"penn/{path.stem}", shrink(Image.open(path).convert("RGB")), [label])


def voc(root: Path) -> Iterator[Sample]:
    """Connected regions of one class; pictures that the semantic starters are measured on are
    left out."""
    for name in voc_masks.training_names(root / "voc"):
        classes = voc_masks.without_borders(voc_masks.read(root / "voc", name))
        label = np.zeros_like(classes)
        for value in np.setdiff1d(np.unique(classes), [0]):
            parts, count = ndimage.label(classes == value)
            for part in range(1, count + 1):
                label[parts == part] = min(255, int(label.max()) + 1)
        image = Image.open(voc_masks.picture(root / "voc", name)).convert("RGB")
        yield Sample(f"voc/{name}", shrink(image), [shrink(Image.fromarray(label), nearest=True)])


def white_ground_mask(image: Picture) -> NDArray[np.bool_] | None:
    """The object in a picture with a white background, (H, W); None for other pictures."""
    white = image.min(axis=2) >= 238
    border = np.concatenate([white[2], white[-3], white[:, 2], white[:, -3]])
    if border.mean() < 0.9:
        return None
    regions, _ = ndimage.label(white)
    edge = np.concatenate([regions[2], regions[-3], regions[:, 2], regions[:, -3]])
    ground = np.isin(regions, np.setdiff1d(edge, [0]))
    mask = ndimage.binary_opening(~ground, iterations=1)
    parts, count = ndimage.label(mask)
    if count == 0:
        return None
    sizes = np.bincount(parts.ravel())[1:]
    mask = parts == 1 + int(sizes.argmax())
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    framed = mask.sum() > 0.93 * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a photo with a margin
    if framed or not 0.08 <= mask.mean() <= 0.85 or sizes.max() < 0.9 * sizes.sum():
        return None
    return mask


def caltech(root: Path) -> Iterator[Sample]:
    """Objects on white backgrounds, up to CALTECH_PER_CLASS per class."""
    for folder in sorted((root / "caltech101" / "101_ObjectCategories").glob("*")):
        taken = 0
        for path in sorted(folder.glob("*.jpg")):
            if taken == CALTECH_PER_CLASS:
                break
            image = shrink(Image.open(path).convert("RGB"))
            mask = white_ground_mask(image)
            if mask is not None:
                taken += 1
                yield Sample(f"caltech/{folder.name}/{path.stem}", image, [mask.astype(np.uint8)])


def _thumbnail(image: Picture) -> NDArray[np.float32]:
    small = np.asarray(Image.fromarray(image).convert("L").resize((16, 16)), np.float32)
    small -= small.mean()
    return small / (np.linalg.norm(small) + 1e-6)


def drop_copies(samples: list[Sample], held_out: list[Sample]) -> list[Sample]:
    """Training samples without pictures (or their mirror) that are held out in another set.

    Some ECSSD pictures come from BSDS.
    """
    tests = np.stack([_thumbnail(s.image).ravel() for s in held_out])
    kept = []
    for sample in samples:
        small = _thumbnail(sample.image)
        likeness = max(float((tests @ t.ravel()).max()) for t in (small, small[:, ::-1]))
        if likeness < 0.95:
            kept.append(sample)
    return kept


@functools.cache
def load_held_out(root: Path) -> tuple[list[Sample], list[Sample]]:
    """(ECSSD held out, BSDS500 val), cached, since every score and page uses them.

    Raises:
        SystemExit: one of them is missing.
    """
    for folder in ("ecssd", "bsds500"):
        if not (root / folder).is_dir():
            raise SystemExit(f"No pictures in {root / folder}: see training/DATA.md.")
    return list(ecssd(root, held_out=True)), list(bsds(root, ("val",)))


def load_training(root: Path) -> dict[str, list[Sample]]:
    """Training samples by source, without any picture of `load_held_out`."""
    held_out = [sample for group in load_held_out(root) for sample in group]
    sources = {
        "ecssd": ecssd(root, held_out=False),
        "bsds": bsds(root, ("train", "test")),
        "coco": coco(root),
        "penn": penn(root),
        "voc": voc(root),
        "caltech": caltech(root),
    }
    groups = {name: drop_copies(list(found), held_out) for name, found in sources.items()}
    return {name: group for name, group in groups.items() if group}


def _crop(sample: Sample, rng: np.random.Generator) -> tuple[Picture, LabelMap]:
    """A random crop of the picture with one annotator's map."""
    label = sample.maps[rng.integers(len(sample.maps))]
    h, w = label.shape
    part = rng.uniform(0.55, 1.0) if rng.random() < 0.7 else 1.0
    ch, cw = int(h * part * rng.uniform(0.8, 1)), int(w * part * rng.uniform(0.8, 1))
    y, x = rng.integers(h - ch + 1), rng.integers(w - cw + 1)
    return sample.image[y : y + ch, x : x + cw], label[y : y + ch, x : x + cw]


def _colours(image: Picture, rng: np.random.Generator) -> Picture:
    """Random gain, offset and saturation."""
    x = image.astype(np.float32)
    grey = x.mean(axis=2, keepdims=True)
    x = grey + (x - grey) * rng.uniform(0.4, 1.4)
    x = (x - 128) * rng.uniform(0.7, 1.3) + 128 + rng.uniform(-25, 25)
    return np.clip(x, 0, 255).astype(np.uint8)


def _resize(image: Picture, label: LabelMap, longest: int) -> tuple[Picture, LabelMap]:
    scale = longest / max(label.shape)
    size = (max(8, round(label.shape[1] * scale)), max(8, round(label.shape[0] * scale)))
    small = Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.BILINEAR)
    mask = Image.fromarray(np.ascontiguousarray(label)).resize(size, Image.Resampling.NEAREST)
    return np.array(small), np.array(mask)


def paste(
    image: Picture, label: LabelMap, source: Sample, rng: np.random.Generator
) -> tuple[Picture, LabelMap]:
    """Copy-paste: put a mask of `source` onto the picture and add it to its map."""
    if label.max() == 255:
        return image, label
    cut, mask = _resize(source.image, source.maps[0], int(max(label.shape) * rng.uniform(0.3, 0.8)))
    choices = np.setdiff1d(np.unique(mask), [0])
    if len(choices) == 0:
        return image, label
    mask = mask == rng.choice(choices)
    if rng.random() < 0.5:
        cut, mask = cut[:, ::-1], mask[:, ::-1]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    top, left = rows[0], columns[0]
    cut = cut[top : rows[-1] + 1, left : columns[-1] + 1]
    mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    h, w = min(mask.shape[0], label.shape[0]), min(mask.shape[1], label.shape[1])
    y, x = rng.integers(label.shape[0] - h + 1), rng.integers(label.shape[1] - w + 1)
    soft = ndimage.gaussian_filter(mask[:h, :w].astype(np.float32), 0.7)[..., None]
    image, label = image.copy(), label.copy()
    under = image[y : y + h, x : x + w]
    image[y : y + h, x : x + w] = (cut[:h, :w] * soft + under * (1 - soft)).astype(np.uint8)
    label[y : y + h, x : x + w][mask[:h, :w]] = label.max() + 1
    return image, label


class Mixer:
    """Draws augmented examples: image (S, S, 3) uint8, label map (S, S) uint8."""

    WEIGHTS: ClassVar = {
        "ecssd": 0.42,
        "bsds": 0.2,
        "coco": 0.08,
        "penn": 0.04,
        "voc": 0.12,
        "caltech": 0.14,
    }
    CUTS = ("ecssd", "caltech", "coco", "voc")

    def __init__(self, groups: dict[str, list[Sample]]) -> None:
        self.groups = groups
        self.names = list(groups)
        weights = np.array([self.WEIGHTS[name] for name in self.names])
        self.weights = weights / weights.sum()

    def draw(self, rng: np.random.Generator, side: int) -> tuple[Picture, LabelMap]:
        """One example, its longer side resized to `side` and padded with zeros like SAM's."""
        name = self.names[rng.choice(len(self.names), p=self.weights)]
        group = self.groups[name]
        image, label = _resize(*_crop(group[rng.integers(len(group))], rng), side)
        image = _colours(image, rng)
        chance = 0.6 if name == "caltech" else 0.25
        while rng.random() < chance:
            cuts = self.groups.get(self.CUTS[rng.integers(len(self.CUTS))], group)
            image, label = paste(image, label, cuts[rng.integers(len(cuts))], rng)
            chance *= 0.5
        if rng.random() < 0.5:
            image, label = image[:, ::-1], label[:, ::-1]
        below, right = side - label.shape[0], side - label.shape[1]
        return (
            np.pad(image, ((0, below), (0, right), (0, 0))),
            np.pad(label, ((0, below), (0, right))),
        )


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """xyxy pixels of the mask's extent; right and bottom are its last column and row."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return np.array([columns[0], rows[0], columns[-1], rows[-1]], float)
