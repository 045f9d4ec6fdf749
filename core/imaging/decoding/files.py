"""From a path or bytes to what a reader gets: the picture of a file without what is beside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadImage
from core.imaging.decoding import jpeg as decoding_jpeg
from core.imaging.decoding import png as decoding_png
from core.imaging.decoding import riff, tiff
from core.imaging.decoding.limits import MAX_BYTES, Clock, check_size

# The entry of an EXIF item in these, which a damaged one spoils; orientation stands elsewhere.
_EXIF_ITEM = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)


@dataclass(slots=True)
class File:
    """What a reader gets, and what was found out about it on the way.

    `profile` is an ICC profile that Pillow would not read; `canvas` as in `decoding_png.Png`.
    """

    data: bytes
    profile: bytes | None = None
    canvas: tuple[int, int, int, int] | None = None
    jpeg: decoding_jpeg.Jpeg | None = None
    tiff: tiff.Tiff | None = None


def read(source: Path | bytes) -> bytes:
    """The file's content; size and kind of file are checked before it is read.

    Raises:
        BadImage: there is no such file, or it is empty or larger than 25 MB.
    """
    if isinstance(source, Path):
        try:
            if not source.is_file():  # a folder, a device, a pipe
                raise BadImage("The picture is no longer there; please choose or upload it again.")
            with source.open("rb") as file:
                source = file.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:  # ValueError: a null byte in the name
            if isinstance(error, BadImage):
                raise
            raise BadImage("The picture cannot be opened; please upload it again.") from error
    if not source:
        raise BadImage("The file is empty; please choose another picture.")
    if len(source) > MAX_BYTES:
        raise BadImage(
            f"The file is larger than {MAX_BYTES // 2**20} MB; please save the picture smaller "
            "or as a JPEG."
        )
    return source


def prepare(data: bytes, clock: Clock) -> File:
    """The file as a reader is to get it.

    Raises:
        BadImage: it is a camera's RAW file, or holds no picture that can be read here.
        TooSlow: it has too many parts.
    """
    if tiff.is_raw(data):
        raise tiff.raw()
    if data.startswith(decoding_png.MAGIC):
        png = decoding_png.clean(data, clock)
        if png.canvas:
            check_size(*png.canvas[:2])
        return File(png.data, png.profile, png.canvas)
    if data.startswith(b"\xff\xd8\xff"):
        jpeg = decoding_jpeg.clean(data)
        return File(jpeg.data, jpeg=jpeg)
    if data.startswith(b"RIFF"):
        return File(riff.clean(data, clock))
    if data[4:8] == b"ftyp":
        return File(_EXIF_ITEM.sub(rb"\1skip", data))
    if data.startswith(tiff.MAGICS):
        chosen = tiff.choose(data, clock)
        return File(chosen.data if chosen else data, tiff=chosen)
    return File(data)
