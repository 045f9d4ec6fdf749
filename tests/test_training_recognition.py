"""The classify and reconstruct recipes: resume, order of pictures, export and rebuild."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("timm")

from core import classify as core_classify
from core.errors import CheckpointError
from core.nets import trunk
from core.sources import state_dicts
from training import classify, classify_features, reconstruct
from training.classify_features import Views
from training.common import LoopConfig
from training.recognition_data import crop_to, epoch_order, photographs

LOOP = LoopConfig(steps=4, lr=0.01, warmup_steps=1, bf16=False)
VIT = classify.Config(dim=16, depth=1, heads=2, registers=2, batch=8, loop=LOOP)
MAE = reconstruct.Config(
    side=32, patch=8, dim=16, depth=1, decoder_dim=16, decoder_depth=1, heads=2, batch=4, loop=LOOP
)


def pictures(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def views(count=24, seed=0):
    """Made-up maps and answers of a teacher; every third picture has a label."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 256, (count, 1280, 11, 11), dtype=np.uint8)
    labels = np.where(np.arange(count) % 3, -1, np.arange(count))
    return Views(maps, rng.normal(size=(count, 1000)).astype(np.float16), labels)


def classifier():
    torch.manual_seed(1)
    return torch.nn.Linear(1280, 1000)


def run_classify(folder, *stops):
    """Train; `stops` are the steps at which the process ends and a new one goes on."""
    for stop in stops:
        trainer = classify.trainer_of(VIT, classifier(), folder)
        classify.train(trainer, views(), VIT, until_step=stop)
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


def test_the_classify_starter_rebuilds_from_its_file_and_the_class_layer(tmp_path):
    model = run_classify(tmp_path / "run", 2).ema
    path = classify.export(model, VIT, tmp_path / "classify-x.safetensors")
    task, header = state_dicts.read_header(path)
    assert (task, header["trunk"]) == ("classify", "efficientnet-lite0")
    assert not [name for name in state_dicts.read(path) if name.startswith("head")]
    seen = views(5, seed=1)
    rounded = {k: v if k.startswith("head") else v.half() for k, v in model.state_dict().items()}
    model.load_state_dict(rounded)  # what fp16 storage costs is not at test
    again, attention = classify.predict(classify.load(path, classifier()), seen)
    torch.testing.assert_close(again, classify.predict(model, seen)[0], atol=1e-4, rtol=1e-4)
    assert attention.shape == (5, 2, 121)


def test_patches_are_kept_scattered_or_as_windows():
    rng = np.random.default_rng(0)
    for share in (0.0, 1.0):
        config = replace(VIT, windows=share, dropped=0.5)
        for _ in range(20):
            keep = classify.kept(config, 11, rng).numpy()
            assert keep.shape[0] == 8 and 60 <= keep.shape[1] <= 121
            assert all(
                len(set(row)) == len(row) and 0 <= min(row) <= max(row) <= 120 for row in keep
            )
            if share:
                rows, columns = keep // 11, keep % 11
                area = (np.ptp(rows, axis=1) + 1) * (np.ptp(columns, axis=1) + 1)
                assert (area == keep.shape[1]).all(), "a window is a filled rectangle"


def test_targets_are_probabilities_and_a_label_takes_its_share():
    answers = torch.randn(2, 1000)
    soft, sharp = classify.targets(answers, torch.tensor([-1, 7]), VIT)
    assert torch.allclose(soft.sum(1), torch.ones(2)) and torch.allclose(
        sharp.sum(1), torch.ones(2)
    )
    assert sharp[0].max() > answers.softmax(1)[0].max() > soft[0].max()
    torch.testing.assert_close(sharp[1, 7], 0.1 + 0.9 * (2 * answers[1]).softmax(0)[7])


def photographs_at(folder, names):
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures(1, 12, seed=seed)[0]).resize((96, 64), 3).save(path)


def test_features_are_made_once_and_a_stopped_run_goes_on(tmp_path, monkeypatch):
    train = [f"imagenette/train/n01440764/n01440764_{i}.JPEG" for i in range(2)]
    photographs_at(tmp_path, [*train, "imagenette/train/n01440764/ILSVRC2012_val_1.JPEG"])
    monkeypatch.setattr(classify_features, "_BATCH", 2)
    monkeypatch.setattr(classify_features, "_SAVED", 1)
    passed = []
    real = classify_features._passed

    def counted(*arguments):
        passed.append(1)
        if len(passed) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(classify_features, "_passed", counted)
    with pytest.raises(KeyboardInterrupt):
        classify_features.cached(tmp_path, 3, seed=0)  # three views of two pictures
    found = classify_features.cached(tmp_path, 3, seed=0)
    assert len(passed) == 3 and found.maps.shape == (3, 1280, 11, 11)
    assert set(found.labels) == {0}, "the held-out picture is not among them"
    classify_features.cached(tmp_path, 3, seed=0)
    assert len(passed) == 3
    assert found.maps[-1].max() > 0 and np.isfinite(found.answers).all()
    assert [p.name for p in classify_features.held_out_files(tmp_path)] == ["ILSVRC2012_val_1.JPEG"]


def test_the_teacher_answers_as_the_app_does(tmp_path):
    photographs_at(tmp_path, ["a.png"])
    found = classify_features.measured(tmp_path, [tmp_path / "a.png"], "one")
    app = core_classify.predict(tmp_path / "a.png", "efficientnet-lite0", top_k=1000)
    answers = torch.from_numpy(found.answers.astype(np.float32)).softmax(1)
    names = trunk.imagenet_names()
    assert names[int(answers.argmax())] == app.labels[0]
    np.testing.assert_allclose(float(answers.max()), app.scores[0], rtol=0.01)
    maps, _ = trunk.read(
        np.asarray(Image.open(tmp_path / "a.png").convert("RGB")), classify_features.VIEW
    )
    kept = classify_features.as_maps(found.maps)
    assert float((kept - maps.head).abs().max()) < 6 / 255


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
