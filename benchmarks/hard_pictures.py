"""Pictures unlike the training data of restoration networks: saturated, graphic, noisy."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.startup import ROOT
from core.types import RGB

_AXIS = (0, 64, 128, 191, 255)
_STRONG = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (0, 255, 255), (255, 255, 0))


def flats(side: int = 24) -> list[RGB]:
    """125 pictures of one colour each: every mix of five values a channel."""
    return [
        np.full((side, side, 3), (r, g, b), np.uint8) for r in _AXIS for g in _AXIS for b in _AXIS
    ]


def spot() -> RGB:
    """Grey 150 with 4 x 4 pixels of pure blue."""
    picture = np.full((64, 64, 3), 150, np.uint8)
    picture[30:34, 30:34] = (0, 0, 255)
    return picture


def coloured_text(ground: tuple[int, int, int], seed: int = 0) -> RGB:
    """Lines of text in strong colours and different sizes."""
    image = Image.new("RGB", (160, 120), ground)
    draw, rng = ImageDraw.Draw(image), np.random.default_rng(seed)
    for line, size in enumerate((10, 13, 18, 24)):
        colour = _STRONG[rng.integers(len(_STRONG))]
        font = ImageFont.load_default(size)
        draw.text((4, 4 + 27 * line), "Sphinx 0123 & co", fill=colour, font=font)
    return np.asarray(image)


def pixel_art(pixel: int = 4, seed: int = 0) -> RGB:
    """Squares of `pixel` x `pixel` in 12 strong colours."""
    colours = [(r, g, b) for r in (0, 255) for g in (0, 128, 255) for b in (0, 255)]
    chosen = np.random.default_rng(seed).integers(0, len(colours), (96 // pixel, 96 // pixel))
    return np.array(colours, np.uint8)[chosen].repeat(pixel, 0).repeat(pixel, 1)


def noise(sigma: float | None, level: float = 128, seed: int = 0) -> RGB:
    """White noise of `sigma` around a grey level; None for values that are all equally likely."""
    rng = np.random.default_rng(seed)
    if sigma is None:
        return rng.integers(0, 256, (96, 96, 3), dtype=np.uint8)
    return np.clip(np.rint(rng.normal(level, sigma, (96, 96, 3))), 0, 255).astype(np.uint8)


def gradients() -> list[RGB]:
    """Ramps between saturated colours."""
    x = np.linspace(0, 255, 128)[None].repeat(64, 0)
    y = np.linspace(255, 0, 64)[:, None].repeat(128, 1)
    none, full = 0 * x, 0 * x + 255
    planes = ((x, none, y), (none, none, x), (x, y, none), (none, x, x), (x, full, y), (y, x, full))
    return [np.stack(three, 2).astype(np.uint8) for three in planes]


def example(name: str) -> RGB:
    """One of the pictures in `examples/`."""
    with Image.open(ROOT / "examples" / name) as image:
        return np.asarray(image.convert("RGB"))


def kinds() -> dict[str, list[RGB]]:
    """All of them by kind."""
    grounds = ((255, 0, 40), (0, 0, 0), (255, 255, 255), (0, 90, 255), (255, 230, 0))
    return {
        "flat colours": flats(),
        "blue spot": [spot()],
        "coloured text": [coloured_text(ground, i) for i, ground in enumerate(grounds)],
        "pixel art": [pixel_art(pixel) for pixel in (1, 2, 4, 8)],
        "noise": [noise(None), *(noise(s, level) for s in (25, 50) for level in (30, 128, 225))],
        "noisy photographs": [example("noisy.png"), example("noisy-2.png")],
        "saturated gradients": gradients(),
    }
