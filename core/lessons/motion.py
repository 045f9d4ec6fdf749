"""Motion magnification: small motions of a clip made visible, by linear Eulerian magnification.

Every frame is split into spatial bands by a Laplacian pyramid. In one of these, or in several, each
pixel is a signal in time; a band-pass filter keeps what changes at the chosen frequencies, and the
result is added back `alpha` times. For a motion d(t) that is small against the wavelength λ,
f(x + d) ≈ f(x) + d f'(x), so adding α d f'(x) gives the motion (1 + α) d. That holds while
(1 + α) d < λ / 8.
Source: Wu et al., "Eulerian Video Magnification for Revealing Subtle Changes in the World", 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence, UnidentifiedImageError
from scipy import ndimage, signal

from core import checks, images
from core.errors import BadImage, InputError

MOST_FRAMES = 200
MOST_PIXELS = 240 * 240  # of a frame; larger ones are reduced
MOST_TOTAL = 200_000_000  # pixels of all frames as they stand in the file
LEVELS = 5  # of the pyramid: the first holds the finest details
FEWEST = 8  # frames
ROWS = 16  # that are filtered at once
MOST_ALPHA = 100.0
FORMATS = ("GIF", "WEBP", "PNG")
_USUAL = 100.0  # milliseconds for a frame whose time is not told, as browsers have it

Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """`frames` (T, H, W, 3) float32 in 0..1, and `fps`, frames per second."""

    frames: Frames
    fps: float

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3:
            raise ValueError(f"frames {self.frames.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class Magnified:
    """The clip, what the filter found in it ("changes", as `frames` of the clip but around 0), and
    the clip with `alpha` times that added. `low` and `high` are the frequencies in Hz that were
    used, limited to what the frame rate can show."""

    original: Clip
    changes: Frames
    alpha: float
    low: float
    high: float

    @property
    def frames(self) -> Frames:
        """(T, H, W, 3) float32 in 0..1."""
        found = self.original.frames + np.float32(self.alpha) * self.changes
        return np.clip(found, 0, 1)


def magnify(
    clip: Clip,
    alpha: float = 10.0,
    low: float = 0.4,
    high: float = 3.0,
    levels: tuple[float, float] = (2, LEVELS),
) -> Magnified:
    """Make the motions of a clip larger that lie in a band of frequencies and of sizes.

    Args:
        alpha: how many times the motion is added, 0 to 100.
        low, high: frequencies in Hz, above 0 and below half of the frame rate; a larger `high` is
            limited to that.
        levels: the first and the last level of the pyramid that are used, 1 (finest) to 5.

    Raises:
        InputError: a number is out of range, or the clip has fewer than 8 frames.
    """
    alpha = checks.number(alpha, "The amplification", 0, MOST_ALPHA)
    first = checks.whole(levels[0], "The finest level", 1, LEVELS)
    last = checks.whole(levels[1], "The coarsest level", first, LEVELS)
    count = len(clip.frames)
    if count < FEWEST:
        raise InputError(f"The clip has {count} frames; please give one of {FEWEST} or more.")
    low, high = band(clip.fps, low, high)
    changes = bandpassed(_between(clip.frames, first, last), clip.fps, low, high)
    return Magnified(clip, changes, alpha, low, high)


def band(fps: float, low: float, high: float) -> tuple[float, float]:
    """The frequencies that a filter can use at a frame rate.

    Raises:
        InputError: they are out of range or in the wrong order.
    """
    most = fps / 2
    low = checks.number(low, "The lower frequency", 0.01, 1000, "Hz")
    high = min(checks.number(high, "The upper frequency", 0.01, 1000, "Hz"), 0.99 * most)
    if low >= high:
        raise InputError(
            f"The lower frequency must be below the upper one, and below {0.99 * most:.3g} Hz, "
            f"since the clip has {fps:.3g} frames a second."
        )
    return low, high


def bandpassed(values: Frames, fps: float, low: float, high: float) -> Frames:
    """Each pixel's signal in time between two frequencies, without a shift in time: a Butterworth
    filter of first order, run forwards and backwards.

    Args:
        values: (T, H, …) float32, T at least `FEWEST`.
        low, high: in Hz, 0 < low < high < fps / 2.
    """
    sections = signal.butter(1, (low, high), "bandpass", fs=fps, output="sos")
    pad = min(len(values) - 1, max(3, round(fps / low)))
    found = np.empty_like(values)
    for row in range(0, values.shape[1], ROWS):  # the filter computes in float64
        part = values[:, row : row + ROWS]
        found[:, row : row + ROWS] = signal.sosfiltfilt(sections, part, axis=0, padlen=pad)
    return found


def _between(frames: Frames, first: int, last: int) -> Frames:
    """The sum of the levels `first` to `last` of each frame's Laplacian pyramid, (T, H, W, 3).

    Level n is the difference of two Gaussians of 2 ** (n - 1) and 2 ** n pixels at full size, which
    is the pyramid without its resampling; the first begins with the frame itself, and the last
    keeps what is coarser.
    """
    fine = frames if first == 1 else _blurred(frames, 2.0 ** (first - 1))
    if last == LEVELS:
        return fine
    return fine - _blurred(frames, 2.0**last)


def _blurred(frames: Frames, sigma: float) -> Frames:
    return ndimage.gaussian_filter(frames, (0, sigma, sigma, 0), mode="nearest", truncate=3.0)


# ---- clips in and out
def read(source: Path | bytes) -> Clip:
    """The frames of an animated GIF, WebP or PNG, reduced to `MOST_PIXELS` each.

    Raises:
        BadImage: it is none of these, is damaged, or holds more than a program of this size takes.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > images.MAX_BYTES:
        most = images.MAX_BYTES // 2**20
        raise BadImage(f"The clip is larger than {most} MB; please give a shorter or smaller one.")
    wrong = "This is no animated GIF, WebP or PNG; please give a clip in one of these formats."
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as file:
            if file.format not in FORMATS or getattr(file, "n_frames", 1) < 2:
                raise BadImage(wrong)
            frames, times = _frames(file)
    except BadImage:
        raise
    except UnidentifiedImageError as error:
        raise BadImage(wrong) from error
    except Exception as error:  # Pillow raises whatever a damaged file leads it to
        raise BadImage("The clip is damaged; please give another one.") from error
    return _even(frames, times)


def _frames(file: Image.Image) -> tuple[list[Frames], list[float]]:
    """(H, W, 3) float32 of each frame, over white, and its milliseconds."""
    count, pixels = getattr(file, "n_frames", 1), file.width * file.height
    if count > MOST_FRAMES:
        raise BadImage(f"The clip has {count} frames; please give one of {MOST_FRAMES} at most.")
    if count * pixels > MOST_TOTAL:
        raise BadImage(
            f"The clip has {count} frames of {file.width} x {file.height} pixels; please give a "
            "shorter or smaller one."
        )
    factor = min(1.0, (MOST_PIXELS / pixels) ** 0.5)
    size = max(1, round(file.width * factor)), max(1, round(file.height * factor))
    frames: list[Frames] = []
    times: list[float] = []
    for frame in ImageSequence.Iterator(file):
        whole = frame.convert("RGBA")
        white = Image.new("RGBA", whole.size, "white")
        shown = Image.alpha_composite(white, whole).convert("RGB")
        if factor < 1:
            shown = shown.resize(size, Image.Resampling.BOX)
        frames.append(np.asarray(shown, np.float32) / np.float32(255))
        told = float(frame.info.get("duration") or 0)
        times.append(told if told > 10 else _USUAL)  # browsers do not play faster
    return frames, times


def _even(frames: list[Frames], times: list[float]) -> Clip:
    """The frames at even steps of time, as a filter needs them: a frame that is shown for longer
    counts several times, since writers of clips merge frames that are alike.
    """
    step = float(np.gcd.reduce(np.rint(times).astype(int)))
    if step <= 10:  # e.g. 33 and 34 ms by turns
        step = min(times)
    shown = [max(1, round(one / step)) for one in times]
    if sum(shown) > MOST_FRAMES:
        step = sum(times) / MOST_FRAMES
        ends = np.cumsum(times)
        places = np.searchsorted(ends, (np.arange(MOST_FRAMES) + 0.5) * step)
        even = [frames[min(place, len(frames) - 1)] for place in places]
    else:
        even = [one for one, count in zip(frames, shown, strict=True) for _ in range(count)]
    return Clip(np.stack(even), 1000 / step)


def write(frames: Frames, fps: float, path: Path) -> Path:
    """Frames (T, H, W, 3) in 0..1 as an animated WebP that plays for ever; returns the path."""
    whole = [Image.fromarray(np.rint(255 * frame).astype(np.uint8)) for frame in frames]
    whole[0].save(
        path,
        "WEBP",
        save_all=True,
        append_images=whole[1:],
        duration=round(1000 / fps),
        loop=0,
        quality=85,
        method=0,
    )
    return path


def slice_of(frames: Frames, row: float = 0.5) -> images.RGB:
    """(T, W, 3) uint8: one row of pixels in every frame, time downwards.

    Args:
        row: its place, as a share of the height, 0 to 1.
    """
    place = round(checks.number(row, "The row", 0, 1) * (frames.shape[1] - 1))
    return np.rint(255 * frames[:, place]).astype(np.uint8)


@lru_cache(maxsize=1)
def example(
    amplitude: float = 0.3, frequency: float = 1.0, seconds: float = 4.0, fps: float = 20.0
) -> Clip:
    """A clip to begin with: a still life whose middle object sways, and whose lamp changes colour,
    so little that it looks still.

    Args:
        amplitude: of the motion, in pixels.
        frequency: of both, in Hz.
    """
    side = 160
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    time = np.arange(round(seconds * fps)) / fps
    frames = np.empty((len(time), side, side, 3), np.float32)
    ground = 0.55 + 0.12 * np.sin(x / 23) * np.cos(y / 31)
    floor = 1 / (1 + np.exp(-(y - 118) / 3))
    for number, moment in enumerate(time):
        wave = np.sin(2 * np.pi * frequency * moment)
        middle = 80 + amplitude * wave * (130 - y) / 70  # it bends: the top moves most
        stem = np.exp(-(((x - middle) / 5) ** 2)) * (y > 62) * (y < 130)
        head = 1 / (1 + np.exp((np.hypot(x - 80 - amplitude * wave, y - 50) - 19) / 2.5))
        lamp = np.exp(-(((x - 132) ** 2 + (y - 34) ** 2) / 130))
        red = ground * (1 - 0.5 * floor) + lamp * (0.25 + 0.01 * wave)
        green = ground * (1 - 0.35 * floor) + 0.1 * lamp
        blue = ground * (1 - 0.1 * floor)
        for channel, (base, of_stem, of_head) in enumerate(
            ((red, 0.15, 0.92), (green, 0.45, 0.72), (blue, 0.2, 0.15))
        ):
            mixed = base * (1 - stem) + of_stem * stem
            frames[number, ..., channel] = mixed * (1 - head) + of_head * head
    return Clip(np.clip(frames, 0, 1), fps)
