"""Strip a JPEG to its pixels, and check that all of them are there.

Browsers skip comments, previews and other segments whatever they contain, and show files without an
end marker; Pillow refuses anything that it cannot parse. So only the segments that define the
picture are passed on. Source: ITU-T T.81.
"""

from __future__ import annotations

import hashlib
import io
import re
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from core.imaging.decoding.limits import MAX_PIXELS, Clock, damaged, too_heavy, unsupported

# Every scan of a progressive JPEG covers the whole picture, so a small file with thousands of scans
# decodes for minutes. Encoders write about ten.
MAX_SCANS = 100
MAX_SCAN_PIXELS = 20 * MAX_PIXELS
MAX_MARKERS = 10_000
_END = b"\xff\xd9"
# In coded data FF is followed by 00 or a restart marker, so any other FF xx is a marker.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # SOF markers
_DECODED = {0xC0, 0xC1, 0xC2, 0xC9, 0xCA}  # supported; others are lossless or hierarchical
_SCAN, _RESTART_INTERVAL = 0xDA, 0xDD
# Two endings for a truncated picture: if they decode to different pixels, some are missing. Both
# are noise without markers, since regular bits could mean "as before" in both.
_FILL = tuple(hashlib.sha512(name).digest().replace(b"\xff", b"\xfe") * 2 for name in (b"a", b"b"))


@dataclass(slots=True)
class Jpeg:
    """The parts of a JPEG that define its pixels.

    `data` ends with the end marker, even if the file lacks it (`ended`). `scans` holds, for each
    scan, its components, first and last coefficient, and the bit where it stops.
    """

    data: bytes = b""
    ended: bool = False
    frame: bytes = b""  # precision, height, width, components
    progressive: bool = False
    scans: list[tuple[bytes, int, int, int]] = field(default_factory=list)
    restart: int = 0  # MCUs between two restart markers
    restarts: int = 0  # such markers after the last scan's header

    @property
    def size(self) -> tuple[int, int]:
        """(W, H)."""
        return int.from_bytes(self.frame[3:5], "big"), int.from_bytes(self.frame[1:3], "big")


def clean(data: bytes) -> Jpeg:
    """The picture of a JPEG file, without any video, depth map or second picture after it.

    Raises:
        BadImage: the variant is unsupported, or too slow to decode.
    """
    jpeg = Jpeg()
    kept: list[bytes | memoryview] = [data[:2]]
    view = memoryview(data)
    found = _MARKER.search(data, 2)
    for _ in range(MAX_MARKERS):
        if not found or found[1] == _END[1:]:
            jpeg.ended = found is not None
            jpeg.data = b"".join((*kept, _END))
            return jpeg
        start, marker = found.start(), found[1][0]
        end = found.end() + int.from_bytes(view[found.end() : found.end() + 2], "big")
        found = _MARKER.search(data, end)
        if _is_kept(marker, bytes(view[start + 4 : min(end, start + 18)])):
            _note(jpeg, marker, bytes(view[start + 4 : end]))
            coded = found.start() if found else len(data)
            kept.append(view[start : coded if marker == _SCAN else end])
            if marker == _SCAN and jpeg.restart:
                jpeg.restarts = len(_RESTART.findall(data, end, coded))
    raise too_heavy()


def _is_kept(marker: int, content: bytes) -> bool:
    """Whether a segment affects what the picture looks like."""
    if marker == 0xE0:
        return content.startswith(b"JFIF\0")
    if marker == 0xE1:
        return content.startswith(b"Exif\0")
    if marker == 0xE2:
        return content.startswith(b"ICC_PROFILE\0") and len(content) >= 14
    if marker == 0xEE:
        return content.startswith(b"Adobe") and len(content) >= 12
    return not 0xE0 < marker <= 0xFE  # other applications' segments, and comments


def _note(jpeg: Jpeg, marker: int, content: bytes) -> None:
    if marker in _FRAMES and not jpeg.frame:
        jpeg.frame, jpeg.progressive = content, marker in (0xC2, 0xCA)
        if content and content[0] != 8:
            raise unsupported(f"A JPEG of {content[0]} bits a colour")
        if marker not in _DECODED:
            raise unsupported("A lossless or hierarchical JPEG")
    elif marker == _SCAN and content:
        count = content[0]
        names, rest = content[1 : 1 + 2 * count : 2], content[1 + 2 * count :]
        if len(rest) >= 3:
            jpeg.scans.append((names, rest[0], rest[1], rest[2] & 15))
    elif marker == _RESTART_INTERVAL:
        jpeg.restart = int.from_bytes(content[:2], "big")


def check_effort(jpeg: Jpeg, pixels: int) -> None:
    """Raise BadImage if a JPEG would take minutes."""
    if len(jpeg.scans) > MAX_SCANS or len(jpeg.scans) * pixels > MAX_SCAN_PIXELS:
        raise too_heavy()


def check_whole(jpeg: Jpeg, image: Image.Image, clock: Clock) -> None:
    """Raise BadImage if a JPEG is truncated; its decoder silently fills the rest with grey.

    The check costs two more decodings, so it is made only if the end marker is missing, or the
    last block is as grey as a missing one.
    """
    if jpeg.ended and not _ends_in_grey(image):
        return
    if not _has_all_restarts(jpeg) or not (jpeg.ended or _has_all_scans(jpeg)):
        raise damaged()
    whole = jpeg.data[: -len(_END)].rstrip(b"\xff")  # a partial end marker
    clock.check()  # do not repeat a slow decode twice
    if len({_digest(whole + fill + _END) for fill in _FILL}) > 1:
        raise damaged()


def _ends_in_grey(image: Image.Image) -> bool:
    width, height = image.size
    block = np.asarray(image.crop((max(0, width - 4), max(0, height - 4), width, height)))
    return bool(((block == 127) | (block == 128)).all())


def _digest(data: bytes) -> bytes:
    """A hash of the pixels, so that only one extra picture is in memory at a time."""
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG",))
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # as in decoding.load
        raise damaged() from error
    pixels = hashlib.sha256()
    for top in range(0, image.height, 256):
        pixels.update(image.crop((0, top, image.width, min(top + 256, image.height))).tobytes())
    return pixels.digest()


def _has_all_scans(jpeg: Jpeg) -> bool:
    """Whether every component was sent and, if progressive, every coefficient to its last bit."""
    names = {jpeg.frame[6 + 3 * i] for i in range((len(jpeg.frame) - 6) // 3)}
    if not jpeg.progressive:
        return names <= {name for scan in jpeg.scans for name in scan[0]}
    sent = {
        (name, place)
        for scan, first, last, bit in jpeg.scans
        for name in scan
        for place in range(first, last + 1)
        if bit == 0
    }
    return all((name, place) in sent for name in names for place in range(64))


def _has_all_restarts(jpeg: Jpeg) -> bool:
    """Whether the last scan has as many restart markers as its size requires."""
    if not jpeg.restart or not jpeg.scans:
        return True
    factors = {
        jpeg.frame[6 + 3 * i]: (jpeg.frame[7 + 3 * i] >> 4, jpeg.frame[7 + 3 * i] & 15)
        for i in range((len(jpeg.frame) - 6) // 3)
    }
    most_x = max((x for x, _ in factors.values()), default=1)
    most_y = max((y for _, y in factors.values()), default=1)
    width, height = jpeg.size
    names = jpeg.scans[-1][0]
    # In an MCU of several components each has as many blocks as its factors say, else one.
    x, y = (1, 1) if len(names) > 1 else factors.get(names[0], (most_x, most_y))
    across = -(-width * x // (8 * most_x)) if len(names) == 1 else -(-width // (8 * most_x))
    down = -(-height * y // (8 * most_y)) if len(names) == 1 else -(-height // (8 * most_y))
    return jpeg.restarts >= -(-across * down // jpeg.restart) - 1
