"""The detectors' recipe: assignment, measure, and that an exported file is the trained one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.nets import detector
from core.sources import state_dicts
from training import (
    detectors_data,
    detectors_eval,
    detectors_export,
    detectors_judge,
    detectors_net,
)
from training.detectors_loss import Targets, assign, corners, query_loss, single_loss


@pytest.fixture(scope="module")
def lean():
    torch.manual_seed(0)
    layout = detector.config(detectors_data.CLASSES)
    model = detectors_net.lean(detector.build(layout, detectors_data.HEAD, detectors_data.REST))
    detectors_net.initialise(model)
    for name, value in model.state_dict().items():
        if name.endswith(("score_head.weight", "class_embed.2.weight")):
            torch.nn.init.normal_(value, std=0.5)
    return model.eval()


def test_an_exported_detector_answers_as_the_trained_one(lean, tmp_path):
    rng = torch.Generator().manual_seed(0)
    raw = torch.rand(1, 1552, 8, 6, generator=rng)
    basis = {
        "mu": torch.rand(1280, generator=rng),
        "P": torch.randn(1280, 384, generator=rng) / 20,
        "lm": torch.rand(272, generator=rng),
        "ls": torch.rand(272, generator=rng) + 0.5,
    }
    cells = raw[0].flatten(1).T
    head = (cells[:, :1280] - basis["mu"]) @ basis["P"]
    stored = torch.cat([head, (cells[:, 1280:] - basis["lm"]) / basis["ls"]], 1)
    shifts = {"cnn": 0.5, "rt-detr": -0.5}
    paths = detectors_export.export(lean.state_dict(), basis, tmp_path, shifts)
    cnn, _ = detectors_net.dense_of(lean)
    with torch.inference_mode():
        dense = cnn(stored.T.reshape(1, 656, 8, 6))
        logits, boxes = detectors_net.decode(lean, dense)
        expected = {
            "cnn": (dense.logits + 0.5, dense.boxes),
            "rt-detr": (logits[:, -1] - 0.5, boxes[:, -1]),
        }
        for kind, path in paths.items():
            net, nms = detectors_judge.load(path)
            assert nms == (kind == "cnn")
            assert path.stat().st_size < 6e6
            found = detector.answers(net, raw)
            for ours, theirs in zip(found, expected[kind], strict=True):
                pair = ours[0].sort(0)[0], theirs[0].sort(0)[0]
                torch.testing.assert_close(*pair, atol=0.03, rtol=0.03)
    assert state_dicts.read_header(paths["cnn"])[1]["classes"][0] == "airplane"
    again = detectors_export.lean(*(state_dicts.read(paths[k]) for k in ("rt-detr", "cnn")), basis)
    moved = {"model.many_score_head.bias": 0.5, "model.decoder.class_embed.2.bias": -0.5}
    for name, value in lean.state_dict().items():
        expected = value.float() + moved.get(name, 0.0)
        torch.testing.assert_close(again[name], expected, atol=0.03, rtol=0.01, msg=name)


def targets():
    boxes = torch.tensor([[[0.1, 0.1, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]])
    real = torch.tensor([[True, False]])
    return Targets(boxes, torch.tensor([[2, 1]]), real, ~real)


def test_tokens_inside_an_object_learn_it():
    grid = (torch.arange(10) + 0.5) / 10
    centres = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), -1).reshape(-1, 2)
    boxes = torch.cat([centres - 0.15, centres + 0.15], 1)[None]
    logits = torch.zeros(1, 100, 3)
    cells = torch.full((100,), 0.05)
    owner, goal, ignored = assign(logits, boxes, centres, cells, targets())
    chosen = goal[0] > 0
    assert chosen.sum() == 9
    assert (owner[0][chosen] == 0).all()
    assert ((centres[chosen] > 0.1) & (centres[chosen] < 0.5)).all()
    assert ignored.sum() == 25 and (centres[ignored[0]] > 0.5).all()
    _, alone, _ = assign(logits, boxes, centres, cells, targets(), 1)
    assert (alone > 0).sum() == 1


def test_the_right_single_answer_costs_least():
    boxes = torch.tensor([[[0.3, 0.3, 0.4, 0.4], [0.3, 0.3, 0.4, 0.4], [0.7, 0.7, 0.1, 0.1]]])
    one = torch.full((1, 3, 3), -6.0)
    two, none = one.clone(), one.clone()
    one[0, 0, 2] = two[0, 0, 2] = two[0, 1, 2] = 6.0
    centres, cells = corners(boxes)[0, :, :2] + 0.1, torch.full((3,), 0.05)
    for loss in (
        lambda x: query_loss(x, boxes, targets()),
        lambda x: single_loss(x, boxes, centres, cells, targets()),
    ):
        assert loss(one) < loss(two) and loss(one) < loss(none)


def test_mirroring_twice_moves_nothing_in_the_middle():
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(20, 20, 656)).astype(np.float16)
    table = np.array([[3, 0.25, 0.25, 0.5, 0.5, 0]], np.float32)
    once, moved = detectors_data.flipped(maps, table)
    np.testing.assert_allclose(moved[0, 1:5], [0.55, 0.25, 0.8, 0.5], atol=1e-6)
    twice, back = detectors_data.flipped(once, moved)
    np.testing.assert_allclose(back[0, 1:5], table[0, 1:5], atol=1e-6)
    np.testing.assert_array_equal(twice[:, 1:, -160:], maps[:, 1:, -160:])
    assert np.array_equal(once[:, ::-1, :384], maps[..., :384])


def test_perfect_answers_have_ap_one_and_others_less():
    table = np.array([[0, 0.1, 0.1, 0.4, 0.4, 0], [1, 0.5, 0.5, 0.9, 0.9, 1]], np.float32)
    box, label = table[:1, 1:5], np.zeros(1, np.int64)
    right = (box, np.ones(1, np.float32), label)
    assert detectors_eval.mean_ap([table], [right], 2)[0] == pytest.approx(1)
    wrong = (box + 0.3, np.ones(1, np.float32), label)
    assert detectors_eval.mean_ap([table], [wrong], 2)[0] == 0
    twice = (np.concatenate([box + 0.3, box]), np.array([0.9, 0.8], np.float32), label.repeat(2))
    assert detectors_eval.mean_ap([table], [twice], 2)[0] == pytest.approx(0.5)
    ignored = (table[:, 1:5], np.ones(2, np.float32), np.array([0, 1]))
    assert detectors_eval.mean_ap([table], [ignored], 2)[0] == pytest.approx(1)
