"""Make the example pictures: freely licensed photographs, and crops of them degraded with a seed.

    python scripts/make_examples.py                      the degraded crops, from examples/*.jpg
    python scripts/make_examples.py --originals FOLDER   the photographs too, from their originals

`examples/CREDITS.md` says where each original comes from and what its file is called.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from core import images  # noqa: E402
from core.types import RGB  # noqa: E402

EXAMPLES = ROOT / "examples"
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Photo:
    """The crop of an original, and the longest side it is shrunk to."""

    original: str
    box: Box | None = None
    longest: int = 768
    quality: int = 92


PHOTOS = {
    "astronaut.jpg": Photo("astronaut.png"),
    "chelsea.jpg": Photo("chelsea.png", quality=95),
    "coffee.jpg": Photo("coffee.png", quality=95),
    "coins.jpg": Photo("coins.png"),
    "face.jpg": Photo("astronaut.png", (110, 0, 360, 250)),
    "flower.jpg": Photo("flower.jpg"),
    "hopper.jpg": Photo("grace_hopper.jpg"),
    "rocket.jpg": Photo("rocket.jpg"),
    "temple.jpg": Photo("china.jpg"),
}


def add_noise(rgb: RGB, sigma: float, seed: int) -> RGB:
    """White Gaussian noise of `sigma` grey levels, rounded and clipped to 8 bits."""
    noise = np.random.default_rng(seed).normal(0.0, sigma, rgb.shape)
    return np.rint(np.clip(rgb + noise, 0, 255)).astype(np.uint8)


def shrink(rgb: RGB, factor: int) -> RGB:
    """Bicubic with antialiasing, as super-resolution is usually measured."""
    size = (rgb.shape[1] // factor, rgb.shape[0] // factor)
    return np.array(Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC))


def blur(rgb: RGB, kernel: NDArray[np.float64], seed: int) -> RGB:
    """Convolve each channel, then noise of one grey level, as a camera would add."""
    planes = [ndimage.convolve(rgb[..., i].astype(float), kernel, mode="mirror") for i in range(3)]
    noise = np.random.default_rng(seed).normal(0.0, 1.0, rgb.shape)
    return np.rint(np.clip(np.stack(planes, axis=-1) + noise, 0, 255)).astype(np.uint8)


def gaussian(sigma: float) -> NDArray[np.float64]:
    """(k, k) Gaussian of `sigma` px, sum 1."""
    impulse = np.zeros((2 * round(4 * sigma) + 1,) * 2)
    impulse[impulse.shape[0] // 2, impulse.shape[1] // 2] = 1.0
    return ndimage.gaussian_filter(impulse, sigma)


def motion(length: int, angle: float) -> NDArray[np.float64]:
    """(k, k) straight line of `length` px at `angle` degrees, sum 1."""
    line = np.zeros((length + 4,) * 2)
    line[line.shape[0] // 2, 2 : 2 + length] = 1.0
    turned = np.clip(ndimage.rotate(line, angle, reshape=False, order=1), 0, None)
    return turned / turned.sum()


def curved(radius: float, turns: float) -> NDArray[np.float64]:
    """(k, k) path along part of a circle, as from camera shake, sum 1."""
    reach = round(radius) + 3
    angle = np.linspace(0, 2 * np.pi * turns, 200)
    x, y = reach + radius * np.cos(angle), reach + radius * np.sin(angle)
    path = np.zeros((2 * reach + 1,) * 2)
    np.add.at(path, (np.rint(y).astype(int), np.rint(x).astype(int)), 1)
    return path / path.sum()


def add_blotches(rgb: RGB, sigma: float, seed: int) -> RGB:
    """Spatially correlated noise of `sigma` grey levels, as from phones."""
    noise = np.random.default_rng(seed).normal(0.0, 1.0, rgb.shape)
    soft = ndimage.gaussian_filter(noise, (1.5, 1.5, 0))
    return np.rint(np.clip(rgb + sigma * soft / soft.std(), 0, 255)).astype(np.uint8)


@dataclass(frozen=True)
class Degraded:
    """A crop of a bundled photograph and its degradation."""

    photo: str
    box: Box
    how: str
    degrade: Callable[[RGB], RGB]


DEGRADED = {
    "noisy.png": Degraded(
        "chelsea.jpg", (90, 20, 390, 260), "noise, sigma 25", lambda x: add_noise(x, 25, seed=1)
    ),
    "noisy-2.png": Degraded(
        "temple.jpg", (60, 20, 340, 300), "noise, sigma 40", lambda x: add_noise(x, 40, seed=2)
    ),
    "small.png": Degraded(
        "astronaut.jpg", (96, 0, 416, 320), "shrunk to a half", lambda x: shrink(x, 2)
    ),
    "small-2.png": Degraded(
        "flower.jpg", (140, 60, 500, 380), "shrunk to a quarter", lambda x: shrink(x, 4)
    ),
    "blurred.png": Degraded(
        "coffee.jpg",
        (90, 0, 474, 288),
        "Gaussian blur, sigma 1.6 px, noise of sigma 1",
        lambda x: blur(x, gaussian(1.6), seed=3),
    ),
    "motion.png": Degraded(
        "temple.jpg",
        (60, 60, 444, 348),
        "motion blur, 7 px at 30 degrees, noise of sigma 1",
        lambda x: blur(x, motion(7, 30.0), seed=4),
    ),
    # Beyond the starters
    "blotchy.png": Degraded(
        "chelsea.jpg", (110, 40, 350, 220), "blotches, sigma 25", lambda x: add_blotches(x, 25, 5)
    ),
    "lines.png": Degraded(
        "temple.jpg", (100, 80, 340, 260), "shrunk to a quarter", lambda x: shrink(x, 4)
    ),
    "shaken.png": Degraded(
        "coffee.jpg",
        (150, 60, 390, 240),
        "blur along a curve of 6 px radius, noise of sigma 1",
        lambda x: blur(x, curved(6, 0.7), seed=6),
    ),
}


def clean(name: str) -> RGB:
    """The clean crop from which the degraded example `name` is made."""
    entry = DEGRADED[name]
    left, top, right, bottom = entry.box
    return np.asarray(images.decode(EXAMPLES / entry.photo))[top:bottom, left:right]


def degraded(name: str) -> RGB:
    """Make the example `name`."""
    return DEGRADED[name].degrade(clean(name))


def take_photos(originals: Path) -> None:
    """Cut, shrink and write every photograph, without metadata."""
    for name, photo in PHOTOS.items():
        picture = images.decode(originals / photo.original)
        if photo.box:
            picture = picture.crop(photo.box)
        rgb = images.resize_max(np.array(picture), photo.longest)
        images.save_jpeg(rgb, EXAMPLES / name, photo.quality)


def main() -> None:
    """Write the pictures and print what was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--originals", type=Path, help="folder with the originals")
    folder = parser.parse_args().originals
    if folder:
        take_photos(folder)
    for name in DEGRADED:
        images.save_png(degraded(name), EXAMPLES / name)
    for path in sorted(EXAMPLES.glob("*.[jp][pn]g")):
        size = images.decode(path).size
        print(f"{path.name:16} {size[0]:4} x {size[1]:<4} {path.stat().st_size // 1000:4} kB")


if __name__ == "__main__":
    main()
