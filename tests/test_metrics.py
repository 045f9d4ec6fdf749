"""Measures against their reference libraries, and against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from core.errors import InputError
from core.imaging import metrics


def pair(sigma: float, size: tuple[int, int] = (64, 80)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    return a, np.rint(np.clip(a + rng.normal(0, sigma, a.shape), 0, 255)).astype(np.uint8)


def photo_like(size: tuple[int, int] = (256, 384)) -> np.ndarray:
    """Slow waves and one hard edge, away from black and white: (H, W, 3) float."""
    y, x = np.mgrid[: size[0], : size[1]]
    waves = 128 + 40 * np.sin(x / 37) * np.cos(y / 23) + 20 * (x > size[1] // 2)
    return np.stack([waves, waves * 0.9, 255 - waves], axis=-1)


def noisy(picture: np.ndarray, sigma: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.rint(np.clip(picture + noise, 0, 255)).astype(np.uint8)


# ---- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [1, 10, 60])
def test_psnr_and_ssim_agree_with_scikit_image(sigma: float) -> None:
    a, b = pair(sigma)
    assert metrics.psnr(a, b) == pytest.approx(peak_signal_noise_ratio(a, b), abs=1e-4)
    reference = structural_similarity(
        a.astype(float),
        b.astype(float),
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert metrics.ssim(a, b) == pytest.approx(reference, abs=1e-4)


def test_psnr_by_hand() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert metrics.psnr(black, black + np.uint8(255)) == pytest.approx(0.0, abs=1e-9)
    assert metrics.psnr(black, black + np.uint8(1)) == pytest.approx(48.1308, abs=1e-4)


def test_equal_pictures() -> None:
    a, _ = pair(0)
    assert metrics.psnr(a, a) == float("inf")
    assert metrics.ssim(a, a) == pytest.approx(1.0)


def test_ssim_falls_with_noise_and_is_symmetric() -> None:
    clean = photo_like().astype(np.uint8)
    values = [metrics.ssim(clean, noisy(clean, sigma)) for sigma in (2, 10, 40)]
    assert values == sorted(values, reverse=True)
    other = noisy(clean, 10)
    assert metrics.ssim(clean, other) == pytest.approx(metrics.ssim(other, clean))


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.mask_iou])
def test_other_shapes_are_refused(measure) -> None:
    a = np.zeros((16, 16, 3), np.uint8)
    with pytest.raises(InputError, match="shape"):
        measure(a, a[:, :15])


def test_ssim_of_a_tiny_picture() -> None:
    tiny = np.zeros((10, 40, 3), np.uint8)
    with pytest.raises(InputError, match="11 x 11"):
        metrics.ssim(tiny, tiny)


# ---- boxes and masks --------------------------------------------------------------------------


def test_box_iou_of_no_boxes() -> None:
    none, one = np.zeros((0, 4)), np.array([[0, 0, 2, 2]])
    assert metrics.box_iou(none, one).shape == (0, 1)
    assert metrics.box_iou(one, none).shape == (1, 0)


def test_box_iou_by_hand() -> None:
    a = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], np.float32)
    b = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 10, 20, 20], [2, 2, 4, 4], [9, 9, 1, 1]])
    expected = [[1, 1 / 3, 0, 0.04, 0], [0, 0, 0, 0, 0]]
    assert metrics.box_iou(a, b) == pytest.approx(np.array(expected))


def test_box_iou_agrees_with_torchvision() -> None:
    ops = pytest.importorskip("torchvision.ops")
    import torch

    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 100, (40, 2, 2)), axis=1).reshape(40, 4)
    a, b = corners[:15], corners[15:]
    reference = ops.box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    assert metrics.box_iou(a, b) == pytest.approx(reference)


def test_mask_iou() -> None:
    empty = np.zeros((6, 8), bool)
    left, top = empty.copy(), empty.copy()
    left[:, :4], top[:3] = True, True
    assert metrics.mask_iou(empty, empty) == 1.0
    assert metrics.mask_iou(empty, left) == 0.0
    assert metrics.mask_iou(left, left) == 1.0
    assert metrics.mask_iou(left, top) == pytest.approx(12 / 36)


# ---- noise ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(8, 8), (8, 300), (16, 16), (17, 40)])
def test_sigma_of_an_even_picture_is_zero(size: tuple[int, int]) -> None:
    for tone in (0, 90, 255):
        assert metrics.estimate_sigma(np.full((*size, 3), tone, np.uint8)) == 0.0


@pytest.mark.parametrize("sigma", [3, 5, 15, 25, 50])
def test_sigma_of_noise(sigma: float) -> None:
    estimate = metrics.estimate_sigma(noisy(photo_like(), sigma))
    assert estimate == pytest.approx(sigma, rel=0.06)


def test_sigma_of_a_clean_picture_is_small() -> None:
    assert metrics.estimate_sigma(photo_like().astype(np.uint8)) < 1.0


def test_clipped_regions_do_not_hide_the_noise() -> None:
    """A white sky over half of the picture: clipped noise there is half as strong."""
    picture = photo_like()
    picture[:128] = 255
    assert metrics.estimate_sigma(noisy(picture, 25)) == pytest.approx(25, rel=0.08)


def test_texture_in_a_part_does_not_count_as_noise() -> None:
    picture = photo_like()
    picture[:160] += np.random.default_rng(3).choice([-60, 60], (160, 384, 1))
    assert metrics.estimate_sigma(noisy(picture, 10)) == pytest.approx(10, rel=0.08)


def sigma_at_once(picture: np.ndarray) -> float:
    """The same estimate, with the whole picture as floats."""
    found = []
    for channel in np.moveaxis(picture.astype(np.float32), 2, 0):
        down = channel[2:] - 2 * channel[1:-1] + channel[:-2]
        response = (down[:, 2:] - 2 * down[:, 1:-1] + down[:, :-2]) / 6
        high, wide = (side // 16 * 16 for side in response.shape)
        inner = channel[1:-1, 1:-1][:high, :wide]
        blocks = (high // 16, 16, wide // 16, 16)
        deviation = np.sqrt((response[:high, :wide] ** 2).reshape(blocks).mean((1, 3))).ravel()
        clipped = ((inner == 0) | (inner == 255)).reshape(blocks).mean((1, 3)).ravel()
        found.append(np.quantile(deviation[clipped <= 0.02], 0.1) / 0.892)
    return float(np.mean(found))


@pytest.mark.parametrize("height", [18, 33, 257, 258, 259, 274, 530, 700])
def test_sigma_piece_by_piece_is_that_of_the_whole(height: int) -> None:
    rng = np.random.default_rng(height)
    picture = np.clip(rng.normal(128, 20, (height, 300, 3)), 1, 254).astype(np.uint8)
    assert metrics.estimate_sigma(picture) == pytest.approx(sigma_at_once(picture), rel=1e-5)


def test_sigma_leaves_the_picture_alone_and_repeats() -> None:
    picture = noisy(photo_like(), 20)
    before = picture.copy()
    assert metrics.estimate_sigma(picture) == metrics.estimate_sigma(picture)
    assert np.array_equal(picture, before)
