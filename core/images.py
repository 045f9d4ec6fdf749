"""Pictures in and out: accepted inputs, and how pictures are written.

Inside the project a picture is an upright (H, W, 3) uint8 sRGB array. Files are decoded by
`core.imaging.decoding.decoder`; its `decode` and limits are exported here too.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from core.errors import InputError, ResourceError
from core.imaging import bands, png
from core.imaging.colour import conversion, icc
from core.imaging.decoding import bit_depth, decoder
from core.imaging.decoding.decoder import (
    MAX_BYTES,
    MAX_PIXELS,
    MIN_SIDE,
    READABLE,
    check_size,
    decode,
    load,
)
from core.imaging.sizes import fitted
from core.types import RGB

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MIN_SIDE",
    "READABLE",
    "RGB",
    "Picture",
    "decode",
    "digest",
    "from_any",
    "mask_to_png_bytes",
    "picture",
    "read",
    "resize_max",
    "save_jpeg",
    "save_png",
]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture by name: `digest` of its pixels, `size` (H, W), and how to `load` them.

    `name` is the original file name, or "" if unknown.

    Task results are stored under the digest, so a second click on a picture neither decodes
    the file nor hashes the pixels. `load` returns (H, W, 3) uint8.
    """

    digest: str
    size: tuple[int, int]
    load: Callable[[], RGB] = field(repr=False, compare=False)
    name: str = field(default="", compare=False)

    def pixels(self) -> RGB:
        """(H, W, 3) uint8, checked against the digest.

        Raises:
            InputError: the pixels differ from those the digest was made of.
        """
        rgb = self.load()
        if digest(rgb) != self.digest:
            raise InputError("The picture has changed; please choose it again.")
        return rgb


ImageLike = Image.Image | RGB | Path | str | Picture | None


def picture(image: ImageLike) -> Picture:
    """The `Picture` of anything that `from_any` accepts; a `Picture` is returned unchanged."""
    if isinstance(image, Picture):
        return image
    rgb = from_any(image)
    return Picture(digest(rgb), (rgb.shape[0], rgb.shape[1]), partial(_itself, rgb))


def _itself(rgb: RGB) -> RGB:
    """`Picture.load` of decoded pixels; unlike a lambda it can be pickled."""
    return rgb


def from_any(image: ImageLike) -> RGB:
    """Turn any picture that the Python API accepts into (H, W, 3) uint8.

    Args:
        image: a path; a `Picture`; a Pillow image (handled as `decode` does); or an array (H, W),
            (H, W, 1), (H, W, 3) or (H, W, 4), where uint8 is taken as it is, uint16 by the rule of
            `core.imaging.decoding.bit_depth`, floats are in 0..1, other integers in 0..255, bool is
            black and white, and a fourth channel is alpha, laid over white.

    Returns:
        (H, W, 3) uint8; a uint8 RGB array is returned without a copy.

    Raises:
        BadImage: the file or picture is refused.
        InputError: no picture, or an array of the wrong shape, type or range.
    """
    if isinstance(image, Picture):
        return image.pixels()
    if image is None:
        raise InputError("Please give a picture: upload one or choose an example.")
    if isinstance(image, (str, Path)):
        return read(Path(image))
    if isinstance(image, Image.Image):
        check_size(*image.size)
        meant, upright = conversion.encoding(image), load(image)
        own = upright.copy() if upright is image else upright  # leave the caller's picture alone
        return bands.to_array(conversion.to_rgb(own, meant))
    if isinstance(image, np.ndarray):
        return _from_array(image)
    raise InputError("Please give a picture as a path, a Pillow image or a NumPy array.")


def read(source: Path | bytes) -> RGB:
    """`decode` as an array, which counts towards the decoding budget as long as it is held.

    Raises:
        BadImage, Busy: as `decode`.
    """
    return decoder.to_array(source)


def digest(rgb: RGB) -> str:
    """SHA-256 (hex) of shape and pixels: equal for equal pictures, whatever their files."""
    sha = hashlib.sha256(repr((rgb.shape, rgb.dtype.str)).encode())
    sha.update(np.ascontiguousarray(rgb).data)
    return sha.hexdigest()


def save_png(rgb: RGB, path: Path) -> Path:
    """Write (H, W, 3) uint8 losslessly, with no metadata except the sRGB tag; return the path.

    Raises:
        ResourceError: the disk is full or the folder is not writable.
    """
    return _write(path, png.parts(rgb))


def save_jpeg(rgb: RGB | Image.Image, path: Path, quality: int = 90) -> Path:
    """Write (H, W, 3) uint8, or a picture from `core.imaging.draw`, as JPEG with no metadata except
    an sRGB profile; return the path.

    Raises:
        ResourceError: the disk is full or the folder is not writable.
    """
    return _write(path, [_jpeg(rgb, quality)])


def mask_to_png_bytes(mask: NDArray[np.bool_]) -> bytes:
    """A (H, W) bool mask as a PNG of one bit per pixel, white where True."""
    return to_png_bytes(Image.fromarray(mask.astype(bool)))


def rgba_to_png_bytes(rgba: NDArray[np.uint8]) -> bytes:
    """(H, W, 4) uint8 as PNG bytes."""
    return png.encode(rgba)


def resize_max(rgb: RGB, side: int) -> RGB:
    """Shrink (H, W, 3) uint8 so that the longer side is at most `side` pixels; never enlarge."""
    height, width = fitted(rgb.shape[:2], side)
    if (height, width) == rgb.shape[:2]:
        return rgb
    size = (width, height)
    small = Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return np.array(small)


def _from_array(array: NDArray[np.generic]) -> RGB:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise InputError(
            f"The array has shape {array.shape}; please give (height, width, 3) in RGB order."
        )
    if 0 in array.shape:
        raise InputError("The array is empty; please give a picture.")
    height, width = array.shape[:2]
    check_size(width, height)
    pixels = np.ascontiguousarray(_to_uint8(array))
    if channels == 1:
        return np.repeat(pixels.reshape(height, width, 1), 3, axis=2)
    return np.array(conversion.to_rgb(Image.fromarray(pixels))) if channels == 4 else pixels


def _to_uint8(array: NDArray[np.generic]) -> RGB:
    if array.dtype == np.uint8:
        return array.astype(np.uint8, copy=False)
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return bit_depth.from_array(array.astype(np.uint16, copy=False))
    if array.dtype.kind not in "iuf":
        raise InputError("The array does not hold numbers; please give uint8 values in 0..255.")
    top = 1.0 if array.dtype.kind == "f" else 255.0
    low, high = float(array.min()), float(array.max())
    if not (low >= 0 and high <= top):  # also refuses NaN
        raise InputError(
            f"The array's values run from {low:g} to {high:g}; please give floats in 0..1 or "
            "integers in 0..255."
        )
    return np.rint(array.astype(np.float64) * (255.0 / top)).astype(np.uint8)


def to_png_bytes(image: Image.Image) -> bytes:
    """A Pillow picture of any mode as a PNG tagged as sRGB; for RGB, `save_png` is faster."""
    told = PngInfo()
    told.add(*png.SRGB)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1, pnginfo=told)
    return buffer.getvalue()


def _jpeg(rgb: RGB | Image.Image, quality: int) -> bytes:
    image = rgb if isinstance(rgb, Image.Image) else Image.fromarray(rgb)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, icc_profile=icc.srgb())
    return buffer.getvalue()


def _write(path: Path, parts: Iterable[bytes]) -> Path:
    try:
        with path.open("wb") as file:
            file.writelines(parts)
    except OSError as error:
        raise ResourceError(
            "The picture cannot be written: the disk is full or the folder is read-only."
        ) from error
    return path
