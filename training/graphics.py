"""Drawn pictures for the restore recipes: what photographs lack and networks must survive.

A network trained on photographs alone knows neither saturated colours nor hard edges nor strong
noise: given a flat pure blue, an enlarging one answered with a black and white maze. So a share of
the training patches shows text, shapes, pixel art, gradients and noise in colours up to the corners
of the RGB cube.
"""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Draw = Callable[[np.random.Generator, int], np.ndarray]


def graphics(count: int, side: int = 256, seed: int = 0) -> list[np.ndarray]:
    """`count` pictures (side, side, 3) uint8, of all kinds in turn; the same for the same seed."""
    kinds: tuple[Draw, ...] = (text, shapes, pixel_art, gradient, noise)
    return [
        kinds[i % len(kinds)](np.random.default_rng([seed, i]), side).astype(np.uint8)
        for i in range(count)
    ]


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """Each channel is 0 or 255 in half of all cases and anything else in the others."""
    anything, extreme = rng.integers(0, 256, 3), 255 * rng.integers(0, 2, 3)
    red, green, blue = np.where(rng.random(3) < 0.5, extreme, anything)
    return int(red), int(green), int(blue)


def text(rng: np.random.Generator, side: int) -> np.ndarray:
    """Lines of random characters in random sizes, on a ground of one or two colours."""
    image = Image.new("RGB", (side, side), colour(rng))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.5:
        draw.rectangle((0, int(rng.integers(side)), side, side), fill=colour(rng))
    letters = list(string.ascii_letters + string.digits + string.punctuation + "    ")
    top = 0
    while top < side:
        size = int(rng.integers(9, 48))
        line = "".join(rng.choice(letters, 40))
        font = ImageFont.load_default(size)
        draw.text((int(rng.integers(-20, 20)), top), line, fill=colour(rng), font=font)
        top += int(size * rng.uniform(1.0, 2.0))
    return np.asarray(image)


def shapes(rng: np.random.Generator, side: int) -> np.ndarray:
    """Rectangles, ellipses and lines over each other, as in drawings and on screens."""
    image = Image.new("RGB", (side, side), colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(1, 24))):
        left, top = (int(v) for v in rng.integers(-side // 4, side, 2))
        wide, high = (int(v) for v in rng.integers(2, side // 2, 2))
        box, kind = (left, top, left + wide, top + high), rng.integers(3)
        if kind == 0:
            draw.rectangle(box, fill=colour(rng))
        elif kind == 1:
            draw.ellipse(box, fill=colour(rng))
        else:
            draw.line(box, fill=colour(rng), width=int(rng.integers(1, 8)))
    return np.asarray(image)


def pixel_art(rng: np.random.Generator, side: int) -> np.ndarray:
    """Squares of 1 to 16 px in a few colours, partly in larger blocks of one colour."""
    pixel = int(rng.integers(1, 17))
    cells = -(-side // pixel)
    palette = np.array([colour(rng) for _ in range(int(rng.integers(2, 13)))], np.uint8)
    chosen = rng.integers(0, len(palette), (cells, cells))
    if rng.random() < 0.5:
        coarse = rng.integers(0, len(palette), (cells // 4 + 1, cells // 4 + 1))
        blocks = coarse.repeat(4, 0).repeat(4, 1)[:cells, :cells]
        chosen = np.where(rng.random((cells, cells)) < 0.8, blocks, chosen)
    return palette[chosen].repeat(pixel, 0).repeat(pixel, 1)[:side, :side]


def gradient(rng: np.random.Generator, side: int) -> np.ndarray:
    """A smooth surface between four colours at the corners."""
    corners = np.array([colour(rng) for _ in range(4)], np.uint8).reshape(2, 2, 3)
    image = Image.fromarray(corners).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(image)


def noise(rng: np.random.Generator, side: int) -> np.ndarray:
    """Grain of 1 to 6 px around two colours, from faint to all values equally likely."""
    grain = int(rng.integers(1, 7))
    cells = -(-side // grain)
    if rng.random() < 0.2:
        small = rng.integers(0, 256, (cells, cells, 3)).astype(float)
    else:
        small = np.full((cells, cells, 3), colour(rng), float)
        small[:, cells // 2 :] = colour(rng)
        small += rng.normal(0, rng.uniform(2, 80), (cells, cells, 3 if rng.random() < 0.7 else 1))
    dots = Image.fromarray(np.clip(np.rint(small), 0, 255).astype(np.uint8))
    way = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC
    return np.asarray(dots.resize((cells * grain, cells * grain), way))[:side, :side]
