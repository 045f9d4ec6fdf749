"""Convert any picture that Pillow reads to 8-bit sRGB over white, as browsers show it.

Colour information is taken in this order: cICP (PNG), the ICC profile, nclx (HEIF, AVIF), gAMA and
cHRM (PNG). A profile that is broken or belongs to another kind of picture is ignored. Alpha is
blended over white after the colours are converted.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from core.errors import BadImage
from core.imaging import bands
from core.imaging.colour import icc
from core.imaging.colour import tags as colour_tags
from core.imaging.colour.spaces import Space
from core.imaging.decoding import bit_depth

_WHITE_IS_ZERO = 0  # as PhotometricInterpretation
_HEAD_BYTES = 2**20
_BAND_PIXELS = 2**18


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to interpret a file's numbers: by a `profile` or a `space`, else as sRGB.

    `bits` is the depth of deep grey with a known white; in `negative` deep grey 0 is white;
    `unsigned`: 32-bit integers that Pillow reads as signed.
    """

    profile: bytes = b""
    space: Space | None = None
    bits: int | None = None
    negative: bool = False
    unsigned: bool = False


def encoding(image: Image.Image, data: bytes | None = None) -> Encoding:
    """The colour encoding that a newly opened picture declares.

    Args:
        data: the file's content; by default what can still be read of it.
    """
    if data is None:
        data = _head(image)
    profile, space = _colours(image, data)
    tags = getattr(image, "tag_v2", {})
    bits, negative = _bits(image), tags.get(262) == _WHITE_IS_ZERO
    unsigned = image.mode == "I" and tags.get(258) == (32,) and tags.get(339, (1,)) == (1,)
    return Encoding(profile, space, bits, negative, unsigned)


def _head(image: Image.Image) -> bytes:
    """The beginning of the file that a lazily opened picture still reads from."""
    file: Any = getattr(image, "fp", None)
    with contextlib.suppress(Exception):  # no file, or closed; the pixels are already loaded
        place = file.tell()
        try:
            file.seek(0)
            return bytes(file.read(_HEAD_BYTES))
        finally:
            file.seek(place)
    return b""


def _bits(image: Image.Image) -> int | None:
    """The depth of integers whose maximum is white; None for 32 bits and for floats."""
    if not image.mode.startswith("I;16"):
        # Pillow scales all grey of more than 8 bits in PPM files to 16
        return 16 if image.mode == "I" and image.format == "PPM" else None
    bits = getattr(image, "tag_v2", {}).get(258, (16,))  # BitsPerSample
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _colours(image: Image.Image, data: bytes) -> tuple[bytes, Space | None]:
    """The profile or space to apply; neither for sRGB."""
    chunks = colour_tags.png_chunks(data) if image.format == "PNG" else {}
    counts, space = colour_tags.png_cicp(chunks)
    if counts:
        return b"", space
    if image.mode == "LAB":  # Lab needs no profile; ignore the file's
        return icc.lab(), None
    profile = image.info.get("icc_profile")
    if not profile and image.format == "BMP":
        profile = colour_tags.bmp_profile(data)
    if isinstance(profile, bytes) and profile:
        found = icc.conversion(profile, image.mode)
        if found is not None:
            hdr = icc.hdr(profile)
            return (b"", hdr) if hdr else (profile if found.changes else b"", None)
    if image.format in ("AVIF", "HEIF"):
        return b"", colour_tags.heif_space(data)
    return b"", colour_tags.png_gamma(chunks)


def to_rgb(
    image: Image.Image, meant: Encoding | None = None, low: Image.Image | None = None
) -> Image.Image:
    """Any mode of Pillow as 8-bit sRGB with an empty `info`, alpha over white.

    An RGB picture is returned itself, including any extra attributes of its class.

    Args:
        image: loaded and upright; it may be changed.
        meant: the `encoding` read before loading; by default the numbers are sRGB.
        low: the low bytes of 16-bit colour (`core.imaging.decoding.bit_depth`), loaded and
            upright too.

    Raises:
        BadImage: the mode cannot be converted, or the picture has no finite number.
    """
    try:
        image, profile = _eight_bits(image, meant or Encoding(), low)
        if profile:
            image = _converted(image, profile)
        if image.has_transparency_data:
            rgba = image.convert("RGBA")
            rgb = Image.new("RGB", image.size, "white")
            rgb.paste(rgba, mask=rgba.getchannel("A"))
        else:  # converting RGB to RGB would copy it
            rgb = image if image.mode == "RGB" else image.convert("RGB")
    except (BadImage, MemoryError):
        raise
    except Exception as error:
        raise BadImage(bit_depth.UNREADABLE) from error
    rgb.info = {}
    return rgb


def _eight_bits(
    image: Image.Image, meant: Encoding, low: Image.Image | None
) -> tuple[Image.Image, bytes]:
    """The picture with 8 bits, and the profile still to be applied."""
    deep = image.mode in bit_depth.DEEP_MODES
    profile, space = meant.profile, meant.space
    if profile and (deep or low is not None):
        space = icc.space(profile)
        if space is not None:  # exact in 16 bits; littleCMS would get only 8
            profile = b""
    if deep:
        bits = meant.bits or (16 if image.mode.startswith("I;16") else None)
        convert = space.converter(16) if space else None
        clear = image.info.get("transparency")
        clear = clear if isinstance(clear, int) else None
        values = bands.to_array(image)
        values = values.view(np.uint32) if meant.unsigned else values
        picture = bit_depth.grey(values, bits, meant.negative, convert, clear)
        return picture, profile
    if low is not None:
        clear = image.info.pop("transparency", None)
        convert = space.converter(16) if space else None
        return bit_depth.colour(image, low, convert, clear), profile
    return (image if space is None else _in_bands(_plain(image), space)), profile


def _plain(image: Image.Image) -> Image.Image:
    """RGB, or RGBA if any pixel is transparent; returned as is if already so."""
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _in_bands(image: Image.Image, space: Space) -> Image.Image:
    """An 8-bit RGB or RGBA picture as sRGB, in place."""
    convert = space.converter(8)
    width, height = image.size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        pixels = np.array(image.crop(box))
        pixels[..., :3] = convert(pixels[..., :3])
        image.paste(Image.fromarray(pixels), box)
    return image


def _converted(image: Image.Image, profile: bytes) -> Image.Image:
    """Apply a fitting profile to the 8-bit picture, in place if its mode stays."""
    if image.mode in ("CMYK", "LAB"):
        found = icc.conversion(profile, image.mode)
    elif profile[16:20] == b"GRAY":
        found, image = icc.conversion(profile, "L"), _plain(image)
    else:
        image = _plain(image)
        found = icc.conversion(profile, image.mode)
    return image if found is None else icc.apply(image, found)
