"""ICC profiles for tests, from published primaries and curves (ICC.1:2001-04 and ICC.1:2010).

Matrix and curve profiles for RGB, curve profiles for grey, and table profiles (`mft1`) from any
function, such as simple ink. Nothing here uses the code that the tests are about.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Sequence

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
PRIMARIES = {  # red, green and blue x, y, then the white's
    "srgb": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, *D65),
    "p3": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *D65),
    "adobe": (0.64, 0.33, 0.21, 0.71, 0.15, 0.06, *D65),
    "rec2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *D65),
    "prophoto": (0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001, 0.3457, 0.3585),
}
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
Curve = float | str


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def curve(shape: Curve) -> bytes:
    """A `curv` of one gamma, or "srgb" (`para`) or "srgb table" (1024 entries)."""
    if shape == "srgb":
        numbers = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
        return b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + b"".join(map(_fixed, numbers))
    if shape == "srgb table":
        x = np.linspace(0, 1, 1024)
        y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
        return (
            b"curv\0\0\0\0" + struct.pack(">I", 1024) + np.rint(y * 65535).astype(">u2").tobytes()
        )
    assert isinstance(shape, float)
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(shape * 256))


def colorants(name: str) -> np.ndarray:
    """The columns rXYZ, gXYZ and bXYZ of named primaries, adapted to D50."""
    red, green, blue, white = np.reshape(PRIMARIES[name], (4, 2))

    def to_xyz(xy: np.ndarray) -> np.ndarray:
        return np.array([xy[0] / xy[1], 1.0, (1 - xy.sum()) / xy[1]])

    columns = np.stack([to_xyz(red), to_xyz(green), to_xyz(blue)], axis=1)
    columns = columns * np.linalg.solve(columns, to_xyz(white))
    scale = (BRADFORD @ D50) / (BRADFORD @ to_xyz(white))
    return np.linalg.inv(BRADFORD) @ np.diag(scale) @ BRADFORD @ columns


def _profile(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes], major: int) -> bytes:
    name = b"made for a test"
    if major < 4:
        tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79)
        tags[b"cprt"] = b"text\0\0\0\0CC0\0"
    else:
        for tag, text in ((b"desc", name.decode()), (b"cprt", "CC0")):
            wide = text.encode("utf-16-be")
            head = struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(wide), 28)
            tags[tag] = b"mluc\0\0\0\0" + head + wide
    tags[b"wtpt"] = _xyz(D50)
    table, body, offset = b"", b"", 132 + 12 * len(tags)
    for tag, content in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"lcms", major << 24, kind, space, pcs)
    head += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += b"".join(map(_fixed, D50)) + bytes(48)
    assert len(head) == 128
    return head + struct.pack(">I", len(tags)) + table + body


def rgb(primaries: str, shape: Curve, major: int = 2) -> bytes:
    """A profile of a matrix and one curve for all channels."""
    tags = {
        tag: _xyz(column)
        for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants(primaries).T, strict=True)
    }
    tags |= {tag: curve(shape) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags, major)


def grey(shape: Curve, major: int = 2) -> bytes:
    return _profile(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": curve(shape)}, major)


def table(space: bytes, to_lab: Callable[..., tuple[float, float, float]], points: int) -> bytes:
    """A profile of an 8-bit table with `points` along each channel, for two intents."""
    channels = {b"RGB ": 3, b"CMYK": 4}[space]
    entries = bytearray()
    for values in itertools.product(np.linspace(0, 1, points), repeat=channels):
        lightness, a, b = to_lab(*values)
        entries += bytes(
            int(np.clip(round(v), 0, 255)) for v in (lightness * 2.55, a + 128, b + 128)
        )
    straight = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([channels, 3, points, 0])
    lut += b"".join(map(_fixed, np.eye(3).ravel()))
    lut += straight * channels + bytes(entries) + straight * 3
    return _profile(space, b"Lab ", b"prtr", {b"A2B0": lut, b"A2B1": lut}, 2)


def ink(c: float, m: float, y: float, k: float) -> tuple[float, float, float]:
    """Lab of a simple print, whose black is dark grey and whose paper is a little warm."""
    red, green, blue = ((1 - 0.9 * ink_) * (1 - 0.85 * k) for ink_ in (c, m, y))
    light = 0.25 * red + 0.65 * green + 0.1 * blue
    return (
        10 + 86 * light,
        60 * (red - green) - 1,
        50 * (0.5 * (red + green) - blue) + 3,
    )


def named(primaries: int, transfer: int) -> bytes:
    """A profile of version 4.4 that names code points of H.273 (tag `cicp`), for HDR."""
    tags = {
        tag: _xyz(column)
        for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants("rec2020").T, strict=True)
    }
    tags |= {tag: curve(2.4) for tag in (b"rTRC", b"gTRC", b"bTRC")}
    tags[b"cicp"] = b"cicp\0\0\0\0" + bytes([primaries, transfer, 0, 1])
    return _profile(b"RGB ", b"XYZ ", b"mntr", tags, 4)
