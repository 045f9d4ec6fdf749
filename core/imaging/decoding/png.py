"""Strip a PNG to its pixels, so that damaged, huge or odd metadata does no harm.

Browsers ignore a bad checksum in an ancillary chunk and read on; Pillow refuses the file, and also
refuses more than a megabyte of text or profile. So only the chunks that define the picture are
passed on. Source: PNG specification, third edition (W3C, 2025).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field

from core.imaging.decoding.limits import Clock, damaged, not_a_picture

MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_PROFILE = 8 * 2**20  # inflated; the largest in use are about 4 MB
# Non-pixel chunks that define the picture, with their lengths: palette, transparency, orientation,
# animation and colour.
_ANY = range(2**31)
_LENGTHS = {
    b"IHDR": (13,),
    b"PLTE": _ANY,
    b"tRNS": range(1, 257),
    b"eXIf": _ANY,
    b"acTL": (8,),
    b"iCCP": _ANY,
    b"sRGB": (1,),
    b"gAMA": (4,),
    b"cHRM": (32,),
    b"cICP": (4,),
    b"mDCV": (24,),
    b"cLLI": (8,),
}
_TRANSPARENT_LENGTHS = {0: (2,), 2: (6,), 3: range(1, 257)}  # of tRNS, by colour type


@dataclass(slots=True)
class Png:
    """A PNG reduced to its pixels and how to show them.

    `profile` is the inflated content of its iCCP chunk. `canvas` is (W, H, x, y) if `data` is only
    part of the picture, at (x, y) on an empty canvas.
    """

    data: bytes
    profile: bytes | None = None
    canvas: tuple[int, int, int, int] | None = None


@dataclass(slots=True)
class _Parts:
    header: bytes = b""
    before: list[bytes] = field(default_factory=list)  # whole chunks before the pixels
    pixels: list[bytes | memoryview] = field(default_factory=list)
    profile: bytes | None = None
    frames: int = 0  # as declared by an animation
    hidden: bool = False  # the default image is not a frame
    frame: tuple[int, int, int, int] | None = None  # (W, H, x, y) of the first frame
    frame_pixels: list[bytes] = field(default_factory=list)


def clean(data: bytes, clock: Clock) -> Png:
    """The picture that a browser shows first for a PNG file.

    Raises:
        BadImage: there is no picture in it.
        TooSlow: it has too many chunks.
    """
    parts = _read(data, clock)
    if len(parts.header) != 13:
        raise not_a_picture()
    if not parts.pixels:
        raise damaged()
    if not (parts.frames and parts.hidden and parts.frame and parts.frame_pixels):
        return Png(_written(parts.header, parts, parts.pixels), parts.profile)
    width, height, x, y = parts.frame
    whole_width, whole_height = struct.unpack(">II", parts.header[:8])
    if not width or not height or x + width > whole_width or y + height > whole_height:
        return Png(_written(parts.header, parts, parts.pixels), parts.profile)
    header = struct.pack(">II", width, height) + parts.header[8:]
    content = chunk(b"IDAT", b"".join(parts.frame_pixels))
    canvas = whole_width, whole_height, x, y
    return Png(_written(header, parts, [content]), parts.profile, canvas)


def names(data: bytes, clock: Clock) -> set[bytes]:
    """The names of all chunks of a PNG file; their content is not read."""
    found: set[bytes] = set()
    at, seen = len(MAGIC), 0
    while at + 8 <= len(data):
        seen += 1
        if seen % 1024 == 0:
            clock.check()
        found.add(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def chunk(name: bytes, content: bytes) -> bytes:
    """A chunk with its length and checksum."""
    checksum = zlib.crc32(content, zlib.crc32(name))
    return b"".join((struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)))


def _written(header: bytes, parts: _Parts, pixels: list[bytes | memoryview]) -> bytes:
    return b"".join((MAGIC, chunk(b"IHDR", header), *parts.before, *pixels, chunk(b"IEND", b"")))


def _read(data: bytes, clock: Clock) -> _Parts:
    parts = _Parts()
    view = memoryview(data)
    at, seen, of_first = len(MAGIC), 0, True
    while at + 8 <= len(data):
        seen += 1
        if seen % 1024 == 0:
            clock.check()
        length, name = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 12 + length
        if name == b"IEND":
            break
        if name == b"IDAT":
            _check(view[at:end])
            parts.pixels.append(view[at:end])
        elif name == b"fcTL":
            of_first = parts.frame is None
            _frame(parts, bytes(view[at + 8 : end - 4]))
        elif name == b"fdAT" and of_first:
            _check(view[at:end])
            parts.frame_pixels.append(bytes(view[at + 12 : end - 4]))
        elif name in _LENGTHS:
            _note(parts, name, view[at:end])
        at = end
        if parts.frame_pixels and not of_first:
            break  # the rest belongs to later frames
    return parts


def _frame(parts: _Parts, content: bytes) -> None:
    """Note where the first frame of an animation lies."""
    if parts.frame is None and len(content) == 26:
        parts.frame = struct.unpack(">IIII", content[4:20])
        parts.hidden = bool(parts.pixels)


def _note(parts: _Parts, name: bytes, whole: memoryview) -> None:
    """Keep a chunk; an ancillary one only if it is valid and in order."""
    content = whole[8:-4]
    if name == b"IHDR":
        _check(whole)
        parts.header = parts.header or bytes(content)
        return
    lengths = _LENGTHS[name]
    if name == b"tRNS":
        lengths = _TRANSPARENT_LENGTHS.get(parts.header[9] if len(parts.header) == 13 else 0, ())
    if name != b"PLTE" and not (_is_right(whole) and len(content) in lengths):
        return  # Pillow checks the palette
    if parts.pixels:
        return
    if name == b"acTL":
        parts.frames = int.from_bytes(content[:4], "big")
    elif name == b"iCCP":
        parts.profile = parts.profile or _inflated(bytes(content))
    else:
        parts.before.append(bytes(whole))


def _check(whole: memoryview) -> None:
    if not _is_right(whole):
        raise damaged()


def _is_right(whole: memoryview) -> bool:
    """Whether a chunk's checksum is right."""
    return zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big")


def _inflated(content: bytes) -> bytes | None:
    """The profile in an iCCP chunk; None if it is unreadable or too large."""
    _, _, packed = content.partition(b"\0")
    inflate = zlib.decompressobj()
    try:
        profile = inflate.decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return None
    return profile if inflate.eof else None
