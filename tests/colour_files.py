"""Picture files of every kind of colour, made for tests; the right values come from elsewhere."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from tests import profiles
from tests.odd_files import file_of

SIGNATURE = b"\x89PNG\r\n\x1a\n"
Chunk = tuple[bytes, bytes]


def chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum


def png(pixels: np.ndarray, *chunks: Chunk) -> bytes:
    """(H, W) or (H, W, 2, 3 or 4), uint8 or uint16, as PNG with chunks of one's own."""
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    depth = pixels.dtype.itemsize * 8
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], depth, kind, 0, 0, 0)
    big_endian = pixels.astype(pixels.dtype.newbyteorder(">"))
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in big_endian))
    parts = [(b"IHDR", head), *chunks, (b"IDAT", rows), (b"IEND", b"")]
    return SIGNATURE + b"".join(chunk(*part) for part in parts)


def iccp(profile: bytes) -> Chunk:
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


def cicp(primaries: int, transfer: int, matrix: int = 0, full: int = 1) -> Chunk:
    return b"cICP", bytes([primaries, transfer, matrix, full])


def gama(value: float) -> Chunk:
    return b"gAMA", struct.pack(">I", round(value * 100_000))


def chrm(name: str) -> Chunk:
    points = profiles.PRIMARIES[name]
    return b"cHRM", struct.pack(">8I", *(round(v * 100_000) for v in (*points[6:], *points[:6])))


def clli(nits: float) -> Chunk:
    return b"cLLI", struct.pack(">II", round(nits * 10_000), 0)


def mdcv(nits: float) -> Chunk:
    points = (35400, 14600, 8500, 39850, 6550, 2300, 15635, 16450)
    return b"mDCV", struct.pack(">8HII", *points, round(nits * 10_000), 1)


def with_nclx(data: bytes, primaries: int, transfer: int) -> bytes:
    """An AVIF or HEIC file whose `colr` box names other code points."""
    at = data.index(b"colrnclx") + 8
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


def bmp5(pixels: np.ndarray, profile: bytes) -> bytes:
    """A bitmap with a BITMAPV5HEADER and an embedded profile."""
    plain = file_of(pixels, "BMP")
    head = bytearray(plain[14:54] + bytes(84))
    struct.pack_into("<I", head, 0, 124)
    head[56:60] = b"DEBM"
    body = plain[54:]
    struct.pack_into("<II", head, 112, 124 + len(body), len(profile))
    size = 14 + 124 + len(body) + len(profile)
    return b"BM" + struct.pack("<IHHI", size, 0, 0, 138) + head + body + profile


PATCHES: Sequence[tuple[int, int, int]] = (
    (200, 60, 50),
    (60, 180, 70),
    (60, 80, 190),
    (220, 150, 60),
    (10, 10, 10),
    (128, 128, 128),
    (255, 255, 255),
    (90, 20, 140),
)
CELL = 16  # pixels a side of a patch


def patches(scale: int = 1) -> np.ndarray:
    """(16, 128, 3): one cell for each of `PATCHES`, times `scale` (257 for 16 bits)."""
    row = np.array(PATCHES, np.uint8 if scale == 1 else np.uint16) * scale
    return row[None].repeat(CELL, 0).repeat(CELL, 1)


def cells(picture: np.ndarray | Image.Image) -> np.ndarray:
    """The middle of each cell, (8, 3) int."""
    return np.asarray(picture)[CELL // 2, CELL // 2 :: CELL].astype(int)


def noise(kind: type[np.unsignedinteger] = np.uint8, seed: int = 0) -> np.ndarray:
    """(32, 64, 3) random colours, the upper half of them darker, where curves differ most."""
    top = np.iinfo(kind).max
    values = np.random.default_rng(seed).integers(0, top + 1, (32, 64, 3)).astype(np.float64)
    values[:16] *= 0.2
    return values.astype(kind)


Maker = Callable[[], bytes]
