"""Matching, loss and NMS against transformers', torchvision's and SciPy's own."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import ops
from transformers import RTDetrConfig
from transformers.loss.loss_for_object_detection import HungarianMatcher, ImageLoss
from transformers.loss.loss_rt_detr import RTDetrHungarianMatcher, RTDetrLoss

from core import detect
from core.errors import InputError
from core.imaging import overlaps
from core.lessons import matching, nms
from core.nets import postprocess
from core.types import RunInfo

INFO = RunInfo("net", "own", "cpu")


def a_case(seed, kind, queries=30):
    """Random predictions and true boxes, cxcywh."""
    rng = np.random.default_rng(seed)
    classes, truths = 7, int(rng.integers(0, 9))

    def boxes(count):
        return np.concatenate(
            [rng.uniform(0.2, 0.8, (count, 2)), rng.uniform(0.02, 0.4, (count, 2))], 1
        ).astype(np.float32)

    logits = rng.normal(0, 3, (queries, classes + (kind == "softmax"))).astype(np.float32)
    return logits, boxes(queries), boxes(truths), rng.integers(0, classes, truths)


def tensors(logits, predicted, boxes, labels):
    outputs = {"logits": torch.tensor(logits)[None], "pred_boxes": torch.tensor(predicted)[None]}
    targets = [{"class_labels": torch.tensor(labels), "boxes": torch.tensor(boxes)}]
    return outputs, targets


def ours(case, kind, weights, unmatched=None):
    cost = matching.costs(*case, kind).total(weights)
    pairs = matching.assign(cost)
    return pairs, matching.loss(*case, pairs, kind, unmatched)


@pytest.mark.parametrize("seed", range(0, 100, 20))
def test_assignment_and_loss_are_those_of_detr(seed):
    for one in range(seed, seed + 20):
        case = a_case(one, "softmax")
        matcher = HungarianMatcher(1, 5, 2)
        criterion = ImageLoss(matcher, 7, 0.1, ["labels", "boxes"])
        outputs, targets = tensors(*case)
        (expected,) = matcher(outputs, targets)
        pairs, found = ours(case, "softmax", (1, 5, 2))
        assert np.array_equal(pairs, [part.numpy() for part in expected])
        theirs = criterion(outputs, targets)
        keys = ("loss_ce", "loss_bbox", "loss_giou")
        np.testing.assert_allclose(found.parts, [float(theirs[k]) for k in keys], atol=2e-5)
        whole = sum(w * float(theirs[k]) for w, k in zip((1, 5, 2), keys, strict=True))
        assert found.total == pytest.approx(whole, abs=1e-4)
        assert len(found.classes) == len(case[2])


@pytest.mark.parametrize("seed", range(0, 100, 20))
def test_assignment_and_loss_are_those_of_rt_detr(seed):
    config = RTDetrConfig(num_labels=7)
    matcher, criterion = RTDetrHungarianMatcher(config), RTDetrLoss(config)
    for one in range(seed, seed + 20):
        case = a_case(one, "sigmoid")
        outputs, targets = tensors(*case)
        (expected,) = matcher(outputs, targets)
        pairs, found = ours(case, "sigmoid", matching.WEIGHTS["sigmoid"])
        assert np.array_equal(pairs, [part.numpy() for part in expected])
        theirs = criterion(outputs, targets)  # weighted already
        keys = ("loss_vfl", "loss_bbox", "loss_giou")
        mine = np.multiply(found.parts, matching.LOSS_WEIGHTS)
        np.testing.assert_allclose(mine, [float(theirs[k]) for k in keys], rtol=1e-5, atol=2e-5)


def test_other_weights_are_those_of_detr_with_them():
    for one in range(5):
        case = a_case(one, "softmax")
        outputs, targets = tensors(*case)
        matcher = HungarianMatcher(4, 0.5, 1)
        expected = ImageLoss(matcher, 7, 0.4, ["labels"])(outputs, targets)
        pairs, found = ours(case, "softmax", (4, 0.5, 1), 0.4)
        assert np.array_equal(pairs, [part.numpy() for part in matcher(outputs, targets)[0]])
        assert found.parts[0] == pytest.approx(float(expected["loss_ce"]), abs=1e-5)


def some_boxes(count, seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 70, (count, 2))
    return np.concatenate([low, low + rng.uniform(5, 40, (count, 2))], 1)


def test_overlaps_are_torchvisions():
    one, other = some_boxes(40, 0), some_boxes(30, 1)
    pair = torch.tensor(one), torch.tensor(other)
    np.testing.assert_allclose(overlaps.iou(one, other), ops.box_iou(*pair), atol=1e-9)
    np.testing.assert_allclose(overlaps.giou(one, other), ops.generalized_box_iou(*pair), atol=1e-9)
    np.testing.assert_allclose(overlaps.diou(one, other), ops.distance_box_iou(*pair), atol=1e-6)
    empty = np.array([[3.0, 3.0, 3.0, 3.0]])
    assert overlaps.iou(empty, empty) == overlaps.giou(empty, empty) == 0
    np.testing.assert_allclose(overlaps.xyxy(overlaps.cxcywh(one)), one)


@pytest.mark.parametrize("limit", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_nms_is_torchvisions(limit):
    boxes, rng = some_boxes(120, 2), np.random.default_rng(3)
    scores, classes = rng.permutation(120) / 120, rng.integers(0, 3, 120)
    found = nms.suppress(boxes, scores, classes, "hard", limit)
    keep = ops.batched_nms(*map(torch.tensor, (boxes, scores, classes)), limit).numpy()
    assert set(np.flatnonzero(found.by < 0)) == set(keep)
    gone = np.flatnonzero(found.by >= 0)
    assert np.all(found.scores[gone] == 0)
    for i in gone:  # it was dropped by a better box of its class that stayed
        j = found.by[i]
        assert found.by[j] < 0 and scores[j] > scores[i] and classes[j] == classes[i]
        assert float(ops.box_iou(torch.tensor(boxes[[i]]), torch.tensor(boxes[[j]]))) > limit


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_is_the_papers_algorithm(method):
    boxes, scores = some_boxes(40, 4), np.random.default_rng(5).permutation(40) / 40
    found = nms.suppress(boxes, scores, np.zeros(40, int), method, 0.3, 0.5)
    overlap = ops.box_iou(torch.tensor(boxes), torch.tensor(boxes)).numpy()
    expected, rest = scores.copy(), list(range(40))  # figure 2 of the paper, word for word
    while rest:
        m = max(rest, key=lambda i: expected[i])
        rest.remove(m)
        for i in rest:
            if method == "gaussian":
                expected[i] *= np.exp(-(overlap[m, i] ** 2) / 0.5)
            elif overlap[m, i] > 0.3:
                expected[i] *= 1 - overlap[m, i]
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    assert np.any(found.scores < scores)


def made(kind="sigmoid", seed=0, queries=12):
    logits, boxes, *_ = a_case(seed, kind, queries)
    labels = {i: f"thing {i}" for i in range(7)}
    return detect.Inside(logits[None], boxes[None], kind, labels, (), (200, 100), INFO)


def test_true_boxes_by_name_and_number_and_what_is_refused():
    found = made("softmax")
    boxes, labels = matching.truths([[20, 10, 60, 50, "THING 3"], [0, 0, 200, 100, 2.0]], found)
    np.testing.assert_allclose(boxes, [[0.1, 0.1, 0.3, 0.5], [0, 0, 1, 1]])
    assert labels.tolist() == [3, 2]
    assert len(matching.classes(found)) == 7
    for wrong, said in (
        ("box", "as a list"),
        ([[0, 0, 1, 1]], r"True box 1 must be \[x1"),
        ([[0, 0, "1", 1, 0]], "must be a number"),
        ([[5, 0, 1, 1, 0]], "x1 < x2"),
        ([[0, 0, 500, 1, 0]], "0 to 200"),
        ([[0, 0, 9, 9, "unicorn"]], "no class 'unicorn'"),
        ([[0, 0, 9, 9, 7]], "between 0 and 6"),
        ([[0, 0, 9, 9, None]], "must be a whole number"),
        ([[0, 0, 9, 9, 0]] * 101, "at most 100"),
    ):
        with pytest.raises(InputError, match=said):
            matching.truths(wrong, found)
    for weights, said in (([1, 2], "three"), ([0, 0, 0], "above 0"), ([1, 2, -1], "between")):
        with pytest.raises(InputError, match=said):
            matching.checked_weights(weights)
    with pytest.raises(InputError, match="hard, linear or gaussian"):
        nms.suppress(np.zeros((1, 4)), np.ones(1), np.zeros(1, int), "soft")  # type: ignore


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_first_true_boxes_lie_in_the_picture_and_near_detections(kind):
    for seed in range(20):
        found = made(kind, seed)
        boxes, labels = matching.start(found)
        assert 1 <= len(boxes) == len(labels) <= 6
        assert np.all(boxes >= 0) and np.all(boxes <= 1)
        assert np.all(boxes[:, 2:] - boxes[:, :2] >= 0.019)
        best = overlaps.xyxy(found.boxes)
        assert np.all(overlaps.iou(boxes, best).max(1) > 0.4)


def test_candidates_are_what_detect_answers_with_before_nms(monkeypatch):
    monkeypatch.setattr(postprocess, "SAME_PLACE", 1.0)  # that step comes after NMS
    found = made("sigmoid")
    before = nms.candidates(found, 0.0)
    assert len(before.scores) == 12 * 7 and np.all(np.diff(before.scores) <= 0)
    dense = detect.Inside(
        found.layers_logits, found.layers_boxes, "dense", {}, ((2, 4), (2, 2)), (200, 100), INFO
    )
    raw = nms.candidates(dense, 0.3)
    after = nms.suppress(raw.boxes, raw.scores, raw.classes, "hard", postprocess.NMS_IOU)
    kept = np.flatnonzero(after.by < 0)
    boxes, _, classes = dense.answers(0.3)
    assert {(*b, c) for b, c in zip(raw.boxes[kept].tolist(), raw.classes[kept], strict=True)} == {
        (*b, c) for b, c in zip(boxes.tolist(), classes, strict=True)
    }
    assert np.array_equal(raw.levels, raw.tokens >= 8) and {0, 1} == set(raw.levels)
    assert set(before.levels) == {-1}
    soft = nms.candidates(made("softmax"), 0.0)
    assert sorted(soft.tokens.tolist()) == list(range(12)), "one class for each query"


def test_one_pass_serves_detect_and_both_lessons(shelf, forwards, picture):
    from tests import nets

    model, config = nets.detr()
    shelf.starter("detect", model, config, name="small")
    image = picture(80, 60)
    detect.predict(image, "small", 0.1)
    assert len(forwards) == 1
    found = matching.look(image, None, "small")
    again = matching.look(image, [[5, 5, 40, 40, 0]], "small", [1, 1, 1])
    assert len(again.queries) == 1 and found.inside.info.cache["output"] == "hit"
    nms.candidates(detect.inside(image, "small"))
    assert len(forwards) == 1


def test_layers_of_detr_are_those_of_its_auxiliary_loss():
    from core.nets import detector
    from tests import nets

    model, config = nets.detr()
    deep = type(model)(type(model.config).from_dict({**config["detr"], "decoder_layers": 3})).eval()
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        logits, boxes = detector.by_layer(deep, x)
        deep.model.decoder.config.auxiliary_loss = deep.config.auxiliary_loss = True
        labels = [{"class_labels": torch.tensor([0]), "boxes": torch.full((1, 4), 0.5)}]
        theirs = deep(pixel_values=x, labels=labels)
    assert logits.shape[1] == boxes.shape[1] == 3
    torch.testing.assert_close(logits[:, -1], theirs.logits, atol=1e-5, rtol=1e-5)
    for layer, aux in enumerate(theirs.auxiliary_outputs):
        torch.testing.assert_close(logits[:, layer], aux["logits"], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(boxes[:, layer], aux["pred_boxes"], atol=1e-5, rtol=1e-5)


def test_the_convolutional_detector_is_not_matched(monkeypatch):
    dense = SimpleNamespace(kind="dense")
    monkeypatch.setattr(detect, "inside", lambda *_: dense)
    with pytest.raises(InputError, match="choose a DETR"):
        matching.look(np.zeros((8, 8, 3), np.uint8))
