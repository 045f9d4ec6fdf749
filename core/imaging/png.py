"""Write PNG files in a sixth of Pillow's time, for pictures sent back to a visitor.

Each row is stored as its difference from the row above and compressed by ISA-L (Intel's igzip,
which also runs on ARM and AMD), or by zlib if that is missing. Pillow tries five filters per row
and uses zlib. The files of 14 photographs were 2 % larger than Pillow's at its fastest level.
Source: "Portable Network Graphics (PNG) Specification", third edition, W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.cpu.own_ways import OwnWay

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BAND_BYTES = 2**19  # per band, so that it is still in the CPU cache
_COLOUR_TYPES = {3: 2, 4: 6}  # channels -> truecolour, truecolour with alpha
SRGB = (b"sRGB", b"\0")  # the chunk that names the colour space; 0 is the perceptual intent
_UP = 2  # the filter that subtracts the row above


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB or (H, W, 4) RGBA uint8 as the bytes of a PNG file.

    The file is tagged as sRGB and holds no other metadata.

    Raises:
        ValueError: another shape.
    """
    return b"".join(parts(pixels))


def parts(pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    """`encode` in pieces, so that a large file need not be in memory as a whole."""
    height, width, channels = pixels.shape
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"{channels} channels instead of 3 or 4")
    yield SIGNATURE
    yield _chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0))
    yield _chunk(*SRGB)
    for packed in _packed(pixels):
        yield _chunk(b"IDAT", packed)
    yield _chunk(b"IEND", b"")


def _packed(pixels: NDArray[np.uint8]) -> Iterator[bytes]:
    packer: Any = _isal_packer() if ISAL.works() else zlib.compressobj(1)
    length = pixels.shape[1] * pixels.shape[2]
    above = np.zeros((1, length), np.uint8)
    count = max(1, BAND_BYTES // length)
    for start in range(0, len(pixels), count):
        band = np.ascontiguousarray(pixels[start : start + count]).reshape(-1, length)
        filtered = np.empty((len(band), 1 + length), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(band[:1], above, out=filtered[:1, 1:])  # modulo 256, as the format requires
        np.subtract(band[1:], band[:-1], out=filtered[1:, 1:])
        above = band[-1:]
        if packed := packer.compress(filtered):
            yield packed
    yield packer.flush()


def _isal_packer() -> Any:
    from isal import isal_zlib

    return isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION)


def _trial() -> bool:
    rows = np.arange(60_000).astype(np.uint8)
    packer = _isal_packer()
    packed = packer.compress(rows) + packer.compress(rows[::-1].copy()) + packer.flush()
    return zlib.decompress(packed) == rows.tobytes() + rows[::-1].tobytes()


ISAL = OwnWay("ISA-L for PNG files", _trial)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(content)), kind, content, struct.pack(">I", checksum)))
