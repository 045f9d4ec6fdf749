"""Find the page of a TIFF that holds the picture.

Camera RAW files are TIFFs too, with a small preview as their first page. Source: TIFF 6.0, Adobe's
technical notes 1 and 3, DNG 1.7.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from core.errors import BadImage
from core.imaging.decoding.limits import Clock, unsupported

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
MAX_PAGES = 1000  # later pages are ignored
MAX_DEPTH = 3  # nesting of sub-pages
WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS, STRIP_BYTES = 273, 274, 277, 278, 279
PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES = 284, 317, 322, 323, 324, 325
SUBFILE, OLD_SUBFILE, CHILDREN, EXTRA, FORMAT, DNG = 254, 255, 330, 338, 339, 50706
_READ = {
    *(WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, STRIPS, ORIENTATION, SAMPLES, STRIP_ROWS),
    *(STRIP_BYTES, PLANAR, PREDICTOR, TILE_WIDTH, TILE_LENGTH, TILES, TILE_BYTES, SUBFILE),
    *(OLD_SUBFILE, CHILDREN, EXTRA, FORMAT, DNG),
}
# Bytes and NumPy kind of each number type; others are not read.
_TYPES = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
_RAW_PHOTOMETRICS = {32803, 34892}  # colour filter array, linear raw
_RAW_COMPRESSIONS = {32767, 32769, 32770, 34713, 65000, 65535}  # of Sony, Epson, Samsung, Nikon …
WEBP = 50001
# The compressions that Pillow's libtiff reads, and names of some that it does not.
PACKED = {1, 5, 8, 32773, 32946, 34925, 50000}  # lossless
_COMPRESSIONS = PACKED | {2, 3, 4, 6, 7}
_NAMES = dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000")
_NAMES |= {34661: "JBIG", 34887: "LERC", 50002: "JPEG XL", 52546: "JPEG XL"}
_KINDS = {1: "u", 2: "i", 3: "f"}  # SampleFormat as a NumPy kind

Tags = dict[int, NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class Page:
    """One directory of a TIFF: its offset, and the tags needed here."""

    offset: int
    tags: Tags

    def get(self, tag: int, default: int = 0) -> int:
        """The first number of a tag."""
        values = self.tags.get(tag)
        return default if values is None or not len(values) else int(values[0])

    @property
    def reduced(self) -> bool:
        """Whether it is a preview or mask of another page."""
        return bool(self.get(SUBFILE) & 5) or self.get(OLD_SUBFILE) == 2

    @property
    def size(self) -> tuple[int, int]:
        """(W, H)."""
        return self.get(WIDTH), self.get(LENGTH)

    @property
    def kinds(self) -> set[str]:
        """NumPy names of the number types of the channels, such as "u1"."""
        one = np.ones(1)
        bits, formats = self.tags.get(BITS, one), self.tags.get(FORMAT, one)
        kinds = [_KINDS.get(int(one), "?") for one in formats]
        return {f"{kind}{int(one) // 8}" for one in bits for kind in kinds}


@dataclass(frozen=True, slots=True)
class Tiff:
    """A TIFF whose first page is the picture."""

    data: bytes
    page: Page

    @property
    def order(self) -> str:
        """Byte order, as NumPy writes it."""
        return "<" if self.data[:1] == b"I" else ">"


def raw() -> BadImage:
    """The refusal of camera raw data."""
    return BadImage(
        "This is a camera RAW file; please export it as JPEG with the camera or a photo program."
    )


def is_raw(data: bytes) -> bool:
    """Whether the first bytes mark a RAW format that is not a regular TIFF."""
    return (
        data.startswith((b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FUJIFILMCCD-RAW", b"FOVb"))
        or data.startswith((b"\0MRM", b"II\x1a\0\0\0HEAPCCDR", b"RWL\0"))
        or (data[:4] in MAGICS and (data[8:10] == b"CR" or data[8:12] in (b"IIII", b"MMMM")))
        or (data[4:12] == b"ftypcrx ")
    )


def choose(data: bytes, clock: Clock) -> Tiff | None:
    """The TIFF with its picture as the first page; None if no page can be read.

    Raises:
        BadImage: a camera's RAW file, or an unsupported compression.
    """
    pages = list(_pages(data, clock))
    if not pages:
        return None
    for page in pages:
        compressed = page.get(COMPRESSION, 1) in _RAW_COMPRESSIONS
        if DNG in page.tags or compressed or page.get(PHOTOMETRIC) in _RAW_PHOTOMETRICS:
            raise raw()
    page = next((one for one in pages if not one.reduced and all(one.size)), pages[0])
    compression = page.get(COMPRESSION, 1)
    if compression not in _COMPRESSIONS and compression != WEBP:
        how = _NAMES.get(compression, f"method {compression}")
        raise unsupported(f"A TIFF compressed with {how}")
    return Tiff(data if page is pages[0] else _starting_at(data, page.offset), page)


def _starting_at(data: bytes, offset: int) -> bytes:
    """The same file with another directory first."""
    order = "<" if data[:1] == b"I" else ">"
    place, width = (8, "Q") if data[2:4] in (b"+\0", b"\0+") else (4, "I")
    number = struct.pack(order + width, offset)
    return b"".join((data[:place], number, memoryview(data)[place + len(number) :]))


def _pages(data: bytes, clock: Clock) -> Iterator[Page]:
    """Every page in order, each followed by its sub-pages."""
    big = data[2:4] in (b"+\0", b"\0+")
    order = "<" if data[:1] == b"I" else ">"
    width = 8 if big else 4
    seen: set[int] = set()
    waiting = [(int(_number(data, width, width, order)), 0)]
    while waiting and len(seen) < MAX_PAGES:
        offset, depth = waiting.pop()
        if not offset or offset in seen:
            continue
        seen.add(offset)
        clock.check()
        page, following = _page(data, offset, order, big)
        if page is None:
            continue
        yield page
        if depth == 0:
            waiting.append((following, 0))
        if depth < MAX_DEPTH:
            children = page.tags.get(CHILDREN, np.zeros(0, int))[:MAX_PAGES]
            waiting += [(int(child), depth + 1) for child in children[::-1]]


def _page(data: bytes, offset: int, order: str, big: bool) -> tuple[Page | None, int]:
    """The directory at an offset, and the offset of the next one."""
    counts, entry, width = (8, 20, 8) if big else (2, 12, 4)
    count = _number(data, offset, counts, order)
    start = offset + counts
    if count > 4096 or start + count * entry > len(data):
        return None, 0
    tags: Tags = {}
    for at in range(start, start + count * entry, entry):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag not in _READ or kind not in _TYPES:
            continue
        dtype = np.dtype(order + _TYPES[kind])
        many = _number(data, at + 4, width, order)
        nbytes = many * dtype.itemsize
        where = at + 4 + width
        if nbytes > width:
            where = _number(data, where, width, order)
        if where + nbytes <= len(data):
            tags[tag] = np.frombuffer(data, dtype, many, where)
    return Page(offset, tags), _number(data, start + count * entry, width, order)


def _number(data: bytes, at: int, width: int, order: str) -> int:
    return int.from_bytes(data[at : at + width], "little" if order == "<" else "big")
