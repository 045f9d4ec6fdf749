"""Metrics for pictures, boxes and masks; pictures are (H, W, 3) uint8, values are plain floats."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError
from core.types import RGB


def psnr(a: RGB, b: RGB) -> float:
    """Peak signal-to-noise ratio, 10 log10(255² / mean((a - b)²)), in dB; inf for equal pictures.

    Args:
        a, b: (H, W, 3) uint8, of the same shape.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(a, b)
    error = a.astype(np.float32) - b.astype(np.float32)
    mse = float(np.mean(np.square(error), dtype=np.float64))
    return float("inf") if mse == 0 else float(10 * np.log10(255.0**2 / mse))


def ssim(a: RGB, b: RGB) -> float:
    """Structural similarity, -1..1, 1 for equal pictures; mean over the three channels.

    With the Gaussian window (sigma 1.5, 11 x 11) of Wang et al., "Image quality assessment: from
    error visibility to structural similarity", 2004; computed by scikit-image.

    Args:
        a, b: (H, W, 3) uint8, of the same shape, at least 11 x 11.

    Raises:
        InputError: the shapes differ, or the pictures are smaller than the window.
    """
    from skimage.metrics import structural_similarity

    _same_shape(a, b)
    if min(a.shape[:2]) < 11:
        raise InputError("SSIM needs pictures of at least 11 x 11 pixels; please give larger ones.")
    value = structural_similarity(
        a,
        b,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(value)


def blur(image: RGB) -> float:
    """How blurred a picture is, 0 (sharp) to 1: how little a further blur would change it.

    Of Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual
    blur metric", 2007; computed by scikit-image from the mean of the three channels.
    """
    from skimage.measure import blur_effect

    return float(blur_effect(image.astype(np.float32).mean(axis=2) / 255))


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: (N, 4) xyxy.
        b: (M, 4) xyxy.

    Returns:
        (N, M) in 0..1; 0 where both boxes have no area.
    """
    first, second = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    low = np.maximum(first[..., :2], second[..., :2])  # (N, M, 2)
    high = np.minimum(first[..., 2:], second[..., 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=-1)  # (N, M)
    union = _area(first) + _area(second) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks (H, W) bool, 0..1; 1 where both are empty.

    Raises:
        InputError: the shapes differ.
    """
    _same_shape(a, b)
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def estimate_sigma(rgb: RGB) -> float:
    """Standard deviation of the noise in grey levels (0..255), mean over the channels.

    The mask [1 -2 1]ᵀ[1 -2 1] of Immerkær, "Fast noise variance estimation", 1996, removes flat
    areas and ramps. Its response is measured in blocks of 16 x 16; the calmest tenth decides,
    because texture only adds. Blocks with clipped pixels hide noise and are left out.

    For white noise, as denoisers expect. Fine texture all over the picture is counted as noise;
    JPEG removes noise unevenly, and resized pictures have noise that is not white.

    Args:
        rgb: (H, W, 3) uint8.
    """
    return float(np.mean([_channel_sigma(rgb[..., i]) for i in range(rgb.shape[2])]))


# The calmest tenth of blocks of pure white noise underestimates the deviation by this factor
# (the mean of 20 draws of 512 x 768 pixels).
_CALM = 0.892


_BLOCK = 16
_BAND = 16 * _BLOCK  # rows at a time: large pictures do not fit as floats


def _channel_sigma(channel: NDArray[np.uint8]) -> float:
    rows = (len(channel) - 2) // _BLOCK * _BLOCK or len(channel) - 2  # whole blocks, or less
    bands = [
        _deviations(channel[top : min(top + _BAND, rows) + 2]) for top in range(0, rows, _BAND)
    ]
    deviation, share = (np.concatenate(parts) for parts in zip(*bands, strict=True))
    open_ = share <= 0.02
    if np.count_nonzero(open_) < max(8, len(share) // 50):  # clipped almost everywhere
        open_ = share <= np.sort(share)[min(len(share) - 1, max(8, len(share) // 50))]
    return float(np.quantile(deviation[open_], 0.1)) / _CALM


def _deviations(channel: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For each block of a band of rows: its noise, and its share of clipped pixels."""
    values = channel.astype(np.float32)
    down = values[2:] - 2 * values[1:-1] + values[:-2]
    response = (down[:, 2:] - 2 * down[:, 1:-1] + down[:, :-2]) / 6  # noise keeps its deviation
    clipped = ((channel == 0) | (channel == 255))[1:-1, 1:-1]
    return np.sqrt(_block_means(np.square(response))), _block_means(clipped.astype(np.float32))


def _block_means(values: NDArray[np.float32], side: int = _BLOCK) -> NDArray[np.float32]:
    """(H, W) to the mean of each whole block of `side` x `side` (of everything if smaller)."""
    rows, columns = min(side, values.shape[0]), min(side, values.shape[1])
    high, wide = values.shape[0] // rows, values.shape[1] // columns
    blocks = values[: high * rows, : wide * columns].reshape(high, rows, wide, columns)
    return blocks.mean(axis=(1, 3)).ravel()


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.prod(np.clip(boxes[..., 2:] - boxes[..., :2], 0, None), axis=-1)


def _same_shape(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape:
        raise InputError(f"The two inputs differ in shape: {a.shape} and {b.shape}.")
