"""Reduce pictures of more than 8 bits to 8, by one rule for grey and colour.

16-bit integers are divided by 257, so that a picture looks the same with 8 bits and with 16. One
exception: if all values lie in the lowest sixteenth, as 12-bit cameras write them, the picture
would be black, so white becomes the largest number of the bits in use. Floats in 0..1 become
0..255, with the same exception. Floats outside that range, and 32-bit integers, have no known
white: they are stretched from their lowest to their highest value.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from core.errors import BadImage

DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
FULL = 65535
UNREADABLE = (
    "The picture's colours are stored in a way that cannot be read here; please save it "
    "again as a plain RGB JPEG or PNG."
)
_BAND_PIXELS = 2**18  # converted at a time, to save memory
Convert = Callable[[NDArray[np.unsignedinteger]], NDArray[np.uint8]]

# Pillow ignores white-is-zero for 16-bit grey, so we invert it ourselves.
for _key, _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _key[1] == 1 and _key[4][0] > 8 and len(_key[4]) == 1:
        TiffImagePlugin.OPEN_INFO.setdefault((_key[0], 0, *_key[2:]), _modes)


def full_scale(highest: int, bits: int = 16) -> int:
    """The value of white for integers with `bits` in the header that reach up to `highest`."""
    if bits == 16 and highest < 2**12:
        bits = max(8, highest.bit_length())
    return 2**bits - 1


def scaled(values: NDArray[np.uint16], full: int) -> NDArray[np.uint8]:
    """0..full to 0..255."""
    out = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):
        band = np.minimum(values[top : top + 256], full).astype(np.uint32)
        out[top : top + 256] = (band * 255 + full // 2) // full
    return out


def from_array(values: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """(H, W) or (H, W, channels) of 16 bits reduced to 8; a fourth channel is alpha."""
    colours = values[..., :3] if values.ndim == 3 else values
    out = scaled(values, full_scale(int(colours.max())))
    if values.ndim == 3:
        out[..., 3:] = scaled(values[..., 3:], FULL)
    return out


def extent(values: NDArray[np.generic]) -> tuple[float, float]:
    """The values that map to black and white.

    Raises:
        BadImage: no value is finite.
    """
    lows, highs = [], []
    for top in range(0, len(values), 256):  # a copy of the whole would double the memory
        band = values[top : top + 256]
        finite = band[np.isfinite(band)] if values.dtype.kind == "f" else band
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    if not lows:
        raise BadImage("The picture holds no numbers; please save it again as a PNG.")
    low, high = min(lows), max(highs)
    if values.dtype.kind == "f" and low >= 0 and (high == 0 or 1 / 16 <= high <= 1):
        return 0.0, 1.0
    return low, high


def _unit(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.float64]:
    """Map low..high to 0..1; float64 is exact for 32 bits."""
    if low == high:
        return np.full(values.shape, 128 / 255)
    band = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return (np.clip(band, low, high) - low) / (high - low)


def stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, …) numbers without a known white, reduced to 8 bits; one range for all channels.

    Raises:
        BadImage: no value is finite.
    """
    low, high = extent(values)
    out = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):
        out[top : top + 256] = np.rint(_unit(values[top : top + 256], low, high) * 255)
    return out


def grey_codes(
    values: NDArray[np.generic], bits: int | None, negative: bool
) -> Iterator[NDArray[np.uint16]]:
    """Yield bands of (h, W) numbers as codes 0..65535.

    Args:
        bits: of integers with a known white, None for all other numbers.
        negative: whether 0 is white.
    """
    low, high = (0.0, float(full_scale(int(values.max()), bits))) if bits else extent(values)
    rows = max(1, _BAND_PIXELS // values.shape[1])
    for top in range(0, len(values), rows):
        unit = _unit(values[top : top + rows], low, high)
        yield np.rint((1 - unit if negative else unit) * FULL).astype(np.uint16)


def grey(
    values: NDArray[np.generic],
    bits: int | None,
    negative: bool,
    convert: Convert | None,
    clear: int | None = None,
) -> Image.Image:
    """(H, W) numbers as a picture: "L", or "RGB" if `convert` turns 16-bit codes into sRGB.

    If `clear` is given, values equal to it become transparent ("LA" or "RGBA").
    """
    out = np.empty(values.shape if convert is None else (*values.shape, 3), np.uint8)
    top = 0
    for codes in grey_codes(values, bits, negative):
        wide = codes[..., None].repeat(3, axis=2) if convert else codes
        out[top : top + len(codes)] = convert(wide) if convert else scaled(codes, FULL)
        top += len(codes)
    picture = Image.fromarray(out)
    if clear is not None:
        picture.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return picture


# When libtiff decompresses, it also swaps bytes to the machine's order; Pillow accounts for that
# only with 16-bit integers.
_NATIVE_ORDER = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}


def mend_tiff(image: Image.Image) -> None:
    """Make a TIFF, just opened, decode correctly where Pillow would swap its bytes wrongly.

    Raises:
        BadImage: it cannot be decoded correctly.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    codecs = {tile.codec_name for tile in image.tile}  # type: ignore[attr-defined]
    planes = tags.get(284) == 2 and image.mode != "L"  # PlanarConfiguration: channel by channel
    if codecs == {"libtiff"}:
        args = image.tile[0].args  # type: ignore[attr-defined]
        if args[0] in _NATIVE_ORDER:
            with_raw_mode(image, _NATIVE_ORDER[args[0]])  # of the current page
        unread = planes and image.mode in ("LA", "PA")
    else:
        unread = planes and max(tags.get(258, (8,))) > 8
    if unread:
        raise BadImage(UNREADABLE)


# ---- 16-bit colour ----------------------------------------------------------------------------
# Pillow keeps only the high byte of each number. Reading the file again as if its bytes were
# swapped gives the low bytes.

_SWAPPED = "B" if sys.byteorder == "little" else "L"
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _SWAPPED))
} | {"LA;16B": "RGBA"}  # Pillow has no LA;16L: read 4 bytes as 4 channels
_FOUR_BYTES = "four bytes a pixel"


def low_bytes(image: Image.Image) -> str | None:
    """The raw mode that reads the low bytes of a 16-bit colour picture; None for all others.

    Call this before the picture is loaded. Frames of an animated PNG are blended while they are
    read, which is impossible for separate bytes, so only their high bytes are used.
    """
    if image.format == "PNG" and getattr(image, "is_animated", False):
        return None
    raw = {_raw_mode(tile.args) for tile in getattr(image, "tile", ())}
    return _LOW_BYTES.get(raw.pop()) if len(raw) == 1 else None


def with_raw_mode(image: Image.Image, raw: str, page: int = 0) -> Image.Image:
    """Open the same picture again, unloaded, with a raw mode from `low_bytes`.

    `page` is the page to read in a multi-page file.
    """
    if page:
        image.seek(page)
    image.info[_FOUR_BYTES] = raw == "RGBA"
    image.tile = [  # type: ignore[attr-defined]
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    return image


def _raw_mode(args: object) -> str:
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def colour(
    high: Image.Image,
    low: Image.Image,
    convert: Convert | None,
    clear: tuple[int, ...] | None = None,
) -> Image.Image:
    """Combine high and low bytes of a 16-bit colour picture to 8-bit "RGB" or "RGBA".

    `convert` turns 16-bit codes (h, w, 3) into sRGB; `clear` is the transparent colour. The result
    reuses `high` unless it needs an alpha channel that `high` lacks.
    """
    highest = max(_tops(high)[:3]) << 8
    if highest < 2**12:
        highest = max(int(codes[..., :3].max()) for _, codes in _bands(high, low))
    full = full_scale(highest)
    result = Image.new("RGBA", high.size) if clear else high
    for top, codes in _bands(high, low):
        rgb, alpha = codes[..., :3], scaled(codes[..., 3:], FULL)
        if clear:
            there = (rgb != clear).any(axis=-1, keepdims=True)
            alpha = np.where(there, 255, 0).astype(np.uint8)
        if convert and full != FULL:
            rgb = ((rgb.astype(np.uint32) * FULL + full // 2) // full).astype(np.uint16)
        shown = convert(rgb) if convert else scaled(rgb, full)
        result.paste(Image.fromarray(np.concatenate([shown, alpha], axis=-1)), (0, top))
    return result


def _tops(image: Image.Image) -> list[int]:
    extrema = image.getextrema()
    return [int(band[1]) for band in extrema if isinstance(band, tuple)]


def _bands(high: Image.Image, low: Image.Image) -> Iterator[tuple[int, NDArray[np.uint16]]]:
    """(first row, (h, W, 3 or 4) codes) from the top to the bottom."""
    width, height = high.size
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        second = np.asarray(low.crop(box)).astype(np.uint16)
        if low.info.get(_FOUR_BYTES):  # grey high, grey low, alpha high, alpha low
            first, second = second[..., [0, 0, 0, 2]], second[..., [1, 1, 1, 3]]
        else:
            first = np.asarray(high.crop(box)).astype(np.uint16)
        yield top, np.left_shift(first, 8, dtype=np.uint16) | second
