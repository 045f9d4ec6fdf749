"""The segment recipe: it resumes exactly, and what it exports stands alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from core.nets import sam as small_sam
from core.sources import state_dicts
from training import (
    common,
    segment,
    segment_data,
    segment_eval,
    segment_judge,
)
from training.common import LoopConfig, Trainer
from training.muon import MuonTrainer

TINY_SAM = {"img_size": 64, "dim": 32, "trunk": "test_efficientnet", "heads": 2}
LOOP = LoopConfig(steps=2, bf16=False, warmup_steps=1)


def disc(h, w, x, y, r):
    rows, columns = np.mgrid[:h, :w]
    return (columns - x) ** 2 + (rows - y) ** 2 < r * r


def sample(seed):
    rng = np.random.default_rng(seed)
    mask = disc(60, 80, 40, 30, 18)
    image = rng.integers(0, 90, (60, 80, 3), dtype=np.uint8)
    image[mask] += 120
    return segment_data.Sample(f"s{seed}", image, [mask.astype(np.uint8)])


def segment_loss():
    mixer = segment_data.Mixer({"ecssd": [sample(0), sample(1)]})
    config = segment.Config(batch=2, prompts=2, max_rounds=3)

    def loss_of(model, rng):
        return segment.step_loss(model, segment.make_batch(mixer, config, 64, rng), config, rng)

    return loss_of


RECIPES = {
    "segment": (lambda: small_sam.build(**TINY_SAM), segment_loss),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_stopped_run_ends_as_an_unstopped_one(name, tmp_path):
    build, make_loss = RECIPES[name]

    def trainer(folder):
        torch.manual_seed(0)
        return Trainer(build(), LOOP, tmp_path / folder)

    whole = trainer("whole")
    whole.fit(make_loss())
    trainer("parts").fit(make_loss(), until_step=1)
    resumed = trainer("parts")
    assert resumed.step == 1
    resumed.fit(make_loss())
    before = build().state_dict()
    expected, found = whole.ema.state_dict(), resumed.ema.state_dict()
    assert any(not torch.equal(expected[k], before[k]) for k in expected)
    for key in expected:
        assert torch.equal(expected[key], found[key]), key


def test_the_trunk_learns_slowly(tmp_path):
    torch.manual_seed(0)
    model = small_sam.build(**TINY_SAM)
    before = {name: value.clone() for name, value in model.named_parameters()}
    trunk = "image_encoder.backbone."
    MuonTrainer(model, LOOP, tmp_path, segment.NOT_MUON, trunk).fit(segment_loss(), until_step=1)
    moved = {
        name: float((value.detach() - before[name]).abs().max())
        for name, value in model.named_parameters()
    }
    slow = max(far for name, far in moved.items() if name.startswith(trunk))
    others = max(far for name, far in moved.items() if not name.startswith(trunk))
    # The first step of AdamW with Nesterov's momentum moves a weight by less than twice its rate.
    assert 0 < slow < 2 * LOOP.lr * LOOP.learned_lr < others


def tiny_sam(tmp_path):
    torch.manual_seed(0)
    model = small_sam.build(**TINY_SAM)
    path = tmp_path / "s.safetensors"
    state_dicts.save_starter(path, model.state_dict(), "segment", {"sam": TINY_SAM})
    model.load_state_dict(state_dicts.read(path))  # what fp16 made of it
    return model, path


def test_the_mean_of_two_starters(tmp_path, monkeypatch):
    monkeypatch.setattr(segment, "MODEL", TINY_SAM)
    states = []
    for seed in range(2):
        torch.manual_seed(seed)
        path = tmp_path / f"{seed}.safetensors"
        net = small_sam.build(**TINY_SAM)
        state_dicts.save_starter(path, net.state_dict(), "segment", {"sam": TINY_SAM})
        states.append(state_dicts.read(path))
    mean = common.mean_weights(tmp_path / "0.safetensors", tmp_path / "1.safetensors")
    segment.save(mean, tmp_path / "m.safetensors")
    mean = state_dicts.read(tmp_path / "m.safetensors")
    name = "mask_decoder.iou_token.weight"
    torch.testing.assert_close(
        mean[name], (states[0][name] + states[1][name]) / 2, rtol=1e-3, atol=1e-3
    )
    assert not torch.equal(mean[name], states[0][name])


def test_a_segment_starter_is_rebuilt_from_its_file_alone(tmp_path):
    model, path = tiny_sam(tmp_path)
    rebuilt = segment_eval.load(path)
    assert state_dicts.read_header(path)[0] == "segment"
    assert not any(t.is_meta for t in [*rebuilt.parameters(), *rebuilt.buffers()])
    picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    outputs = []
    for net in (model, rebuilt):
        predictor = SamPredictor(net)
        predictor.set_image(picture)
        outputs.append(predictor.predict(np.array([[20.0, 30.0]]), np.ones(1), return_logits=True))
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_sam_predictor_takes_clicks_boxes_and_low_res_masks(tmp_path):
    predictor = SamPredictor(tiny_sam(tmp_path)[0])
    predictor.set_image(sample(0).image)
    masks, scores, low = predictor.predict(np.array([[40.0, 30.0]]), np.ones(1))
    assert masks.shape == (3, 60, 80)
    assert scores.shape == (3,)
    assert low.shape == (3, 32, 32)
    masks, _, _ = predictor.predict(
        np.array([[40.0, 30.0], [2.0, 2.0]]),
        np.array([1, 0]),
        box=np.array([20.0, 10.0, 60.0, 50.0]),
        mask_input=low[:1],
        multimask_output=False,
    )
    assert masks.shape == (1, 60, 80)


def test_decoding_a_batch_is_what_sam_does_picture_by_picture():
    torch.manual_seed(0)
    model = small_sam.build(**TINY_SAM)
    pixels = torch.rand(2, 3, 64, 64) * 255
    points, labels = torch.rand(4, 2, 2) * 64, torch.tensor([[1.0, 0.0]] * 4)
    low = torch.randn(4, 1, 32, 32)
    owner = torch.tensor([0, 0, 1, 1])
    with torch.no_grad():
        embedding = segment.embed(model, pixels)
        batched, scores = segment.decode(model, embedding, owner, points, labels, None, low)
        for i in range(2):
            mine = owner == i
            sparse, dense = model.prompt_encoder((points[mine], labels[mine]), None, low[mine])
            masks, iou = model.mask_decoder(
                embedding[i : i + 1], model.prompt_encoder.get_dense_pe(), sparse, dense, True
            )
            torch.testing.assert_close(batched[mine][:, 1:], masks)
            torch.testing.assert_close(scores[mine][:, 1:], iou)


def test_sides_that_do_not_fit_the_strides_are_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        small_sam.build(img_size=100)


def test_a_held_out_picture_is_found_again_in_training_though_mirrored():
    pictures = [
        np.random.default_rng(i)
        .integers(0, 255, (6, 8, 3), dtype=np.uint8)
        .repeat(8, 0)
        .repeat(8, 1)
        for i in range(3)
    ]
    samples = [segment_data.Sample(str(i), p, []) for i, p in enumerate(pictures)]
    copy = segment_data.Sample("copy", np.ascontiguousarray(pictures[0][:, ::-1]), [])
    assert [s.name for s in segment_data.drop_copies(samples, [copy])] == ["1", "2"]


def test_corrective_clicks_fall_on_the_error_with_its_kind():
    targets = torch.zeros(1, 1, 32, 32)
    targets[0, 0, 8:20, 8:20] = 1
    shown = torch.full((1, 1, 32, 32), -5.0)
    shown[0, 0, 8:20, 8:30] = 5  # spills to the right
    points, labels = segment._add_clicks(
        torch.zeros(1, 0, 2), torch.zeros(1, 0), shown, targets, np.random.default_rng(0)
    )
    x, y = points[0, 0].tolist()
    assert labels.tolist() == [[0.0]]
    assert 40 <= x < 60
    assert 16 <= y < 40


def test_weights_in_the_repository_load(tmp_path):
    for path in sorted(Path("weights").glob("segment-*.safetensors")):
        segment_eval.load(path)


def test_fitting_the_predicted_iou_brings_it_closer_to_the_true_one(tmp_path):
    model = tiny_sam(tmp_path)[0]
    samples = [sample(i) for i in range(12)]
    head = model.mask_decoder.iou_prediction_head
    features, truths = segment_judge.collect(model, samples)
    before = (head.layers[-1](features) - truths).square().mean()
    segment_judge.fit(model, samples)
    assert (head.layers[-1](features) - truths).square().mean() < 0.2 * before
