"""Prepare a path or bytes for a reader: only the picture, without metadata."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadImage
from core.imaging.decoding import jpeg as decoding_jpeg
from core.imaging.decoding import png as decoding_png
from core.imaging.decoding import riff, tiff
from core.imaging.decoding.limits import MAX_BYTES, Clock, check_size

# Damaged EXIF items in these spoil the picture; their orientation is stored elsewhere.
_EXIF_ITEM = re.compile(rb"(infe.{8}(?:..)?)Exif", re.DOTALL)


@dataclass(slots=True)
class File:
    """Input for a reader, and what was learned about it on the way.

    `profile` is an ICC profile that Pillow would not read; `canvas` as in `png.Png`.
    """

    data: bytes
    profile: bytes | None = None
    canvas: tuple[int, int, int, int] | None = None
    jpeg: decoding_jpeg.Jpeg | None = None
    tiff: tiff.Tiff | None = None


def read(source: Path | bytes) -> bytes:
    """Read a file after checking its size and kind.

    Raises:
        BadImage: the file is missing, empty or larger than 25 MB.
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
    """Prepare the file for a reader.

    Raises:
        BadImage: a camera's RAW file, or no picture that can be read here.
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
