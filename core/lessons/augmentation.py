"""Augmentation: the same picture changed at random, and whether a classifier still agrees.

torchvision's `transforms.v2` makes RandAugment, colours, rotation and crop, and moves the pasted
object. CutMix and Copy-Paste are applied to one picture at a time here, since a batch of one
picture has no partner in itself: another picture takes that part.
Sources: Cubuk et al., "RandAugment", 2020; Chen et al., "SimCLR", 2020 (the strength of colours);
Yun et al., "CutMix", 2019; Ghiasi et al., "Simple Copy-Paste", 2021.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from core import checks, classify, images, segment
from core.checkpoints import ROOT
from core.errors import InputError
from core.sources.resolver import Progress
from core.types import RunInfo

COUNT = 8  # variants
SIDE = 448  # pixels; larger pictures are reduced before anything else
PARTNERS = ("coffee.jpg", "rocket.jpg", "chelsea.jpg", "flower.jpg", "temple.jpg")
GREY = (124, 116, 104)  # ImageNet's mean, in corners that a rotation leaves empty
_FURTHEST = 180.0  # degrees of rotation at strength 1
_SMALLEST = 0.1  # share of the picture's area that a crop leaves, at strength 1
_MIXED = 0.6  # share of the area that CutMix replaces, at strength 1
_SHRUNK = 0.4  # side of the smallest pasted object, of its own
_random = threading.Lock()  # transforms.v2 draws from PyTorch's one generator


@dataclass(frozen=True, slots=True)
class Strengths:
    """How strongly each augmentation changes a picture, 0 (not at all) to 1.

    `randaugment`: two random operations of magnitude 30 x strength. `colour`: brightness,
    contrast, saturation by up to 0.8 x strength and hue by up to 0.2 x strength. `rotation`: by up
    to 180 degrees x strength. `crop`: a part of between 1 - 0.9 x strength and all of the area.
    `cutmix`: a box of another picture over up to 0.6 x strength of the area. `copy_paste`: the
    share of the variants in which the object is pasted onto another picture.

    Raises:
        InputError: a strength is no number between 0 and 1.
    """

    randaugment: float = 0.0
    colour: float = 0.0
    rotation: float = 0.0
    crop: float = 0.0
    cutmix: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            name = one.name.replace("_", " ")
            checks.number(getattr(self, one.name), f"The strength of {name}", 0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One augmented picture (H, W, 3) uint8 with its best class, that class's probability, and the
    probability of the original's class. `mixed` is the share of the area from another picture."""

    image: images.RGB
    label: str
    probability: float
    of_original: float
    mixed: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """The original and its variants. `agreeing` is the share of the variants with the original's
    class, `sureness` the mean probability that they give to it."""

    original: Variant
    variants: tuple[Variant, ...]
    info: RunInfo

    @property
    def agreeing(self) -> float:
        """Share of the variants whose best class is the original's, 0..1."""
        same = [one.label == self.original.label for one in self.variants]
        return float(np.mean(same))

    @property
    def sureness(self) -> float:
        """Mean probability of the original's class over the variants, 0..1."""
        return float(np.mean([one.of_original for one in self.variants]))


def bench(
    image: images.ImageLike,
    checkpoint: str = "auto",
    strengths: Strengths | None = None,
    seed: float = 0,
    mask: NDArray[np.bool_] | None = None,
    partners: Sequence[images.ImageLike] | None = None,
    progress: Progress | None = None,
) -> Bench:
    """Classify a picture and `COUNT` augmented variants of it in one forward pass.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array; reduced to `SIDE` pixels.
        checkpoint: a key of `core.checkpoints`, or "auto".
        strengths: of each augmentation; all 0 unless told.
        seed: 0 or more; the same seed makes the same variants.
        mask: (H, W) bool, the object that is pasted; None: what Segment finds in the middle.
        partners: pictures for CutMix and Copy-Paste; None: the bundled examples.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: a number is out of range, or the mask is empty or has another size.
        CheckpointError, OutOfMemory.
    """
    strengths = strengths or Strengths()
    seed = checks.whole(seed, "The seed", low=0, high=2**31)
    picture = images.picture(image)
    rgb = images.resize_max(picture.pixels(), SIDE)
    others: list[images.RGB] = []
    if strengths.cutmix or strengths.copy_paste:
        others = _others(picture.digest, partners)
    if strengths.copy_paste:
        mask = _object(picture, rgb.shape[:2], mask)
    variants, mixed = augmented(rgb, strengths, seed, mask, others)
    found = classify.together([rgb, *variants], checkpoint, progress)
    best = found.probabilities.argmax(1)
    made = [
        Variant(
            pixels,
            found.labels[best[i]],
            float(found.probabilities[i, best[i]]),
            float(found.probabilities[i, best[0]]),
            share,
        )
        for i, (pixels, share) in enumerate(zip([rgb, *variants], [0.0, *mixed], strict=True))
    ]
    return Bench(made[0], tuple(made[1:]), found.info)


def augmented(
    rgb: images.RGB,
    strengths: Strengths,
    seed: int = 0,
    mask: NDArray[np.bool_] | None = None,
    partners: Sequence[images.RGB] = (),
) -> tuple[list[images.RGB], list[float]]:
    """`COUNT` variants of (H, W, 3) uint8, and for each the share of the area from a partner.

    Args:
        mask: (H, W) bool, the object; needed for Copy-Paste.
        partners: needed for CutMix and Copy-Paste.
    """
    steps = _transforms(strengths, rgb.shape[:2])
    numbers = np.random.default_rng(seed)
    pasted = round(COUNT * strengths.copy_paste)
    pastes = set(numbers.permutation(COUNT)[:pasted].tolist())
    found, shares = [], []
    with _random, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for number in range(COUNT):
            x, share = torch.from_numpy(rgb.copy()).permute(2, 0, 1), 0.0  # (3, H, W)
            if number in pastes and mask is not None:
                x, share = copy_paste(x, mask, _partner(partners, rgb, numbers), numbers)
            for step in steps:
                x = step(x)
            if strengths.cutmix:
                x, cut = cutmix(x, _partner(partners, rgb, numbers), strengths.cutmix, numbers)
                share = 1 - (1 - share) * (1 - cut)
            found.append(np.ascontiguousarray(x.permute(1, 2, 0).numpy()))
            shares.append(share)
    return found, shares


def _transforms(strengths: Strengths, size: tuple[int, int]) -> list[Any]:
    """Those of `transforms.v2` whose strength is not 0, in the order in which they are applied."""
    height, width = size
    found: list[Any] = []
    if strengths.crop:
        ratio, least = width / height, 1 - (1 - _SMALLEST) * strengths.crop
        ratios = (ratio * (1 - strengths.crop / 4), ratio / (1 - strengths.crop / 4))
        found.append(v2.RandomResizedCrop(size, scale=(least, 1.0), ratio=ratios, antialias=True))
    if strengths.rotation:
        degrees = _FURTHEST * strengths.rotation
        found.append(v2.RandomRotation(degrees, v2.InterpolationMode.BILINEAR, fill=list(GREY)))
    if strengths.colour:
        by, hue = 0.8 * strengths.colour, 0.2 * strengths.colour
        found.append(v2.ColorJitter(by, by, by, hue))
    if strengths.randaugment:
        magnitude = round(30 * strengths.randaugment)
        found.append(v2.RandAugment(2, magnitude, num_magnitude_bins=31, fill=list(GREY)))
    return found


def cutmix(
    x: torch.Tensor, partner: torch.Tensor, strength: float, numbers: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """A box of `partner` in a picture, both (3, H, W), and the share of the area that it takes.

    The box has the picture's proportions and a random middle; what lies outside is cut off, as in
    the paper.
    """
    height, width = x.shape[-2:]
    side = (_MIXED * strength * numbers.uniform(0.5, 1)) ** 0.5
    middle_y, middle_x = numbers.uniform(0, height), numbers.uniform(0, width)
    top, bottom = (int(np.clip(middle_y + half * height * side, 0, height)) for half in (-0.5, 0.5))
    left, right = (int(np.clip(middle_x + half * width * side, 0, width)) for half in (-0.5, 0.5))
    box = partner[:, top:bottom, left:right]
    mixed = F.erase(x, top, left, bottom - top, right - left, box)
    return mixed, (bottom - top) * (right - left) / (height * width)


def copy_paste(
    x: torch.Tensor,
    mask: NDArray[np.bool_],
    partner: torch.Tensor,
    numbers: np.random.Generator,
) -> tuple[torch.Tensor, float]:
    """The masked object of (3, H, W) on a partner of that size, smaller and at a random place.

    Returns:
        The picture, and the share of the area that shows the partner.
    """
    height, width = x.shape[-2:]
    rows, columns = np.nonzero(mask)
    scale = numbers.uniform(_SHRUNK, 1)
    centre = (columns.min() + columns.max() + 1) / 2, (rows.min() + rows.max() + 1) / 2
    shifts = []
    for start, end, middle, length in (
        (columns.min(), columns.max() + 1, centre[0], width),
        (rows.min(), rows.max() + 1, centre[1], height),
    ):
        half = scale * (end - start) / 2
        shifts.append(round(numbers.uniform(half, max(half, length - half)) - middle))
    move = {"angle": 0.0, "translate": shifts, "scale": scale, "shear": [0.0, 0.0]}
    smooth = v2.InterpolationMode.BILINEAR
    there = tv_tensors.Mask(torch.from_numpy(mask.astype(np.uint8))[None])
    moved = F.affine(x, **move, interpolation=smooth, center=list(centre))
    over = F.affine(there, **move, center=list(centre))[0].bool()
    return torch.where(over, moved, partner), float(1 - over.float().mean())


def _partner(
    partners: Sequence[images.RGB], rgb: images.RGB, numbers: np.random.Generator
) -> torch.Tensor:
    """(3, H, W), one of the partners cut and resized to the size of `rgb`."""
    if not partners:
        raise InputError("CutMix and Copy-Paste need another picture; give one as a partner.")
    other = torch.from_numpy(partners[int(numbers.integers(len(partners)))].copy())
    height, width = rgb.shape[:2]
    h, w = other.shape[:2]
    factor = min(h / height, w / width)
    middle = F.center_crop(
        other.permute(2, 0, 1), [max(1, round(height * factor)), max(1, round(width * factor))]
    )
    return F.resize(middle, [height, width], antialias=True)


def _others(digest: str, given: Sequence[images.ImageLike] | None) -> list[images.RGB]:
    """The partners: those given, or the bundled examples that are not the picture itself."""
    if given is not None:
        return [images.resize_max(images.from_any(one), SIDE) for one in given]
    paths = [path for name in PARTNERS if (path := ROOT / "examples" / name).is_file()]
    known = [_example(path) for path in paths]
    return [rgb for its, rgb in known if its != digest]


@lru_cache(maxsize=len(PARTNERS))
def _example(path: Path) -> tuple[str, images.RGB]:
    rgb = images.read(path)
    return images.digest(rgb), images.resize_max(rgb, SIDE)


def _object(
    picture: images.Picture, size: tuple[int, int], given: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """(h, w) bool of the given `size`: the object that Copy-Paste cuts out.

    Raises:
        InputError: the mask is empty or has another size than the picture.
    """
    if given is None:
        height, width = picture.size
        given = segment.predict(picture, [[width / 2, height / 2, 1]]).best
    elif given.shape != picture.size:
        raise InputError(
            f"The mask has {given.shape} pixels and the picture {picture.size}; they must be equal."
        )
    small = F.resize(
        tv_tensors.Mask(torch.from_numpy(np.asarray(given, np.uint8))[None]), list(size)
    )
    mask = small[0].bool().numpy()
    if not mask.any():
        raise InputError("There is no object in the mask; give one that covers something.")
    return mask
