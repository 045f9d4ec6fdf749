"""Restoration against spandrel's own calls, tiles against the whole, and odd pictures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from spandrel import ModelLoader

from core import restore
from core.errors import CheckpointError, InputError, OutOfMemory
from core.nets import transforms
from core.restoring import tiles
from core.serving import runtime
from tests import nets

SIZES = [(40, 30), (33, 47), (8, 8), (9, 64)]


def by_spandrel(net, image):
    """What spandrel's descriptor makes of the picture, as uint8."""
    descriptor = ModelLoader("cpu").load_from_state_dict(net.state_dict())
    return transforms.to_rgb(descriptor.eval()(transforms.to_batch(image)))


def put(shelf, task, net, scale=1):
    return shelf.starter(task, net, {"task": task}, name=task, scale=scale)


@pytest.mark.parametrize("size", SIZES)
def test_denoise_and_deblur_equal_spandrel(shelf, unguarded, picture, size):
    net, image = nets.nafnet(), picture(*size)
    put(shelf, "denoise", net)
    put(shelf, "deblur", net)
    expected = by_spandrel(net, image)
    assert np.any(expected != image)
    for result in (restore.denoise(image), restore.deblur(image)):
        np.testing.assert_array_equal(result.image, expected)
        assert (result.scale, result.sigma) == (1, None)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("size", SIZES)
def test_super_resolve_equals_spandrel(shelf, unguarded, picture, size, scale):
    net, image = nets.compact(scale), picture(*size)
    put(shelf, "super_resolve", net, scale)
    result = restore.super_resolve(image, scale=scale)
    np.testing.assert_array_equal(result.image, by_spandrel(net, image))
    assert result.image.shape == (size[1] * scale, size[0] * scale, 3)
    assert result.scale == scale


@pytest.mark.parametrize("size", SIZES)
def test_noise_map(shelf, unguarded, picture, size):
    """DRUNet gets the noise level that was asked for, and not spandrel's 15."""
    net, image = nets.drunet(), picture(*size)
    put(shelf, "denoise", net)
    x = transforms.to_batch(image)
    h, w = x.shape[-2:]
    padded = torch.nn.functional.pad(x, (0, -w % 8, 0, -h % 8), _padding(h, w))
    for sigma in (0.0, 15.0, 40.0):
        level = torch.full_like(padded[:, :1], sigma / 255)
        with torch.inference_mode():
            expected = net(torch.cat([padded, level], 1))[..., :h, :w]
        result = restore.denoise(image, sigma=sigma)
        np.testing.assert_array_equal(result.image, transforms.to_rgb(expected))
        assert result.sigma == sigma
    np.testing.assert_array_equal(restore.denoise(image, sigma=15).image, by_spandrel(net, image))


def _padding(h, w):
    return "reflect" if -w % 8 < w and -h % 8 < h else "replicate"


def test_noise_is_estimated(shelf):
    put(shelf, "denoise", nets.drunet())
    rng = np.random.default_rng(0)
    smooth = np.linspace(60, 180, 128)[None, :, None].repeat(128, 0).repeat(3, 2)
    for sigma in (10, 30):
        noisy = np.clip(smooth + rng.normal(0, sigma, smooth.shape), 0, 255).astype(np.uint8)
        result = restore.denoise(noisy)
        assert result.sigma == pytest.approx(sigma, rel=0.15)
        np.testing.assert_array_equal(
            result.image, restore.denoise(noisy, sigma=result.sigma).image
        )
        assert "estimate" in result.info.seconds


@pytest.mark.parametrize(("mode", "inputs"), [("DnCNN", 1), ("FDnCNN", 2)])
def test_grey_network_restores_each_channel(shelf, unguarded, picture, mode, inputs):
    net, image = nets.dncnn(inputs, 1, mode), picture(40, 30)
    put(shelf, "denoise", net)
    result = restore.denoise(image, sigma=40)
    for channel in range(3):
        x = transforms.to_batch(image)[:, channel : channel + 1]
        level = torch.full_like(x, 40 / 255)
        with torch.inference_mode():
            y = net(torch.cat([x, level], 1) if inputs == 2 else x)
        expected = transforms.to_rgb(y.expand(1, 3, -1, -1))[..., 0]
        np.testing.assert_array_equal(result.image[..., channel], expected)
    assert result.sigma == (40 if inputs == 2 else None)


def test_a_fourth_channel_that_is_no_noise_level():
    """RetinexFormer's first convolution takes the mean colour as a fourth channel."""
    from spandrel.architectures.RetinexFormer import RetinexFormer

    net = RetinexFormer(n_feat=8, num_blocks=[1, 1, 1], stage=1)
    descriptor = ModelLoader("cpu").load_from_state_dict(net.state_dict())
    assert restore._first_convolution(descriptor.model).in_channels == 4
    assert not restore.Net(descriptor).noise_map


@pytest.fixture
def small_tiles(monkeypatch):
    monkeypatch.setattr(restore, "TILES", (48, 40))
    monkeypatch.setattr(tiles, "OVERLAP", 16)


@pytest.mark.parametrize("size", [(49, 48), (48, 130), (131, 97), (300, 20)])
def test_tiles_equal_the_whole(shelf, picture, small_tiles, size):
    """The network sees 4 px to each side, and the outermost 4 px of a tile do not count."""
    net, image = nets.compact(2), picture(*size)
    put(shelf, "super_resolve", net, 2)
    steps = restore.steps("super_resolve", image)
    fractions = []
    while True:
        try:
            fractions.append(next(steps))
        except StopIteration as stop:
            result = stop.value
            break
    assert len(fractions) > 1
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    whole = by_spandrel(net, image).astype(int)
    assert np.abs(result.image - whole).max() <= 1  # rounding
    assert np.mean(result.image != whole) < 0.001


@pytest.mark.parametrize("length", [1, 48, 49, 64, 80, 81, 1000])
def test_tiles_cover_each_side(length):
    side, overlap = 64, tiles.OVERLAP
    starts, size = tiles.tile_rows(length, side)
    assert size <= side and starts[0] == 0 and starts[-1] + size == length
    assert all(b - a <= size - overlap for a, b in itertools.pairwise(starts))


@pytest.mark.parametrize("length", [300, 360, 480, 512, 640, 1000, 4000])
def test_little_is_computed_twice(length):
    starts, size = tiles.tile_rows(length, 288)
    needed = length + (len(starts) - 1) * tiles.OVERLAP
    assert len(starts) * size <= needed + len(starts) * tiles.GRID
    assert len(starts) == -(-(length - tiles.OVERLAP) // (288 - tiles.OVERLAP))  # no more


def test_smaller_tiles_where_memory_ends(shelf, picture, small_tiles, monkeypatch):
    net, image = nets.compact(2), picture(100, 90)
    put(shelf, "super_resolve", net, 2)
    expected = restore.super_resolve(image).image.astype(int)
    run = restore.Net._run

    def short_of_memory(self, x, sigma):
        if x.shape[-1] > 40:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return run(self, x, sigma)

    monkeypatch.setattr(restore.Net, "_run", short_of_memory)
    assert np.abs(restore.super_resolve(image).image - expected).max() <= 1

    monkeypatch.setattr(restore, "TILES", (48, 44))
    with pytest.raises(OutOfMemory, match="smaller picture"):
        restore.super_resolve(image)


def test_stopped_between_tiles(shelf, picture, small_tiles, forwards):
    put(shelf, "super_resolve", nets.compact(2), 2)
    steps = restore.steps("super_resolve", picture(200, 200))
    next(steps)
    steps.close()
    assert len(forwards) == 1
    assert runtime.models().stats()["models"][0]["in_use"] == 0


def test_scale_that_the_network_does_not_have(shelf, picture):
    put(shelf, "super_resolve", nets.compact(4), 4)
    with pytest.raises(InputError, match="enlarges by 4; choose scale 4"):
        restore.super_resolve(picture(20, 20), "super_resolve", scale=2)
    with pytest.raises(InputError, match="2, 3, 4 or 8"):
        restore.super_resolve(picture(20, 20), scale=7)
    with pytest.raises(CheckpointError, match="x2"):
        restore.super_resolve(picture(20, 20), scale=2)


def test_network_of_another_task(shelf, picture):
    put(shelf, "denoise", nets.compact(2))
    with pytest.raises(InputError, match="under super-resolution"):
        restore.denoise(picture(20, 20))
    put(shelf, "super_resolve", nets.nafnet(), 2)
    with pytest.raises(InputError, match="does not enlarge"):
        restore.super_resolve(picture(20, 20))


def test_result_that_would_be_too_large(shelf, monkeypatch):
    put(shelf, "super_resolve", nets.compact(4), 4)
    monkeypatch.setattr(restore, "MAX_OUTPUT_PIXELS", 10_000)
    with pytest.raises(InputError, match="smaller picture"):
        restore.super_resolve(np.zeros((40, 40, 3), np.uint8), scale=4)


@pytest.mark.parametrize("sigma", [-1, 101, float("nan")])
def test_sigma_out_of_range(shelf, picture, sigma):
    with pytest.raises(InputError):
        restore.denoise(picture(20, 20), sigma=sigma)


def test_channels_that_are_no_picture(shelf, picture):
    put(shelf, "denoise", nets.dncnn(2, 2))
    with pytest.raises(CheckpointError, match="2 channels"):
        restore.denoise(picture(20, 20))


def test_unknown_network(shelf, picture):
    put(shelf, "denoise", torch.nn.Linear(3, 3))
    with pytest.raises(CheckpointError, match="not an architecture that spandrel"):
        restore.denoise(picture(20, 20))


def test_weights_that_are_not_numbers(shelf, picture):
    net = nets.nafnet()
    with torch.no_grad():
        net.ending.bias.fill_(float("nan"))
    put(shelf, "denoise", net)
    with pytest.raises(CheckpointError, match="not numbers"):
        restore.denoise(picture(20, 20))


def test_bfloat16_agrees(shelf, unguarded, picture, settings):
    put(shelf, "denoise", nets.nafnet())
    image = picture(64, 64)
    plain = restore.denoise(image).image.astype(int)
    settings(VISION_HUB_PRECISION="bf16")
    rough = restore.denoise(image).image
    assert np.any(rough != plain)
    assert np.abs(rough - plain).mean() < 2


def test_tiles_of_enlarging_networks_are_smaller_on_a_processor(settings, monkeypatch):
    assert restore.tile_sides(1) == restore.tile_sides(2) == (512, 256, 128)
    assert restore.tile_sides(4) == (256, 128)
    assert restore.tile_sides(8) == (128,)
    assert restore.tile_sides(1, 48_000_000) == (384, 256, 128)
    assert restore.tile_sides(2, 15_000_000) == (384, 256, 128)
    assert restore.tile_sides(4, 48_000_000) == (256, 128)
    monkeypatch.setattr(restore.runtime, "device", lambda: torch.device("cuda"))
    assert restore.tile_sides(4) == restore.TILES
