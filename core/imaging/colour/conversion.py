"""Any picture that Pillow reads as 8-bit sRGB over white, as browsers show it.

What tells the colours, in this order: cICP (PNG), the ICC profile, nclx (HEIF, AVIF), gAMA and cHRM
(PNG). A profile that is broken or belongs to another kind of picture is passed over. Alpha is laid
over white after the colours are converted.
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
    """How the numbers of a picture file are meant: by a `profile` or a `space`, else as sRGB.

    `bits` is the depth of deep grey whose white is known; `negative` deep grey has 0 for white;
    `unsigned` integers of 32 bits are signed ones for Pillow.
    """

    profile: bytes = b""
    space: Space | None = None
    bits: int | None = None
    negative: bool = False
    unsigned: bool = False


def encoding(image: Image.Image, data: bytes | None = None) -> Encoding:
    """What a picture that was just opened says of itself.

    Args:
        data: the content of its file; otherwise what can be read of it yet.
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
    with contextlib.suppress(Exception):  # no file, or closed: the pixels are there all the same
        place = file.tell()
        try:
            file.seek(0)
            return bytes(file.read(_HEAD_BYTES))
        finally:
            file.seek(place)
    return b""


def _bits(image: Image.Image) -> int | None:
    """The depth of integers whose largest number is white; None for 32 bits and for floats."""
    if not image.mode.startswith("I;16"):
        # Pillow scales all grey of more than 8 bits in PPM files to 16
        return 16 if image.mode == "I" and image.format == "PPM" else None
    bits = getattr(image, "tag_v2", {}).get(258, (16,))  # BitsPerSample
    return int(bits[0] if isinstance(bits, tuple) else bits)


def _colours(image: Image.Image, data: bytes) -> tuple[bytes, Space | None]:
    """The profile or the space that counts; neither for sRGB."""
    chunks = colour_tags.png_chunks(data) if image.format == "PNG" else {}
    counts, space = colour_tags.png_cicp(chunks)
    if counts:
        return b"", space
    if image.mode == "LAB":  # its numbers are the colours, whatever its profile says
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

    A picture that is RGB already is returned itself, with whatever else its class keeps.

    Args:
        image: loaded and upright; it may be changed.
        meant: what `encoding` said of it before it was loaded; without, its numbers are sRGB.
        low: the low bytes of 16-bit colour (`core.imaging.decoding.bit_depth`), loaded and
            upright too.

    Raises:
        BadImage: the mode cannot be converted, or no number is in the picture.
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
    """The picture with 8 bits, and the profile that is still to be applied to it."""
    deep = image.mode in bit_depth.DEEP_MODES
    profile, space = meant.profile, meant.space
    if profile and (deep or low is not None):
        space = icc.space(profile)
        if space is not None:  # exact in 16 bits, where littleCMS gets 8 from us
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
    """RGB, or RGBA where something is transparent; the picture itself if it is that already."""
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
    """The 8-bit picture by its profile, which fits, in place where its mode stays."""
    if image.mode in ("CMYK", "LAB"):
        found = icc.conversion(profile, image.mode)
    elif profile[16:20] == b"GRAY":
        found, image = icc.conversion(profile, "L"), _plain(image)
    else:
        image = _plain(image)
        found = icc.conversion(profile, image.mode)
    return image if found is None else icc.apply(image, found)
