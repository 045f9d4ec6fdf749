"""BMP variants that Pillow cannot read or misreads: run-length coded, and unusual bit masks.

Pillow loses its place at odd runs, empty lines and jumps. Source: Microsoft's
BITMAPINFOHEADER and BITMAPV4HEADER, "Bitmap Compression".
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.imaging.decoding.limits import Clock, check_size, damaged

_RLE8, _RLE4, _MASKS, _MASKS_WITH_ALPHA = 1, 2, 3, 6
_LINE_END, _PICTURE_END, _JUMP = 0, 1, 2


def is_run_length(data: bytes) -> bool:
    """Whether the file is a run-length coded BMP."""
    if data[:2] != b"BM" or len(data) < 54:
        return False
    header, bits, method = struct.unpack_from("<I10xHI", data, 14)
    return header >= 40 and (bits, method) in ((8, _RLE8), (4, _RLE4))


def decode(data: bytes, clock: Clock) -> Image.Image:
    """Read a run-length coded BMP; pixels that no run reaches get the palette's first colour.

    Raises:
        BadImage: wrong size, or the file is truncated.
        TooSlow: it has too many runs.
    """
    first, header, width, height, bits, method, used = struct.unpack_from("<IIii2xHI12xI", data, 10)
    check_size(width, abs(height))
    palette = data[14 + header : 14 + header + 4 * min(used or 1 << bits, 1 << bits)]
    pixels = _pixels(memoryview(data)[first:], width, abs(height), method == _RLE4, clock)
    rows = np.frombuffer(pixels, np.uint8).reshape(abs(height), width)
    image = Image.fromarray(np.ascontiguousarray(rows if height < 0 else rows[::-1]))
    colours = np.zeros((256, 3), np.uint8)
    found = np.frombuffer(palette[: len(palette) // 4 * 4], np.uint8).reshape(-1, 4)
    colours[: len(found)] = found[:, 2::-1]
    image.putpalette(colours.tobytes())
    return image


def has_masks(data: bytes) -> bool:
    """Whether the file is a BMP of 16 or 32 bits with colour masks."""
    if data[:2] != b"BM" or len(data) < 70:
        return False
    header, bits, method = struct.unpack_from("<I10xHI", data, 14)
    return header >= 40 and bits in (16, 32) and method in (_MASKS, _MASKS_WITH_ALPHA)


def decode_masks(data: bytes) -> Image.Image:
    """Read a BMP with colour masks, and its alpha mask if there is one.

    Raises:
        BadImage: wrong size, or the file is truncated.
    """
    first, header, width, height, bits, method = struct.unpack_from("<IIii2xHI", data, 10)
    check_size(width, abs(height))
    has_alpha = header >= 56 or method == _MASKS_WITH_ALPHA
    masks = struct.unpack_from(f"<{3 + has_alpha}I", data, 54)
    nbytes = bits // 8
    stride = -(-width * nbytes // 4) * 4
    if first + stride * abs(height) > len(data):
        raise damaged()
    rows = np.frombuffer(data, np.uint8, stride * abs(height), first).reshape(-1, stride)
    values = np.ascontiguousarray(rows[:, : width * nbytes]).view(f"<u{nbytes}")
    values = values if height < 0 else values[::-1]
    colours = masks if masks[-1] or not has_alpha else masks[:3]
    return Image.fromarray(np.dstack([_masked(values, mask) for mask in colours]))


def _masked(values: NDArray[np.unsignedinteger[Any]], mask: int) -> NDArray[np.uint8]:
    """The bits under a mask, scaled to 0..255."""
    mask &= int(np.iinfo(values.dtype.name).max)
    if not mask:
        return np.zeros(values.shape, np.uint8)
    shift = (mask & -mask).bit_length() - 1
    top = mask >> shift
    bits = (values & values.dtype.type(mask)) >> values.dtype.type(shift)
    return np.rint(bits * np.float32(255 / top)).astype(np.uint8)


def _pixels(codes: memoryview, width: int, height: int, packed: bool, clock: Clock) -> bytearray:
    """Palette indices, the bottom row first."""
    pixels = bytearray(width * height)
    x = y = at = steps = 0
    while y < height:
        if at + 2 > len(codes):
            if y * width + x >= width * height:  # only the end marker is missing
                break
            raise damaged()
        steps += 1
        if steps % 4096 == 0:
            clock.check()
        count, value = codes[at], codes[at + 1]
        at += 2
        if count:
            run = _pair(value, count) if packed else bytes((value,)) * count
        elif value == _LINE_END:
            x, y = 0, y + 1
            continue
        elif value == _PICTURE_END:
            break
        elif value == _JUMP:
            if at + 2 > len(codes):
                raise damaged()
            x, y, at = x + codes[at], y + codes[at + 1], at + 2
            continue
        else:
            count = value
            nbytes = (count + 1) // 2 if packed else count
            content = bytes(codes[at : at + nbytes])
            if len(content) < nbytes:
                raise damaged()
            run = _nibbles(content)[:count] if packed else content
            at += nbytes + nbytes % 2  # pad to even
        shown = run[: max(0, width - x)]  # clip at the edge
        pixels[y * width + x : y * width + x + len(shown)] = shown
        x += count
    return pixels


def _pair(value: int, count: int) -> bytes:
    return (bytes((value >> 4, value & 15)) * ((count + 1) // 2))[:count]


def _nibbles(content: bytes) -> bytes:
    return bytes(nibble for byte in content for nibble in (byte >> 4, byte & 15))
