"""Colour tags of file containers that the picture library does not expose.

Sources: PNG (third edition, W3C 2025): cICP, cHRM, gAMA, sRGB, mDCV, cLLI; ISO/IEC 23008-12 (HEIF,
and AVIF on top of it): the properties colr, clli and mdcv of the primary item; BITMAPV5HEADER.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from core.imaging.colour import spaces
from core.imaging.colour.spaces import Space

_MOST_BOXES = 10_000
# Only these transfer functions of HEIF and AVIF differ from sRGB; Chromium treats BT.709's as sRGB,
# as most cameras intend.
_FOREIGN_CURVES = (4, 5, 7, 8, 16, 17, 18)


def png_chunks(data: bytes) -> dict[bytes, bytes]:
    """The colour chunks before the pixels, the first of each name; bad checksums drop a chunk."""
    chunks: dict[bytes, bytes] = {}
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            break
        if name in (b"cICP", b"cHRM", b"gAMA", b"sRGB", b"cLLI", b"mDCV") and length <= 64:
            content, end = data[at + 8 : at + 8 + length], at + 8 + length
            if data[end : end + 4] == zlib.crc32(name + content).to_bytes(4, "big"):
                chunks.setdefault(name, content)
        at += 12 + length
    return chunks


def png_cicp(chunks: dict[bytes, bytes]) -> tuple[bool, Space | None]:
    """Whether a cICP chunk is valid, and its space (None for sRGB).

    Valid as in browsers: known code points, RGB and full range.
    """
    cicp = chunks.get(b"cICP", b"")
    if len(cicp) != 4 or cicp[2:] != b"\0\1":
        return False, None
    space = spaces.coded(cicp[0], cicp[1], _png_nits(chunks))
    return space is not None or cicp[:2] == b"\x01\x0d", space


def _png_nits(chunks: dict[bytes, bytes]) -> float:
    """Peak luminance of the content, or else of the mastering display; 0 if not given."""
    content, screen = chunks.get(b"cLLI", b""), chunks.get(b"mDCV", b"")
    nits = struct.unpack_from(">I", content)[0] if len(content) == 8 else 0
    if not nits and len(screen) == 24:
        nits = struct.unpack_from(">I", screen, 16)[0]
    return nits / 10_000


def png_gamma(chunks: dict[bytes, bytes]) -> Space | None:
    """The space of gAMA and cHRM; None if missing, overridden by sRGB, or close to it."""
    content = chunks.get(b"gAMA", b"")
    gamma = struct.unpack(">I", content)[0] / 100_000 if len(content) == 4 else 0
    if not gamma or b"sRGB" in chunks:
        return None
    points = chunks.get(b"cHRM", b"")
    if len(points) != 32:
        if abs(2.2 * gamma - 1) < 0.05:  # nearly every writer means sRGB
            return None
        return Space((spaces.gamma(1 / gamma),) * 3, spaces.to_xyz(spaces.SRGB))
    numbers = [value / 100_000 for value in struct.unpack(">8I", points)]
    try:
        xyz = spaces.to_xyz([*numbers[2:], *numbers[:2]])
    except ValueError:
        return None
    return Space((spaces.gamma(1 / gamma),) * 3, xyz)


def heif_space(data: bytes) -> Space | None:
    """The space in the primary picture's `nclx`; None for sRGB or without one."""
    nclx: tuple[int, int] | None = None
    nits = {b"clli": 0.0, b"mdcv": 0.0}
    for name, at, end in _primary_properties(data):
        if name == b"colr" and data[at : at + 4] == b"nclx" and end - at >= 10:
            nclx = nclx or struct.unpack_from(">HH", data, at + 4)
        elif name == b"clli" and end - at >= 4:
            nits[name] = float(struct.unpack_from(">H", data, at)[0])
        elif name == b"mdcv" and end - at >= 20:
            nits[name] = struct.unpack_from(">I", data, at + 16)[0] / 10_000
    if nclx is None:
        return None
    primaries = nclx[0] if nclx[0] in spaces.PRIMARIES else 1
    transfer = nclx[1] if nclx[1] in _FOREIGN_CURVES else 13
    return spaces.coded(primaries, transfer, nits[b"clli"] or nits[b"mdcv"])


Box = tuple[bytes, int, int]  # name, start and end of its content


def _primary_properties(data: bytes) -> list[Box]:
    """The properties of the primary item; of all items where the file does not say which."""
    for name, at, end in _boxes(data, 0, len(data)):
        if name == b"meta":
            inside = {box[0]: box for box in _boxes(data, at + 4, end)}
            break
    else:
        return []
    if b"iprp" not in inside:
        return []
    tables = {box[0]: box for box in _boxes(data, *inside[b"iprp"][1:])}
    if b"ipco" not in tables:
        return []
    properties = list(_boxes(data, *tables[b"ipco"][1:]))
    if b"pitm" not in inside or b"ipma" not in tables:
        return properties
    _, at, end = inside[b"pitm"]
    primary = int.from_bytes(data[at + 4 : at + (8 if data[at] else 6)], "big")
    wanted = _associated(data, *tables[b"ipma"][1:], primary)
    return [box for number, box in enumerate(properties, 1) if number in wanted]


def _boxes(data: bytes, at: int, end: int) -> Iterator[Box]:
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1 and at + 16 <= end:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        size = size or end - at  # 0: up to the end
        if size < head or at + size > end:
            return
        yield name, at + head, at + size
        at += size


def _associated(data: bytes, at: int, end: int, item: int) -> set[int]:
    """The property numbers, from 1, that an `ipma` assigns to an item."""
    version, long = data[at], data[at + 3] & 1
    count = int.from_bytes(data[at + 4 : at + 8], "big")
    at += 8
    for _ in range(min(count, _MOST_BOXES)):
        width = 4 if version else 2
        number = int.from_bytes(data[at : at + width], "big")
        entries = data[at + width] if at + width < end else 0
        at += width + 1
        size = 2 if long else 1
        if number == item:
            places = range(at, min(at + entries * size, end), size)
            mask = 0x7FFF if long else 0x7F
            return {int.from_bytes(data[p : p + size], "big") & mask for p in places}
        at += entries * size
    return set()


def bmp_profile(data: bytes) -> bytes:
    """The profile inside a version 5 bitmap file; empty if there is none."""
    if len(data) < 138 or data[14:18] != (124).to_bytes(4, "little") or data[70:74] != b"DEBM":
        return b""
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + size]
