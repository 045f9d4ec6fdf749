"""Numbers of more than 8 bits as 8-bit pictures, by one rule for grey and colour.

Integers of 16 bits are divided by 257, so that a picture looks the same with 8 bits and with 16.
One exception: where all values lie in the lowest sixteenth, as cameras of 12 bits write them,
white is the largest number of as many bits as they need; the picture would be black.
Floats in 0..1 become 0..255, with the same exception. Floats beyond that, and integers of 32 bits,
have no white that is known: they are stretched from their lowest to their highest value.
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

# Pillow reads 16-bit grey where black is 0, but hardly where white is; we invert it ourselves.
for _key, _modes in list(TiffImagePlugin.OPEN_INFO.items()):
    if _key[1] == 1 and _key[4][0] > 8 and len(_key[4]) == 1:
        TiffImagePlugin.OPEN_INFO.setdefault((_key[0], 0, *_key[2:]), _modes)


def full_scale(highest: int, bits: int = 16) -> int:
    """The number that is white where integers of `bits` by their header reach up to `highest`."""
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
    """(H, W) or (H, W, channels) of 16 bits with 8; a fourth channel is alpha."""
    colours = values[..., :3] if values.ndim == 3 else values
    out = scaled(values, full_scale(int(colours.max())))
    if values.ndim == 3:
        out[..., 3:] = scaled(values[..., 3:], FULL)
    return out


def extent(values: NDArray[np.generic]) -> tuple[float, float]:
    """The numbers that become black and white.

    Raises:
        BadImage: there is none, only not-a-number.
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
    """low..high to 0..1; float64 is exact for 32 bits."""
    if low == high:
        return np.full(values.shape, 128 / 255)
    band = np.nan_to_num(values.astype(np.float64), nan=low, posinf=high, neginf=low)
    return (np.clip(band, low, high) - low) / (high - low)


def stretched(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """(H, …) floats or integers without a known white, with 8 bits; all channels by one range.

    Raises:
        BadImage: there is no number in it, only not-a-number.
    """
    low, high = extent(values)
    out = np.empty(values.shape, np.uint8)
    for top in range(0, len(values), 256):
        out[top : top + 256] = np.rint(_unit(values[top : top + 256], low, high) * 255)
    return out


def grey_codes(
    values: NDArray[np.generic], bits: int | None, negative: bool
) -> Iterator[NDArray[np.uint16]]:
    """Bands of (h, W) numbers as codes 0..65535.

    Args:
        bits: of integers with a white that is known, None for all other numbers.
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
    """(H, W) numbers as a picture: "L", or "RGB" where `convert` turns 16-bit codes into sRGB.

    Where `clear` is given, the numbers that equal it are transparent ("LA" or "RGBA").
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


# Where libtiff unpacks, it also turns the bytes of a number into the machine's order; Pillow knows
# that of 16-bit integers only.
_NATIVE_ORDER = {"F;32BF": "F;32NF", "I;32BS": "I;32NS", "I;16BS": "I;16NS"}


def mend_tiff(image: Image.Image) -> None:
    """Have a TIFF picture, just opened, read rightly where Pillow would mix up its bytes.

    Raises:
        BadImage: it cannot be read rightly.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is None:
        return
    codecs = {tile.codec_name for tile in image.tile}  # type: ignore[attr-defined]
    planes = tags.get(284) == 2 and image.mode != "L"  # PlanarConfiguration: channel by channel
    if codecs == {"libtiff"}:
        args = image.tile[0].args  # type: ignore[attr-defined]
        if args[0] in _NATIVE_ORDER:
            with_raw_mode(image, _NATIVE_ORDER[args[0]])  # of the page that it is at
        unread = planes and image.mode in ("LA", "PA")
    else:
        unread = planes and max(tags.get(258, (8,))) > 8
    if unread:
        raise BadImage(UNREADABLE)


# ---- 16-bit colour ----------------------------------------------------------------------------
# Pillow keeps the high byte of each number. Read once more as if the bytes were swapped, the same
# file gives the low bytes.

_SWAPPED = "B" if sys.byteorder == "little" else "L"
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBX", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _SWAPPED))
} | {"LA;16B": "RGBA"}  # Pillow has no LA;16L: the four bytes of a pixel as four channels
_FOUR_BYTES = "four bytes a pixel"


def low_bytes(image: Image.Image) -> str | None:
    """The raw mode that reads the low bytes of a picture of 16-bit colour; None for all others.

    The picture must not have been loaded yet. Frames of an animated PNG are laid over each other
    while they are read, which cannot be done with bytes apart: their high bytes must do.
    """
    if image.format == "PNG" and getattr(image, "is_animated", False):
        return None
    raw = {_raw_mode(tile.args) for tile in getattr(image, "tile", ())}
    return _LOW_BYTES.get(raw.pop()) if len(raw) == 1 else None


def with_raw_mode(image: Image.Image, raw: str, page: int = 0) -> Image.Image:
    """The same picture, not loaded yet, to be read by a raw mode that `low_bytes` gave.

    `page` is that of a file of several.
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
    """A picture of 16-bit colour, given by its high and low bytes, as 8-bit "RGB" or "RGBA".

    `convert` turns 16-bit codes (h, w, 3) into sRGB; `clear` is the colour that is transparent. The
    result takes the place of `high` unless that has no alpha and needs it.
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
        if low.info.get(_FOUR_BYTES):  # of grey the high byte and the low byte, then of alpha
            first, second = second[..., [0, 0, 0, 2]], second[..., [1, 1, 1, 3]]
        else:
            first = np.asarray(high.crop(box)).astype(np.uint16)
        yield top, np.left_shift(first, 8, dtype=np.uint16) | second
