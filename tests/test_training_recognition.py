"""The classify and reconstruct recipes: resume, order of pictures, export and rebuild."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("timm")

from core.errors import CheckpointError
from core.sources import state_dicts
from training import classify, reconstruct
from training.common import LoopConfig
from training.recognition_data import crop_to, digests, epoch_order, photographs

LOOP = LoopConfig(steps=4, lr=0.01, warmup_steps=1, bf16=False)
VIT = classify.Config(
    stem_widths=(8, 16, 16),
    stem_pooled=(True, True, False),
    stem_skipped=(False, False, True),
    dim=16,
    depth=1,
    heads=2,
    batch=8,
    loop=LOOP,
)
MAE = reconstruct.Config(
    side=32, patch=8, dim=16, depth=1, decoder_dim=16, decoder_depth=1, heads=2, batch=4, loop=LOOP
)


def pictures(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def run_classify(folder, *stops):
    """Train; `stops` are the steps at which the process ends and a new one goes on."""
    for stop in stops:
        seen, labels = pictures(24, 32), np.arange(24) % 3
        trainer = classify.trainer_of(VIT, 3, folder, seen)
        classify.train(trainer, seen, labels, VIT, until_step=stop)
    return trainer


def run_reconstruct(folder, *stops):
    for stop in stops:
        trainer = reconstruct.trainer_of(MAE, folder)
        reconstruct.train(trainer, pictures(12, 36), MAE, until_step=stop)
    return trainer


@pytest.mark.parametrize("run", [run_classify, run_reconstruct])
def test_a_stopped_run_ends_as_one_that_was_not_stopped(run, tmp_path):
    through = run(tmp_path / "a", 4)
    resumed = run(tmp_path / "b", 2, 4)
    assert through.step == resumed.step == 4
    for name in ("model", "ema"):
        first = getattr(through, name).state_dict()
        second = getattr(resumed, name).state_dict()
        assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("run", [run_classify, run_reconstruct])
def test_training_changes_every_weight_that_learns(run, tmp_path):
    start, end = run(tmp_path / "a", 0), run(tmp_path / "b", 2)
    before = dict(start.model.named_parameters())
    for name, weight in end.model.named_parameters():
        assert torch.equal(weight, before[name]) != weight.requires_grad, name


def test_the_classify_starter_rebuilds_from_the_file_alone(tmp_path):
    model = run_classify(tmp_path / "run", 2).ema
    path = classify.export(model, VIT, ["a", "b", "c"], tmp_path / "classify-x.safetensors")
    task, header = state_dicts.read_header(path)
    assert (task, header["labels"]) == ("classify", ["a", "b", "c"])
    seen = pictures(5, 32, seed=1)
    halved = classify.predict(model.half().float(), seen)  # what fp16 storage costs is not at test
    np.testing.assert_allclose(classify.predict(classify.load(path), seen), halved, atol=1e-5)


def test_the_reconstruct_starter_rebuilds_from_the_file_alone(tmp_path):
    model = run_reconstruct(tmp_path / "run", 2).ema
    path = reconstruct.export(model, MAE, tmp_path / "reconstruct-x.safetensors")
    assert state_dicts.read_header(path)[0] == "reconstruct"
    noise = np.random.default_rng(0).random(16, dtype=np.float32)
    (seen,) = pictures(1, 32, seed=1)
    model.config.mask_ratio = 0.75
    filled, hidden = reconstruct.fill(model.half().float(), seen, noise)
    again, same = reconstruct.fill(reconstruct.load(path), seen, noise)
    np.testing.assert_allclose(again, filled, atol=1e-5)
    np.testing.assert_array_equal(hidden, same)
    assert hidden.mean() == 0.75
    visible = hidden[::8, ::8].ravel()[np.argsort(noise)[:4]]
    assert not visible.any()


def test_the_autoencoder_knows_the_place_of_every_patch(tmp_path):
    model = reconstruct.trainer_of(MAE, tmp_path).model
    for places in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        patches = places[0, 1:]  # (16, 16) without the class token
        assert not places.requires_grad
        assert torch.cdist(patches, patches).add(torch.eye(16) * 9).min() > 0.1


def test_a_starter_that_lacks_a_weight_is_refused(tmp_path):
    model = run_reconstruct(tmp_path / "run", 1).ema
    path = reconstruct.export(model, MAE, tmp_path / "reconstruct-x.safetensors")
    _, header = state_dicts.read_header(path)
    state = state_dicts.read(path)
    del state["decoder.decoder_pred.weight"]
    state_dicts.save_starter(path, state, "reconstruct", header)
    with pytest.raises(CheckpointError, match="1 weights missing"):
        reconstruct.load(path)


def test_an_epoch_holds_every_picture_once_and_epochs_differ():
    first = np.concatenate([epoch_order(12, 4, step, seed=0) for step in range(3)])
    second = np.concatenate([epoch_order(12, 4, step, seed=0) for step in range(3, 6)])
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(first) != list(second)


def test_augmented_pictures_keep_shape_and_the_plain_config_only_moves_them():
    rng = np.random.default_rng(0)
    seen = pictures(20, 32)
    assert classify.augment(seen, VIT, rng).shape == (20, 3, 32, 32)
    plain = replace(VIT, cropped=0.0, softened=0.0, colour=0.0, shift=0)
    moved = classify.augment(seen, plain, rng)
    kept = classify.to_batch(seen, classify.MEAN, classify.STD)
    for got, want in zip(moved, kept, strict=True):
        assert torch.allclose(got, want, atol=1e-6) or torch.allclose(got, want.flip(-1), atol=1e-6)


def test_a_crop_of_everything_is_the_picture_or_its_mirror():
    x = torch.rand(6, 3, 16, 16)
    cut = crop_to(x, 16, (1.0, 1.0), 1.0, np.random.default_rng(0))
    for got, want in zip(cut, x, strict=True):
        assert torch.allclose(got, want, atol=1e-5) or torch.allclose(got, want.flip(-1), atol=1e-5)


def test_held_out_pictures_do_not_get_into_training(tmp_path):
    shared = np.asarray(Image.fromarray(pictures(1, 12)[0]).resize((96, 64), 3))
    for place, count in (("bsds500/val", 100), ("flower_photos", 6)):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        for k in range(count):
            small = Image.fromarray(pictures(1, 12, seed=k + count)[0]).resize((96, 64), 3)
            small.save(folder / f"{k}.jpg", quality=95)
    Image.fromarray(shared).save(tmp_path / "bsds500/val/0.jpg", quality=95)
    Image.fromarray(shared[:, ::-1]).save(tmp_path / "flower_photos/copy.png")
    assert len(photographs(tmp_path, 48)) == 6


def test_baselines_know_what_is_visible():
    picture = np.full((16, 16, 3), 0.25)
    hidden = np.zeros((16, 16), dtype=bool)
    hidden[4:8, 4:8] = True
    picture[hidden] = 1.0
    for answer in (reconstruct.biharmonic, reconstruct.mean_of_visible):
        np.testing.assert_allclose(answer(picture, hidden)[hidden], 0.25, atol=1e-6)


def test_digests_tell_pictures_apart():
    seen = pictures(3, 8)
    assert len(digests(seen)) == 3
    assert digests(seen[:1]) <= digests(seen)
