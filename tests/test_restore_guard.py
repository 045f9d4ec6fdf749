"""Restoration never destroys a picture, and its guard leaves good answers alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import hard_pictures
from core import restore
from core.nets import transforms
from core.restoring import guard
from tests import nets

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the benchmark pictures")


def starter(task, image, scale=1, **options):
    """By the starter that is in the repository."""
    key = {"super_resolve": f"super-resolve-x{scale}"}.get(task, task) + "-starter"
    options |= {"scale": scale} if task == "super_resolve" else {}
    return getattr(restore, task)(image, key, **options)


def cells(picture, side):
    """(rows, columns, side * side, channels) of whole cells."""
    high, wide = picture.shape[0] // side, picture.shape[1] // side
    whole = picture[: high * side, : wide * side].astype(float)
    parts = whole.reshape(high, side, wide, side, -1).swapaxes(1, 2)
    return parts.reshape(high, wide, side * side, -1)


def assert_keeps(picture, result, scale):
    """Each 8 x 8 cell keeps its mean within 20 levels, and is no maze: its contrast in grey is
    about that of Pillow's bicubic interpolation."""
    moved = np.abs(cells(result, 8 * scale).mean(2) - cells(picture, 8).mean(2))
    assert moved.max() <= 20
    size = (picture.shape[1] * scale, picture.shape[0] * scale)
    plain = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))
    contrast, usual = (cells(p.mean(2), 8 * scale).std(2) for p in (result, plain))
    assert np.all(contrast <= 2 * usual + 24)


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("kind", [kind for kind in hard_pictures.kinds() if "photo" not in kind])
def test_enlarging_keeps_what_photographs_lack(settings, kind, scale):
    pictures = hard_pictures.kinds()[kind]
    results = [starter("super_resolve", picture, scale) for picture in pictures]
    for picture, result in zip(pictures, results, strict=True):
        assert_keeps(picture, result.image, scale)
        assert bool(result.info.note) == (result.guarded > 0)


@pytest.mark.parametrize(("name", "scale"), [("noisy-2.png", 4), ("noisy.png", 4)])
def test_a_noisy_photograph_becomes_no_maze(settings, name, scale):
    picture = hard_pictures.example(name)[:120, :120]
    result = starter("super_resolve", picture, scale)
    assert_keeps(picture, result.image, scale)


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_same_size_keeps_saturated_colours(settings, task):
    for picture in (*hard_pictures.flats(16)[::4], *hard_pictures.gradients()):
        assert_keeps(picture, starter(task, picture).image, 1)


@needs_data
@pytest.mark.parametrize("scale", [2, 4])
def test_good_enlarging_is_left_alone(settings, monkeypatch, scale):
    for path in (SHARED / "set5").glob("*.png"):
        whole = Image.open(path).convert("RGB")
        small = whole.resize(
            (whole.width // scale, whole.height // scale), Image.Resampling.BICUBIC
        )
        unchanged(monkeypatch, "super_resolve", np.asarray(small), scale)


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("sigma", [15, 50])
def test_good_denoising_is_left_alone(settings, monkeypatch, sigma):
    for i, path in enumerate(sorted((SHARED / "cbsd68").glob("*.png"))[::17]):
        clean = np.asarray(Image.open(path).convert("RGB"))
        noisy = clean + np.random.default_rng([sigma, i]).normal(0, sigma, clean.shape)
        picture = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        unchanged(monkeypatch, "denoise", picture, sigma=sigma)


def test_good_deblurring_is_left_alone(settings, monkeypatch):
    for name in ("blurred.png", "motion.png", "shaken.png"):
        unchanged(monkeypatch, "deblur", hard_pictures.example(name))


def unchanged(monkeypatch, task, picture, scale=1, **options):
    result = starter(task, picture, scale, **options)
    assert (result.guarded, result.info.note) == (0, "")
    with monkeypatch.context() as patch:
        patch.setattr(guard, "check", lambda x, y, limits: guard.Checked(y, 0.0))
        plain = starter(task, picture, scale, **options)
    np.testing.assert_array_equal(result.image, plain.image)


@pytest.mark.parametrize("shift", [-0.2, 0.15])
def test_a_network_that_shifts_all_colours(shelf, picture, shift):
    """As an own checkpoint that was made for other values does."""
    net, image = nets.nafnet(), hard_pictures.example("coins.jpg")[:96, :104]
    with torch.no_grad():
        net.ending.weight.zero_()
        net.ending.bias.fill_(shift)
    for task in ("denoise", "deblur"):
        shelf.starter(task, net, {"task": task}, name=task)
        result = getattr(restore, task)(image)
        assert result.guarded > 0.9
        assert np.abs(result.image.astype(int) - image).mean() < 4
        assert "there it is unchanged" in result.info.note


def answers(monkeypatch, made):
    """Let every network answer with `made(x, sigma)`."""
    monkeypatch.setattr(restore.Net, "_run", lambda self, x, sigma: made(x))


def test_not_a_number_in_one_place(shelf, picture, monkeypatch):
    shelf.starter("denoise", nets.nafnet(), {"task": "denoise"}, name="denoise")
    image = picture(200, 120)

    def made(x):
        y = (x + 0.02).clone()
        y[..., 40:44, 100:103] = torch.tensor([float("nan"), float("inf"), float("-inf")])
        return y

    answers(monkeypatch, made)
    result = restore.denoise(image)
    assert 0 < result.guarded < 0.1
    np.testing.assert_array_equal(result.image[40:48, 96:104], image[40:48, 96:104])
    expected = np.minimum(image[:, :64].astype(int) + 5, 255)
    assert np.abs(result.image[:, :64] - expected).max() <= 1


def test_only_the_tile_that_broke(shelf, picture, monkeypatch):
    """In many tiles, and where cells of tiles and of the picture do not meet."""
    monkeypatch.setattr(restore, "TILES", (64, 48, 48))
    shelf.starter("super_resolve", nets.compact(2), {}, name="super_resolve", scale=2)
    image = picture(301, 211)
    image[100:130, 150:190] = (0, 0, 255)

    def made(x):
        y = torch.nn.functional.interpolate(x, scale_factor=2, mode="bilinear")
        blue = (y[:, 2:] > 0.99) & (y[:, 1:2] < 0.01)
        return torch.where(blue, 1 - y, y)

    answers(monkeypatch, made)
    result = restore.super_resolve(image)
    assert_keeps(image, result.image, 2)
    assert 30 * 40 / image[..., 0].size < result.guarded < 0.2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (9, 8), (17, 30), (64, 129)])
@pytest.mark.parametrize("scale", [1, 2, 4])
def test_every_size(size, scale):
    rng = np.random.default_rng(0)
    x = transforms.to_batch(rng.integers(100, 156, (*size, 3), dtype=np.uint8))
    limits = guard.DEBLUR if scale == 1 else guard.SUPER_RESOLVE
    y = x.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    same = guard.check(x, y, limits)
    assert same.guarded == 0
    assert same.image is y
    wrong = guard.check(x, 1 - (y > 0.5).float(), limits)
    assert wrong.guarded == 1
    assert wrong.image.shape == y.shape
    if scale == 1:
        assert torch.equal(wrong.image, x)


def test_a_maze_with_the_right_means():
    """Black and white by turns at the finest scale: pixels of the input keep their mean."""
    x = torch.full((1, 3, 48, 40), 0.5)
    y = torch.full((1, 3, 96, 80), 0.5)
    y[..., 32:48:2, 32:48] = 0
    y[..., 33:48:2, 32:48] = 1
    checked = guard.check(x, y, guard.SUPER_RESOLVE)
    assert torch.allclose(checked.image, torch.tensor(0.5))
    assert 0 < checked.guarded < 0.4


def test_seams_are_soft():
    """From the fallback to the answer over a cell, without a step."""
    x = torch.full((1, 3, 80, 80), 0.4)
    y = torch.full((1, 3, 80, 80), 0.42)
    y[..., 32:40, 32:40] = 1
    image = guard.check(x, y, guard.DENOISE).image
    assert torch.equal(image[..., 32:40, 32:40], x[..., 32:40, 32:40])
    assert torch.equal(image[..., :16, :], y[..., :16, :])
    step = 0.02 / guard.CELL
    for dim in (2, 3):
        assert image.diff(dim=dim).abs().max() <= step + 1e-6


@pytest.mark.parametrize(
    ("share", "scale", "part"),
    [
        (0.003, 2, "in less than 1 % of its area; there bicubic"),
        (0.124, 4, "in 12 % of its area; there bicubic interpolation is shown instead."),
        (1.0, 1, "in 100 % of its area; there it is unchanged."),
    ],
)
def test_what_it_says(share, scale, part):
    assert part in guard.sentence(share, scale)
    assert guard.sentence(0, scale) == ""


def test_it_says_so_beside_another_note(shelf, picture, monkeypatch):
    from dataclasses import replace

    from core.serving import runtime

    shelf.starter("denoise", nets.nafnet(), {"task": "denoise"}, name="denoise")
    answers(monkeypatch, lambda x: 1 - x)
    info = runtime.Run.info
    monkeypatch.setattr(runtime.Run, "info", lambda self: replace(info(self), note="Offline."))
    note = restore.denoise(picture(32, 32)).info.note
    assert note.startswith("Offline. The model's output departed")


def test_the_page_and_the_endpoint_say_so(picture, tmp_path, monkeypatch):
    from core.types import Restoration, RunInfo
    from demos import restore as tab
    from demos.shell import ui

    image = picture(20, 12)
    info = RunInfo("net", "own", "cpu", note=guard.sentence(0.5, 2))
    result = Restoration(image.repeat(2, 0).repeat(2, 1), 2, info, guarded=0.5)
    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    (before, _), line, _ = tab._shown("super_resolve", image, result)
    assert "departed from the picture in 50 % of its area" in line
    assert tab._info(result)["guarded"] == 0.5
    np.testing.assert_array_equal(np.asarray(Image.open(before)), result.image)
