"""The restore recipes: resuming changes nothing, files are recognised, benchmarks stay out."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import spandrel
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from core.sources import state_dicts
from training import deblur, denoise, super_resolve
from training.common import WEIGHTS, LoopConfig, cosine
from training.graphics import graphics
from training.muon import MuonTrainer
from training.restore_data import Mix, Patches, overlaps, picture_files
from training.restore_export import export, mean

LOOP = LoopConfig(steps=2, warmup_steps=1, bf16=False)
MIX = Mix(drawn=5)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    shapes = ((48, 56), (60, 50), (52, 52))
    return [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]


def make(recipe, pictures, folder):
    """(trainer, loss function) of a small run in `folder`, from one fixed start."""
    torch.manual_seed(0)
    flat = MIX.patches(pictures, lambda p: (p,), seed=0)
    if recipe == "denoise":
        config = denoise.Config(channels=(8, 8, 16, 16), batch=2, patch=16, loop=LOOP)
        trainer = MuonTrainer(denoise.build(config), LOOP, folder, denoise.NOT_MUON)
        return trainer, functools.partial(denoise.loss_of, flat, config)
    if recipe == "deblur":
        config = deblur.Config(width=4, batch=2, patch=16, loop=LOOP)
        trainer = MuonTrainer(deblur.build(config), LOOP, folder, deblur.NOT_MUON)
        return trainer, functools.partial(deblur.loss_of, flat, config, trainer)
    config = super_resolve.Config(
        features=8, convs=2, batch=2, patch=8, mix=MIX, noisy=0.5, loop=LOOP
    )
    trainer = MuonTrainer(super_resolve.build(config), LOOP, folder, super_resolve.NOT_MUON)
    patches = super_resolve.pairs(pictures, config)
    return trainer, functools.partial(super_resolve.loss_of, patches, config, None)


@pytest.mark.parametrize("recipe", ["denoise", "super_resolve", "deblur"])
def test_a_stopped_run_ends_as_an_uninterrupted_one(recipe, pictures, tmp_path):
    whole, loss = make(recipe, pictures, tmp_path / "whole")
    start = {k: v.clone() for k, v in whole.model.state_dict().items()}
    whole.fit(loss)

    first, loss = make(recipe, pictures, tmp_path / "stopped")
    first.fit(loss, until_step=1)
    second, loss = make(recipe, pictures, tmp_path / "stopped")
    assert second.step == 1
    second.fit(loss)

    assert whole.step == second.step == 2
    for mine, theirs in ((whole.model, second.model), (whole.ema, second.ema)):
        for name, value in mine.state_dict().items():
            assert torch.equal(value, theirs.state_dict()[name]), name
    assert any(not torch.equal(v, start[k]) for k, v in whole.model.state_dict().items())


@pytest.mark.parametrize("recipe", ["denoise", "super_resolve", "deblur"])
def test_an_export_is_recognised_and_computes_the_same(recipe, pictures, tmp_path):
    trainer, loss = make(recipe, pictures, tmp_path)
    trainer.fit(loss)
    path = export(trainer.ema, recipe, tmp_path / "it.safetensors")

    config = {"task": recipe} | ({"reduced_by": "bicubic"} if recipe == "super_resolve" else {})
    assert state_dicts.read_header(path) == (recipe, config)
    known = spandrel.ModelLoader("cpu").load_from_state_dict(state_dicts.read(path))
    assert type(known.model) is type(trainer.ema)
    assert known.scale == (2 if recipe == "super_resolve" else 1)
    x = torch.rand(1, 4 if recipe == "denoise" else 3, 32, 32)
    with torch.inference_mode():
        # the file holds fp16: 11 bits of mantissa
        torch.testing.assert_close(known.model(x), trainer.ema(x), atol=3e-3, rtol=0)


def test_the_mean_of_two_starters(pictures, tmp_path):
    trainer, loss = make("super_resolve", pictures, tmp_path)
    first = export(trainer.ema, "super_resolve", tmp_path / "first.safetensors")
    trainer.fit(loss)
    second = export(trainer.ema, "super_resolve", tmp_path / "second.safetensors")
    both = mean(first, second, 0.25, tmp_path / "mean.safetensors")
    assert state_dicts.read_header(both) == state_dicts.read_header(first)
    one, other = state_dicts.read(first), state_dicts.read(second)
    for name, value in state_dicts.read(both).items():
        wanted = 0.75 * one[name] + 0.25 * other[name]
        torch.testing.assert_close(value, wanted, atol=1e-3, rtol=1e-3)
    net = nn.Conv2d(3, 3, 1)
    state_dicts.save_starter(tmp_path / "other.safetensors", net.state_dict(), "denoise", {})
    with pytest.raises(ValueError, match="different networks"):
        mean(first, tmp_path / "other.safetensors", 0.5, tmp_path / "none.safetensors")


@pytest.mark.parametrize("recipe", ["denoise", "deblur"])
def test_the_networks_start_as_the_identity(recipe, pictures, tmp_path):
    trainer, _ = make(recipe, pictures, tmp_path)
    x = torch.rand(1, 4 if recipe == "denoise" else 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(trainer.model(x), x[:, :3])


def test_a_finished_run_is_not_trained_further(pictures, tmp_path):
    trainer, loss = make("denoise", pictures, tmp_path)
    trainer.fit(loss)
    before = (tmp_path / "last.pt").stat().st_mtime_ns
    again, loss = make("denoise", pictures, tmp_path)
    again.fit(loss)
    assert again.step == 2 and (tmp_path / "last.pt").stat().st_mtime_ns == before


def test_benchmarks_are_found_in_disguise_and_skipped_by_folder(tmp_path):
    rng = np.random.default_rng(1)
    photos = [
        np.asarray(Image.fromarray(tiny).resize((90, 70)))
        for tiny in rng.integers(0, 256, (4, 9, 7, 3), dtype=np.uint8)
    ]
    Image.fromarray(np.rot90(photos[2])).save(tmp_path / "disguised.jpg", quality=80)
    disguised = np.asarray(Image.open(tmp_path / "disguised.jpg").resize((50, 66)))
    assert overlaps(photos, [disguised]) == [2]
    assert overlaps(photos[:2], [disguised]) == []

    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
        for name in ("1.jpg", "12003.jpg"):
            Image.fromarray(photos[0]).save(tmp_path / folder / name)
    assert picture_files(tmp_path) == [tmp_path / "disguised.jpg", tmp_path / "train" / "1.jpg"]


def test_reduced_and_full_patches_show_the_same_place(pictures):
    smooth = [
        np.asarray(Image.fromarray(p[:12, :15]).resize((120, 96), Image.BICUBIC)) for p in pictures
    ]
    config = super_resolve.Config(scale=4, mix=Mix(drawn=0, recolour=1))
    patches = super_resolve.pairs(smooth, config)
    large, small = patches.draw(np.random.default_rng(0), 5, 12)
    assert large.shape == (5, 3, 48, 48) and small.shape == (5, 3, 12, 12)
    average = torch.nn.functional.avg_pool2d(large, 4)
    assert (average - small).abs().mean() < 0.02
    assert (average.flip(-1) - small).abs().mean() > 0.05


def test_drawn_pictures_are_repeatable_and_reach_the_corners_of_the_colour_cube():
    pictures = graphics(40, side=64, seed=3)
    assert {p.shape for p in pictures} == {(64, 64, 3)} and pictures[0].dtype == np.uint8
    for again, picture in zip(graphics(40, side=64, seed=3), pictures, strict=True):
        np.testing.assert_array_equal(again, picture)
    corners = np.unique(np.concatenate([p.reshape(-1, 3) for p in pictures]), axis=0)
    assert np.isin(corners, (0, 255)).all(axis=1).sum() == 8


def test_the_mix_draws_its_share_from_drawn_pictures():
    black, white = np.zeros((40, 40, 3), np.uint8), np.full((90, 90, 3), 255, np.uint8)
    patches = Patches([(black,)], [(white,)] * 2, share=0.25)
    (drawn,) = patches.draw(np.random.default_rng(0), 2000, 1)
    assert drawn.mean().item() == pytest.approx(0.25, abs=0.03)


def test_recoloured_patches_are_permuted_and_inverted_alike_at_all_levels():
    colour = np.full((8, 8, 3), (10, 60, 200), np.uint8)
    patches = Patches([(colour, colour[::2, ::2])], recolour=1)
    large, small = patches.draw(np.random.default_rng(0), 1000, 2)
    assert torch.equal(large[:, :, ::2, ::2], small)
    found = {tuple(c) for c in (255 * small[:, :, 0, 0]).round().int().tolist()}
    values = [sorted(min(v, 255 - v) for v in c) for c in found]
    assert values == [[10, 55, 60]] * len(found)
    assert len(found) == 48  # six orders of eight choices of inverted channels


def test_noise_in_a_small_patch_is_wanted_in_the_large_one():
    config = super_resolve.Config(scale=2, noisy=1, sigma_max=20)
    large, small = torch.full((4, 3, 64, 64), 0.5), torch.full((4, 3, 32, 32), 0.5)
    wanted, noisy = super_resolve.with_noise(large, small, config, np.random.default_rng(0))
    assert (noisy - small).std() > 0.005
    reduced = torch.nn.functional.interpolate(wanted, (32, 32), mode="bicubic", antialias=True)
    assert (reduced - noisy).std() < 0.5 * (noisy - small).std()
    same = super_resolve.with_noise(
        large, small, replace(config, noisy=0), np.random.default_rng(0)
    )
    assert torch.equal(same[0], large) and torch.equal(same[1], small)


@pytest.mark.parametrize("turns", [[0], [5], range(8)])
def test_answers_to_turned_patches_are_turned_back(turns):
    """Enlarging by repetition commutes with rotations and reflections; no other order does."""
    torch.manual_seed(0)
    small = torch.rand(2, 3, 6, 6)
    twice: nn.Module = nn.Upsample(scale_factor=2)
    mean = super_resolve.turned_mean(twice, small, turns)
    torch.testing.assert_close(mean, twice(small))


def test_a_teacher_counts_where_it_is_better_than_the_model(pictures, monkeypatch):
    config = super_resolve.Config(scale=2, mix=Mix(drawn=0, recolour=0), noisy=0, patch=8, batch=4)
    patches = super_resolve.pairs(pictures, config)
    black = nn.Sequential(nn.Upsample(scale_factor=2), nn.Threshold(9, 0))

    def loss(answer: float) -> float:
        """With a teacher that answers `answer` times the enlarged picture; the model black."""
        monkeypatch.setattr(
            super_resolve, "turned_mean", lambda t, x, n: answer * F.interpolate(x, scale_factor=2)
        )
        rng = np.random.default_rng(0)
        return float(super_resolve.loss_of(patches, config, black, black, rng))

    rng = np.random.default_rng(0)
    alone = float(super_resolve.loss_of(patches, config, None, black, rng))
    assert loss(1e3) == pytest.approx(alone)  # further from the truth: not trusted
    assert abs(loss(0.9) - alone) > 1e-3


def test_kernels_keep_brightness_and_leave_the_held_out_ones_out():
    for kernel in (deblur.gaussian(1.5), deblur.motion(9, 30), deblur.motion(1, 0)):
        assert kernel.shape == (deblur.SIDE, deblur.SIDE)
        assert kernel.sum() == pytest.approx(1, abs=1e-5) and kernel.min() >= 0
    row = deblur.motion(5, 0)[deblur.SIDE // 2]
    assert np.flatnonzero(row).tolist() == [6, 7, 8, 9, 10]
    assert row[7:10] == pytest.approx(0.25, abs=0.01)
    assert deblur.held_out(7.2, 66) and deblur.held_out(9, 155 - 180)
    assert not deblur.held_out(7, 80)


def test_cosine_falls_from_one_to_the_final_factor():
    assert cosine(0, 0.01) == 1 and cosine(1, 0.01) == pytest.approx(0.01)
    assert cosine(2, 0.01) == pytest.approx(0.01) and 0.5 < cosine(0.5, 0.01) < 0.51


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda p: p.stem)
def test_shipped_files_are_small_and_have_a_card(path):
    assert path.stat().st_size <= 12_000_000
    assert path.with_suffix(".md").read_text().startswith("---\n")
