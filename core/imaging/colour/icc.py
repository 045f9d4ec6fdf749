"""ICC profiles of pictures: 8-bit pixels through littleCMS, 16-bit ones by matrix and curves.

Measured to match Chromium 156: the perceptual table if a profile has tables, no black point
compensation, and media white as in the profile. CMYK is converted relative to the paper, which is
littleCMS's default; browsers ignore CMYK profiles.
Source: ICC.1:2010 for the file format.
"""

from __future__ import annotations

import hashlib
import io
import struct
import threading
from dataclasses import dataclass
from functools import cache

import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray
from PIL import Image, ImageCms

from core.imaging.colour import spaces
from core.imaging.colour.spaces import Curve, Space

_FIXED_DATE = struct.pack(">6H", 2020, 1, 1, 0, 0, 0)
_KEEP_WHITE = 0x0004  # cmsFLAGS_NOWHITEONWHITEFIXUP, not named in Pillow
_GREY_MODES = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_cache: LRUCache[tuple[bytes, str], Conversion | None] = LRUCache(32)
_lock = threading.Lock()


@cache
def srgb() -> bytes:
    """A small sRGB profile, always the same bytes, to embed in the files that we write."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[24:36] = _FIXED_DATE
    return bytes(made)


@cache
def lab() -> bytes:
    """The profile of CIE Lab, D50, used for every Lab picture."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a profile does to 8-bit pixels; both fields are empty if they are already sRGB."""

    transform: ImageCms.ImageCmsTransform | None = None
    greys: bytes = b""  # 256 values of a grey profile

    @property
    def changes(self) -> bool:
        return self.transform is not None or bool(self.greys)


def conversion(profile: bytes, mode: str) -> Conversion | None:
    """How a profile turns pixels of a Pillow mode into sRGB; None if broken or for another mode.

    A grey picture may have an RGB profile, as in browsers; all other kinds must match.
    """
    target = mode if mode in ("CMYK", "LAB", "RGBA") else "RGB"
    kind = "L" if mode in _GREY_MODES and profile[16:20] == b"GRAY" else target
    key = (hashlib.sha256(profile).digest(), kind)
    with _lock:
        if key in _cache:
            return _cache[key]
    try:
        found: Conversion | None = _conversion(profile, kind)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        found = None
    with _lock:
        _cache[key] = found
    return found


def _conversion(profile: bytes, kind: str) -> Conversion:
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    # With a target of version 4, littleCMS compensates the black point of perceptual transforms.
    older = bytearray(srgb())
    older[8] = 2
    target = ImageCms.ImageCmsProfile(io.BytesIO(bytes(older)))
    # A grey profile only needs 256 exact values; littleCMS would fit a curve.
    exact = ImageCms.Flags.NOOPTIMIZE if kind == "L" else ImageCms.Flags.HIGHRESPRECALC
    perceptual = kind != "CMYK"
    transform = ImageCms.buildTransform(
        source,
        target,
        kind,
        "RGBA" if kind == "RGBA" else "RGB",
        ImageCms.Intent.PERCEPTUAL if perceptual else ImageCms.Intent.RELATIVE_COLORIMETRIC,
        exact | ImageCms.Flags(_KEEP_WHITE) if perceptual else ImageCms.Flags.NONE,
    )
    if kind in ("CMYK", "LAB"):
        return Conversion(transform)
    if kind == "L":
        ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
        greys = np.asarray(ImageCms.applyTransform(ramp, transform))[0, :, 1]
        return Conversion(greys=b"" if _close(greys, np.arange(256)) else greys.tobytes())
    probe = _probe()
    result = np.asarray(ImageCms.applyTransform(Image.fromarray(probe).convert(kind), transform))
    return Conversion(None if _close(result[..., :3], probe) else transform)


def _close(a: NDArray[np.integer], b: NDArray[np.integer]) -> bool:
    return int(np.abs(a.astype(int) - b).max()) <= 1


@cache
def _probe() -> NDArray[np.uint8]:
    """(289, 17, 3): colours across the cube, to test whether a profile is sRGB."""
    steps = np.rint(np.linspace(0, 255, 17)).astype(np.uint8)
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(289, 17, 3)


def apply(image: Image.Image, found: Conversion) -> Image.Image:
    """Convert 8-bit RGB, RGBA, CMYK or Lab to sRGB, in place if its mode stays; alpha is kept.

    The conversion must be made for the picture's mode, or for grey.
    """
    if found.greys:
        straight = bytes(range(256)) if image.mode == "RGBA" else b""
        return image.point(list(found.greys * 3 + straight))
    if found.transform is None:
        return image
    in_place = image.mode not in ("CMYK", "LAB")
    return ImageCms.applyTransform(image, found.transform, inPlace=in_place) or image


def space(profile: bytes) -> Space | None:
    """The colour space of an RGB or grey profile made of curves, or of one that names PQ or HLG.

    None if the profile has tables instead, or cannot be read.
    """
    try:
        return _coded(profile) or _matrix_space(profile)
    except (struct.error, ValueError, IndexError, KeyError):
        return None


def hdr(profile: bytes) -> Space | None:
    """The space of a profile that names PQ or HLG (tag cicp, ICC.1:2022); None for all others."""
    try:
        found = _coded(profile)
    except (struct.error, ValueError, IndexError, KeyError):
        return None
    return found if found is not None and found.peak is not None else None


def _tags(profile: bytes) -> dict[bytes, bytes]:
    count = min(int.from_bytes(profile[128:132], "big"), 100)
    entries = (struct.unpack_from(">4sII", profile, 132 + 12 * i) for i in range(count))
    return {name: profile[at : at + size] for name, at, size in entries}


def _coded(profile: bytes) -> Space | None:
    tag = _tags(profile).get(b"cicp", b"")
    if profile[16:20] != b"RGB " or len(tag) < 12 or tag[11] != 1:
        return None
    return spaces.coded(tag[8], tag[9])


def _matrix_space(profile: bytes) -> Space | None:
    tags = _tags(profile)
    if profile[20:24] != b"XYZ " or any(name in tags for name in (b"A2B0", b"A2B1")):
        return None
    if profile[16:20] == b"GRAY":
        return Space((_curve(tags[b"kTRC"]),) * 3, spaces.to_xyz(spaces.SRGB))
    if profile[16:20] != b"RGB ":
        return None
    red, green, blue = (_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    return Space((red, green, blue), np.array(columns, np.float64).T / 65536)


def _curve(tag: bytes) -> Curve:
    """A `curv` or `para` as a function (ICC.1:2010, 10.5 and 10.16)."""
    if tag[:4] == b"curv":
        count = int.from_bytes(tag[8:12], "big")
        if count == 0:
            return spaces.gamma(1.0)
        values = np.frombuffer(tag, ">u2", count, 12)
        if count == 1:
            return spaces.gamma(float(values[0]) / 256)
        table = values / 65535
        return lambda code: np.asarray(np.interp(code, np.linspace(0, 1, count), table))
    if tag[:4] != b"para":
        raise ValueError("not a curve")
    kind = int.from_bytes(tag[8:10], "big")
    numbers = [n / 65536 for n in struct.unpack_from(f">{(1, 3, 4, 5, 7)[kind]}i", tag, 12)]
    if kind in (1, 2):  # below -b / a: zero, or the constant c
        g, a, b, c = (*numbers, 0.0)[:4]
        return spaces.parametric(g, a, b, 0.0, -b / a, c, c)
    return spaces.parametric(*numbers)
