"""Decode a picture file that a stranger sent: header first, bounded in time and memory.

Colour profiles are left as they are: pixel values are taken at face value.
"""

from __future__ import annotations

import io
import re
import time
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from core import decode_budget, pixels
from core.errors import BadImage

MAX_BYTES = 25 * 1024 * 1024
MAX_PIXELS = 50_000_000
MAX_SIDE = 65_535
MIN_SIDE = 8
# Naming the formats keeps Pillow from trying its other readers, one of which (EPS) starts a
# program; the name of the file plays no part.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
FTYP_FORMATS: tuple[str, ...] = ("AVIF", "HEIF")  # share one container, whose first box is "ftyp"
READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"
# Every scan of a progressive JPEG walks over the whole picture, so a small file with thousands of
# scans decodes for minutes. Encoders write about ten.
MAX_JPEG_SCANS = 100
MAX_JPEG_SCAN_PIXELS = 20 * MAX_PIXELS
MAX_JPEG_MARKERS = 10_000
# CPU seconds of the calling thread, so that a busy machine refuses nothing.
MAX_SECONDS = 6.0

_DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class _TooSlow(Exception):
    pass


class _TimedFile(io.BytesIO):
    """Bytes that stop being readable when the time is up.

    Readers walk over chunks, blocks and markers in Python, with a read for each; millions of empty
    ones, or comments that are appended to one another, would keep them busy for minutes.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.deadline = time.thread_time() + MAX_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self.deadline:
            raise _TooSlow
        return super().read(size)


def decode(source: Path | bytes) -> Image.Image:
    """A picture file as an upright RGB image without metadata.

    The header is read first, and size and kind are checked before any pixel is decoded. The first
    frame of an animation is taken, alpha is laid over white, 16-bit and float grey is stretched
    from its lowest to its highest value, CMYK and palettes are converted.

    Args:
        source: path of a file, or its content; at most 25 MB.

    Returns:
        mode "RGB", each side at least 8 px, at most 50 megapixels, `info` empty.

    Raises:
        BadImage: anything else; the message says what to do.
        Busy: too many large pictures are being decoded (`core.decode_budget`).
    """
    data = _read(source)
    try:
        image = _open(data)
        check_size(*image.size)
        _check_effort(image, data)
        with decode_budget.room(image):
            image = load(image, own=True)
            check_size(*image.size)  # once more: what was decoded, not what the header said
            return decode_budget.keep(to_rgb(image))
    except MemoryError as error:
        raise BadImage(
            "There is not enough memory for this picture now; please choose a smaller one."
        ) from error


def _read(source: Path | bytes) -> bytes:
    """The file's content; size and kind of file are checked before it is read."""
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


@cache
def _register_heif() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _open(data: bytes) -> Image.Image:
    """Read the header. Which errors a reader raises on odd bytes is not specified: all are met."""
    formats = FORMATS
    if data[4:8] == b"ftyp":
        _register_heif()
        formats = FTYP_FORMATS
    try:
        return Image.open(_TimedFile(data), formats=formats)
    except MemoryError:
        raise
    except _TooSlow as error:
        raise _too_heavy() from error
    except _BOMBS as error:
        raise _too_large() from error
    except Exception as error:
        raise BadImage(
            f"This is not a picture that can be read here; please choose a {READABLE} file."
        ) from error


def _too_large(size: tuple[int, int] | None = None) -> BadImage:
    is_ = f"is {size[0]} x {size[1]} pixels" if size else "is too large"
    return BadImage(
        f"The picture {is_}; please shrink it to at most {MAX_PIXELS // 10**6} megapixels."
    )


def _too_heavy() -> BadImage:
    return BadImage(
        "The file is built in a way that takes too long to open; please save the picture again "
        "as a plain JPEG or PNG."
    )


def check_size(width: int, height: int) -> None:
    """Raise BadImage for a picture over 50 megapixels or with a side under 8 or over 65,535 px."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise _too_large((width, height))
    if min(width, height) < MIN_SIDE:
        raise BadImage(
            f"The picture is only {width} x {height} pixels; please choose one of at least "
            f"{MIN_SIDE} x {MIN_SIDE}."
        )


def _check_effort(image: Image.Image, data: bytes) -> None:
    """Refuse files whose pixels cost far more time or memory than their size in pixels says."""
    pixels = image.width * image.height
    heavy = False
    if image.format in ("JPEG", "MPO"):
        scans = _count_jpeg_scans(data)
        heavy = scans > MAX_JPEG_SCANS or scans * pixels > MAX_JPEG_SCAN_PIXELS
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        tile = [tags.get(tag, 0) for tag in (322, 323)]  # TileWidth, TileLength
        heavy = not all(isinstance(n, int) for n in tile) or tile[0] * tile[1] > MAX_PIXELS
    if heavy:
        raise _too_heavy()


def _count_jpeg_scans(data: bytes) -> int:
    """SOS markers up to the end of the first image; headers are stepped over by their length."""
    # In coded data FF is followed by 00 or a restart marker, so any other FF xx is a marker.
    marker = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
    scans, found = 0, marker.search(data, 2)
    for _ in range(MAX_JPEG_MARKERS):
        if not found or found[1] == b"\xd9":
            return scans
        scans += found[1] == b"\xda"
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        found = marker.search(data, found.end() + length)
    raise _too_heavy()


def load(image: Image.Image, own: bool = False) -> Image.Image:
    """Decode the pixels and turn the picture upright; `own` ones themselves, others as a copy."""
    try:
        image.load()
    except MemoryError:
        raise
    except _TooSlow as error:
        raise _too_heavy() from error
    except _BOMBS as error:
        raise _too_large() from error
    except Exception as error:  # as in _open
        raise BadImage(
            "The picture is damaged or cut off; please save or upload it again."
        ) from error
    try:
        if not own:
            return ImageOps.exif_transpose(image)
        ImageOps.exif_transpose(image, in_place=True)  # no copy where nothing is to be turned
    except MemoryError:
        raise
    except Exception:  # damaged EXIF says nothing about the pixels
        pass
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow as RGB without metadata."""
    try:
        if image.mode in _DEEP_MODES:
            return Image.fromarray(stretch(pixels.as_array(image))).convert("RGB")
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            rgb = Image.new("RGB", image.size, "white")
            rgb.paste(rgba, mask=rgba.getchannel("A"))
        else:
            rgb = image.convert("RGB")
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        raise BadImage(
            "The picture's colours are stored in a way that cannot be read here; please save it "
            "again as a plain RGB JPEG or PNG."
        ) from error
    rgb.info = {}
    return rgb


def stretch(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Numbers of any range to 0..255, lowest to 0 and highest to 255; not-a-number to 0."""
    lows, highs = [], []
    for top in range(0, len(values), 256):  # by bands to save memory, here and below
        band = values[top : top + 256]
        finite = band[np.isfinite(band)] if values.dtype.kind == "f" else band
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise BadImage("The picture holds no numbers; please save it again as a PNG.")
    low, high = min(lows), max(highs)
    if low == high:  # one even tone: nothing to stretch, mid-grey is as good as any
        return np.full(values.shape, 128, np.uint8)
    out = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):  # float64 is exact for 32 bits
        band = np.nan_to_num(values[top : top + 256].astype(np.float64), nan=low)
        out[top : top + 256] = np.rint((np.clip(band, low, high) - low) / (high - low) * 255)
    return out
