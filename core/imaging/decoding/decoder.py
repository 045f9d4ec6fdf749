"""Decode an untrusted picture file: header first, bounded in time and memory.

Metadata must not keep pixels from being read, so some formats are first stripped to what the
picture needs, and in a TIFF the page with the picture is selected (`files`). Colours and depth are
interpreted by `core.imaging.colour`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import BadImage
from core.imaging import bands
from core.imaging.colour import conversion
from core.imaging.decoding import bit_depth, bmp, budget, deep, jpeg, tiff
from core.imaging.decoding.budget import P
from core.imaging.decoding.files import File, prepare, read
from core.imaging.decoding.limits import (
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    READABLE,
    Clock,
    TimedFile,
    TooSlow,
    check_size,
    damaged,
    not_a_picture,
    too_heavy,
    too_large,
)

__all__ = ["MAX_BYTES", "MAX_PIXELS", "MIN_SIDE", "READABLE", "check_size", "decode", "load"]
# Listing the formats keeps Pillow from trying its other readers, one of which (EPS) starts a
# program; the file's name is ignored.
FORMATS: tuple[str, ...] = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
FTYP_FORMATS: tuple[str, ...] = ("AVIF", "HEIF")  # share one container, whose first box is "ftyp"

_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_ORIENTATION = 0x0112  # EXIF tag, and how to undo each of its values
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(source: Path | bytes) -> Image.Image:
    """A picture file as an upright sRGB image without metadata.

    The header is read first, and size and kind are checked before any pixel is decoded. Animations
    give their first frame, a TIFF its first page that is not a preview. Colours are converted from
    the file's profile or colour space and HDR is tone-mapped, as in browsers
    (`core.imaging.colour`); alpha is blended over white. Deeper pixels and floats become 8 bits
    (`bit_depth`). Orientation comes from EXIF or the container, not from XMP.

    Args:
        source: path of a file, or its content; at most 25 MB.

    Returns:
        mode "RGB", each side at least 8 px, at most 50 megapixels, `info` empty.

    Raises:
        BadImage: anything else; the message says what to do.
        Busy: too many large pictures are being decoded (`core.imaging.decoding.budget`).
    """
    return _decoded(source, _plain)


def to_array(source: Path | bytes) -> NDArray[np.uint8]:
    """`decode` as (H, W, 3) uint8, without a copy of the whole picture on the way.

    Raises:
        BadImage, Busy: as `decode`.
    """
    return _decoded(source, bands.to_array)


def _plain(rgb: Image.Image) -> Image.Image:
    """A plain Image, because a format's own class keeps metadata beside `info`."""
    return rgb if type(rgb) is Image.Image else rgb.copy()


def _decoded(source: Path | bytes, made: Callable[[Image.Image], P]) -> P:
    """The array that `made` gives for the RGB picture, counted in the budget while it is held."""
    clock = Clock()
    try:
        file = prepare(read(source), clock)
        image = _open(file, clock)
        check_size(*image.size)
        _check_effort(image, file)
        frame = _frame(image)
        bit_depth.mend_tiff(image)
        meant, low = conversion.encoding(image, file.data), bit_depth.low_bytes(image)
        with budget.room(image):
            image = _loaded(image, file, clock)
            check_size(*image.size)  # again: decoded size, not the header's
            rest = None
            if low:
                again = bit_depth.with_raw_mode(_open(file, clock), low, image.tell())
                rest = _loaded(again, file, clock)
            rgb = _on_canvas(conversion.to_rgb(image, meant, rest), file.canvas, frame)
            return budget.keep(made(rgb))
    except TooSlow as error:
        raise too_heavy() from error
    except MemoryError as error:
        raise BadImage(
            "There is not enough memory for this picture now; please choose a smaller one."
        ) from error


@cache
def _register_heif() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)


def _open(file: File, clock: Clock) -> Image.Image:
    """Read the header. Readers raise unspecified errors on malformed bytes, so all are caught."""
    by_webp = file.tiff is not None and file.tiff.page.get(tiff.COMPRESSION) == tiff.WEBP
    if by_webp or bmp.is_run_length(file.data):
        return _open_without_pillow(file, clock)
    formats = FORMATS
    if file.data[4:8] == b"ftyp":
        _register_heif()
        formats = FTYP_FORMATS
    try:
        image = Image.open(TimedFile(file.data, clock), formats=formats)
    except (MemoryError, TooSlow):
        raise
    except _BOMBS as error:
        raise too_large() from error
    except Exception as error:
        if file.tiff or bmp.has_masks(file.data):
            return _open_without_pillow(file, clock)
        raise not_a_picture() from error
    for name in ("xmp", "XML:com.adobe.xmp"):  # Pillow rotates by XMP; no viewer does
        image.info.pop(name, None)
    if file.profile:
        image.info["icc_profile"] = file.profile
    return image


def _open_without_pillow(file: File, clock: Clock) -> Image.Image:
    """Read files that Pillow misreads or cannot read, pixels included."""
    try:
        if file.tiff is None:
            if bmp.is_run_length(file.data):
                return bmp.decode(file.data, clock)
            return bmp.decode_masks(file.data)
        by_webp = file.tiff.page.get(tiff.COMPRESSION) == tiff.WEBP
        image = deep.webp(file.tiff, clock) if by_webp else _from_numbers(file.tiff)
    except (BadImage, MemoryError, TooSlow):
        raise
    except Exception as error:  # as in _open
        raise damaged() from error
    exif = Image.Exif()
    exif[_ORIENTATION] = file.tiff.page.get(tiff.ORIENTATION, 1)
    image.info["exif"] = exif.tobytes()
    return image


def _from_numbers(file: tiff.Tiff) -> Image.Image:
    """Read a page of a depth that Pillow has no mode for, reduced by `bit_depth`."""
    values, has_alpha = deep.numbers(file)
    if values.dtype.name == "uint16":
        shown = bit_depth.from_array(values.astype(np.uint16, copy=False))
    else:
        shown = bit_depth.stretched(values[..., :-1] if has_alpha else values)
        if has_alpha:
            top = 1.0 if values.dtype.kind == "f" else float(np.iinfo(values.dtype.name).max)
            alpha = np.clip(np.nan_to_num(values[..., -1:].astype(np.float32)) / top, 0, 1)
            shown = np.concatenate((shown, np.rint(alpha * 255).astype(np.uint8)), axis=2)
    return Image.fromarray(shown[..., 0] if shown.shape[2] == 1 else shown)


def _check_effort(image: Image.Image, file: File) -> None:
    """Refuse files whose pixels cost far more time or memory than their number suggests."""
    if file.jpeg:
        jpeg.check_effort(file.jpeg, image.width * image.height)
    elif image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        tile = [tags.get(tag, 0) for tag in (tiff.TILE_WIDTH, tiff.TILE_LENGTH)]
        if not all(isinstance(n, int) for n in tile) or tile[0] * tile[1] > MAX_PIXELS:
            raise too_heavy()


def load(image: Image.Image) -> Image.Image:
    """Decode the pixels of a caller's Pillow image and turn it upright; may return the same image.

    Raises:
        BadImage: it is damaged, or too large.
    """
    try:
        _load_pixels(image)
    except TooSlow as error:
        raise too_heavy() from error
    return _upright(image)


def _loaded(image: Image.Image, file: File, clock: Clock) -> Image.Image:
    """Decode and turn upright.

    Raises:
        BadImage: pixels are missing.
    """
    _load_pixels(image)
    if file.jpeg:
        jpeg.check_whole(file.jpeg, image, clock)
    return _upright(image)


def _load_pixels(image: Image.Image) -> None:
    try:
        image.load()
    except (MemoryError, TooSlow):
        raise
    except _BOMBS as error:
        raise too_large() from error
    except Exception as error:  # as in _open
        raise damaged() from error


def _upright(image: Image.Image) -> Image.Image:
    """Rotate by EXIF. For TIFF, HEIC and AVIF the reader has already done so, or has copied the
    container's orientation into the EXIF."""
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif") or b"")
        turn = _TURNS.get(exif.get(_ORIENTATION, 1))
    except MemoryError:
        raise
    except Exception:  # damaged EXIF: leave the pixels as they are
        turn = None
    return image if turn is None else image.transpose(turn)


def _frame(image: Image.Image) -> tuple[int, int, int, int] | None:
    """Where a GIF's first frame lies on its canvas; the rest is empty, not coloured."""
    tiles = getattr(image, "tile", None)
    return tuple(tiles[0][1]) if image.format == "GIF" and tiles else None


def _on_canvas(
    rgb: Image.Image,
    canvas: tuple[int, int, int, int] | None,
    frame: tuple[int, int, int, int] | None,
) -> Image.Image:
    """Place an animation's first frame on its otherwise empty canvas."""
    if canvas is None and frame in (None, (0, 0, *rgb.size)):
        return rgb
    whole = Image.new("RGB", canvas[:2] if canvas else rgb.size, "white")
    if canvas:
        whole.paste(rgb, canvas[2:])
    elif frame:
        whole.paste(rgb.crop(frame), frame[:2])
    return whole
