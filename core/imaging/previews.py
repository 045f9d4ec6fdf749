"""What the page shows for a picture file: the file itself, or its decoded picture.

Browsers cannot show HEIC, TIFF or RAW, they play animations, and read the colours of some files
differently. Users must see the same picture as the model.
"""

from __future__ import annotations

import html
import io
import textwrap

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import BadImage
from core.imaging import png
from core.imaging.decoding import jpeg as decoding_jpeg
from core.imaging.decoding import png as decoding_png
from core.imaging.decoding.limits import Clock, TooSlow

SIDE = 1600
LOSSLESS_PIXELS = 256 * 256  # small pictures, such as pixel art, stay exact


def is_plain(data: bytes) -> bool:
    """Whether every browser shows a file as `decode` reads it: a complete JPEG, PNG or WebP in
    8-bit sRGB, with one frame and no transparency."""
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _is_plain_jpeg(data)
        if data.startswith(decoding_png.MAGIC):
            return _is_plain_png(data)
        return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and _is_plain_webp(data)
    except (BadImage, TooSlow, IndexError):
        return False


def _is_plain_png(data: bytes) -> bool:
    names = decoding_png.names(data, Clock())
    other_colours = names & {b"iCCP", b"cICP"} or (
        names & {b"gAMA", b"cHRM"} and b"sRGB" not in names
    )
    depth, colour_type = data[24], data[25]
    return depth <= 8 and colour_type <= 3 and not other_colours and not names & {b"acTL", b"tRNS"}


def _is_plain_webp(data: bytes) -> bool:
    """Only the picture data; in VP8L it says whether there is alpha."""
    lossless = data[12:16] == b"VP8L"
    return data[12:16] == b"VP8 " or (lossless and not data[24] & 0x10)


def _is_plain_jpeg(data: bytes) -> bool:
    jpeg = decoding_jpeg.clean(data)
    channels = jpeg.frame[5]
    return jpeg.ended and channels in (1, 3) and b"ICC_PROFILE\0" not in jpeg.data


def encode(rgb: NDArray[np.uint8]) -> tuple[bytes, str]:
    """(H, W, 3) uint8 as a PNG or JPEG of at most 1600 pixels a side, and its media type."""
    height, width = rgb.shape[:2]
    if width * height <= LOSSLESS_PIXELS:
        return png.encode(rgb), "image/png"
    image = Image.fromarray(rgb)
    image.thumbnail((SIDE, SIDE), reducing_gap=3.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue(), "image/jpeg"


def sentence(text: str) -> tuple[bytes, str]:
    """A picture of a message, for a file that cannot be shown, and its media type."""
    lines = textwrap.wrap(text, 44)
    spans = "".join(
        f'<tspan x="320" dy="{0 if i == 0 else 34}">{html.escape(line)}</tspan>'
        for i, line in enumerate(lines)
    )
    top = 180 - 17 * (len(lines) - 1)
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="640" height="360" viewBox="0 0 640 360">'
        '<rect width="640" height="360" fill="#f4f4f5"/>'
        f'<text y="{top}" text-anchor="middle" dominant-baseline="middle" fill="#3f3f46" '
        f'font-family="system-ui, sans-serif" font-size="24">{spans}</text></svg>'
    )
    return svg.encode(), "image/svg+xml"
