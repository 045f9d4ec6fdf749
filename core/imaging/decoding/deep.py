"""TIFF pages that Pillow has no mode or decoder for: deep colour, and WebP compression."""

from __future__ import annotations

import io
import struct

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.imaging.decoding import tiff
from core.imaging.decoding.limits import (
    Clock,
    check_size,
    damaged,
    not_a_picture,
    too_heavy,
    unsupported,
)

_KINDS = {"u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8"}
_MAX_BYTES = 160 * 2**20  # for one picture's numbers
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_NO_PREDICTOR, _DIFFERENCES, _FLOAT_DIFFERENCES = 1, 2, 3


def numbers(file: tiff.Tiff) -> tuple[NDArray[np.generic], bool]:
    """The numbers of a grey or RGB page of any depth, and whether its last channel is alpha.

    libtiff decompresses a page presented to it as a wide 8-bit grey picture; bytes are then joined
    to numbers here. White-is-zero pages are inverted.

    Returns:
        (H, W, channels) of the file's own type.

    Raises:
        BadImage: unsupported, too large, or damaged.
    """
    page = file.page
    width, height = page.size
    check_size(width, height)
    channels = page.get(tiff.SAMPLES, 1)
    photometric, compression = page.get(tiff.PHOTOMETRIC), page.get(tiff.COMPRESSION, 1)
    colours = 3 if photometric == _RGB else 1
    known = len(page.kinds) == 1 and page.kinds <= _KINDS and compression in tiff.PACKED
    if not known or photometric > _RGB or not colours <= channels <= 8:
        raise not_a_picture()
    dtype = np.dtype(file.order + next(iter(page.kinds)))
    if width * height * channels * dtype.itemsize > _MAX_BYTES:
        raise unsupported(f"A picture of {width} x {height} pixels with {dtype.name} numbers")
    separate = page.get(tiff.PLANAR, 1) == 2
    planes = [
        _plane(file, dtype, 1 if separate else channels, index, channels if separate else 1)
        for index in range(channels if separate else 1)
    ]
    values = np.concatenate(planes, axis=2)[:height, :width]
    if photometric == _WHITE_IS_ZERO and dtype.kind != "f":
        values = np.iinfo(dtype).max - values
    elif photometric == _WHITE_IS_ZERO:
        values = 1 - values
    extra = page.tags.get(tiff.EXTRA, np.zeros(1))
    alpha = channels > colours and int(extra[0]) in (1, 2)
    return values[..., : colours + alpha], alpha


def _plane(
    file: tiff.Tiff, dtype: np.dtype[np.generic], channels: int, index: int, planes: int
) -> NDArray[np.generic]:
    """One plane (H, W, channels) of `planes`, padded to whole tiles."""
    page = file.page
    width, height = page.size
    tiled = tiff.TILES in page.tags
    across, down = (
        (page.get(tiff.TILE_WIDTH), page.get(tiff.TILE_LENGTH))
        if tiled
        else (width, min(height, page.get(tiff.STRIP_ROWS, height)))
    )
    if not across or not down:
        raise damaged()
    offsets, lengths = _segments(file, index, planes)
    padded = -(-width // across) * across, (-(-height // down) * down if tiled else height)
    row = channels * dtype.itemsize
    if padded[0] * padded[1] * row > 2 * _MAX_BYTES:
        raise too_heavy()
    packed = _as_grey(file, padded, across * row, down, tiled, offsets, lengths, row)
    content = _unpacked(packed).reshape(padded[1], padded[0] // across, across * row)
    return _predicted(content, page.get(tiff.PREDICTOR, 1), dtype, channels).reshape(
        padded[1], padded[0], channels
    )


def _segments(
    file: tiff.Tiff, index: int, planes: int
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Offsets and byte counts of the strips or tiles of a plane."""
    tags = file.page.tags
    tiled = tiff.TILES in tags
    offsets = tags.get(tiff.TILES if tiled else tiff.STRIPS)
    lengths = tags.get(tiff.TILE_BYTES if tiled else tiff.STRIP_BYTES)
    if offsets is None or lengths is None or len(offsets) != len(lengths):
        raise damaged()
    count = len(offsets) // planes
    part = slice(index * count, (index + 1) * count)
    return offsets[part], lengths[part]


def _as_grey(
    file: tiff.Tiff,
    size: tuple[int, int],
    across: int,
    down: int,
    tiled: bool,
    offsets: NDArray[np.generic],
    lengths: NDArray[np.generic],
    row: int,
) -> bytes:
    """The file with a new directory that presents each byte as a grey pixel."""
    start = len(file.data) + len(file.data) % 2
    lists = b"".join(part.astype("<u4").tobytes() for part in (offsets, lengths))
    count, there = len(offsets), start
    start += len(lists)
    places = (there, there + 4 * count) if count > 1 else (int(offsets[0]), int(lengths[0]))
    tags = [
        (tiff.WIDTH, 1, size[0] * row),
        (tiff.LENGTH, 1, size[1]),
        (tiff.BITS, 1, 8),
        (tiff.COMPRESSION, 1, file.page.get(tiff.COMPRESSION, 1)),
        (tiff.PHOTOMETRIC, 1, _BLACK_IS_ZERO),
    ]
    if tiled:
        tags += [(tiff.SAMPLES, 1, 1), (tiff.TILE_WIDTH, 1, across), (tiff.TILE_LENGTH, 1, down)]
        tags += [(tiff.TILES, count, places[0]), (tiff.TILE_BYTES, count, places[1])]
    else:
        tags += [(tiff.STRIPS, count, places[0]), (tiff.SAMPLES, 1, 1)]
        tags += [(tiff.STRIP_ROWS, 1, down), (tiff.STRIP_BYTES, count, places[1])]
    directory = b"".join(struct.pack("<HHII", tag, 4, many, value) for tag, many, value in tags)
    return b"".join(
        (
            struct.pack("<2sHI", b"II", 42, start),
            memoryview(file.data)[8:],
            bytes(len(file.data) % 2),
            lists,
            struct.pack("<H", len(tags)),
            directory,
            bytes(4),
        )
    )


def _unpacked(data: bytes) -> NDArray[np.uint8]:
    try:
        return np.asarray(Image.open(io.BytesIO(data), formats=("TIFF",)))
    except MemoryError:
        raise
    except Exception as error:  # as in decoding.load
        raise damaged() from error


def _predicted(
    content: NDArray[np.uint8], predictor: int, dtype: np.dtype[np.generic], channels: int
) -> NDArray[np.generic]:
    """Undo the predictor in rows of tiles (H, tiles, bytes), if there is one."""
    height, tiles, nbytes = content.shape
    if predictor == _FLOAT_DIFFERENCES:
        steps = content.reshape(height, tiles, nbytes // channels, channels)
        planes = np.cumsum(steps, axis=2, dtype=np.uint8)
        planes = planes.reshape(height, tiles, dtype.itemsize, nbytes // dtype.itemsize)
        return np.ascontiguousarray(planes.swapaxes(2, 3)).view(dtype.newbyteorder(">"))[..., 0]
    if predictor == _DIFFERENCES:
        unsigned = np.dtype(f"{dtype.byteorder}u{dtype.itemsize}")
        steps = np.ascontiguousarray(content).view(unsigned)
        steps = steps.reshape(height, tiles, -1, channels)
        sums = np.cumsum(steps, axis=2, dtype=unsigned.newbyteorder("="))
        return sums.view(dtype.newbyteorder("="))
    return np.ascontiguousarray(content).view(dtype)


def webp(file: tiff.Tiff, clock: Clock) -> Image.Image:
    """Read a page whose strips or tiles are WebP files.

    Raises:
        BadImage: it is too large or damaged.
    """
    page = file.page
    width, height = page.size
    check_size(width, height)
    tiled = tiff.TILES in page.tags
    across = page.get(tiff.TILE_WIDTH) if tiled else width
    down = page.get(tiff.TILE_LENGTH) if tiled else page.get(tiff.STRIP_ROWS, height)
    if not across or not down:
        raise damaged()
    columns, rows = -(-width // across), -(-height // down)
    offsets, lengths = _segments(file, 0, 1)
    if len(offsets) < columns * rows:
        raise damaged()
    whole = Image.new("RGBA", (width, height))
    for index in range(columns * rows):
        clock.check()
        start = int(offsets[index])
        part = file.data[start : start + int(lengths[index])]
        corner = index % columns * across, index // columns * down
        try:
            image = Image.open(io.BytesIO(part), formats=("WEBP",))
            if image.width > across or image.height > max(down, height):
                raise damaged()
            whole.paste(image, corner)
        except MemoryError:
            raise
        except Exception as error:
            raise damaged() from error
    return whole
