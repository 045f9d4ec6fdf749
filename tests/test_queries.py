"""What is recorded of a DETR, against the library's own eager attention, boxes and sampling."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from core import detect
from core.errors import InputError
from core.lessons import queries, slots
from core.nets import decoders, detector
from tests import nets

KINDS = ("detr", "rt_detr", "rt_detr_v2", "d_fine", "starter")
CLOSE: Any = {"atol": 1e-5, "rtol": 1e-5}


def network(kind: str) -> tuple[Any, torch.Tensor]:
    """A model, and an input for two pictures."""
    torch.manual_seed(3)
    if kind == "starter":  # the file in the repository, on random maps of the trunk
        with detect.runtime.run("detect", queries.STARTER, detect._build) as run:
            return run.model, torch.rand(2, 1552, 8, 10)
    if kind != "detr":
        return nets.deformable_detr(kind)[0], torch.rand(2, 3, 64, 64)
    model, config = nets.detr()
    sizes = {"decoder_layers": 3, "encoder_layers": 2}
    deep = type(model)(type(model.config).from_dict({**config["detr"], **sizes})).eval()
    with torch.no_grad():  # queries and places that differ
        deep.model.query_position_embeddings.weight.normal_()
        for module in deep.model.modules():
            if isinstance(module, torch.nn.Linear):
                torch.nn.init.normal_(module.weight, std=0.3)
    return deep, torch.randn(2, 3, 64, 96)


@contextmanager
def sampling(model: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[Any, Any]]]:
    """Locations and weights that the library's own sampling is called with, by layer."""
    given: list[tuple[Any, Any]] = []
    attention = [layer.encoder_attn for layer in model.model.decoder.layers]
    for one in attention:
        if hasattr(one, "ms_deformable_attn_core"):  # D-FINE: a function that each layer holds
            core = one.ms_deformable_attn_core
            one.ms_deformable_attn_core = lambda *a, core=core: (given.append(a[2:4]), core(*a))[1]
        elif hasattr(one, "attn"):  # RT-DETR: a module
            one.attn.register_forward_pre_hook(lambda _, a: given.append((a[4], a[5])))
    if not hasattr(attention[0], "attn") and not hasattr(attention[0], "ms_deformable_attn_core"):
        from transformers.models.rt_detr_v2 import modeling_rt_detr_v2 as library

        name = "multi_scale_deformable_attention_v2"
        core = getattr(library, name)
        monkeypatch.setattr(library, name, lambda *a: (given.append(a[2:4]), core(*a))[1])
    yield given


def weights(looking: torch.Tensor, looked_at: torch.Tensor) -> torch.Tensor:
    """(B, L, H, N, M) of queries and keys; places of a map are flattened."""
    flat = [one.flatten(3, -2) for one in (looking, looked_at)]
    return (flat[0] @ flat[1].transpose(-1, -2)).softmax(-1)


@pytest.mark.parametrize("kind", KINDS)
@torch.inference_mode()
def test_recorded_is_what_the_library_computes(kind, monkeypatch):
    model, x = network(kind)
    theirs = copy.deepcopy(model)
    theirs.set_attn_implementation("eager")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    detector.by_layer(model, x)  # the library leaves hooks of its own where states are asked for
    hooks = hooks_of(model)
    found: Any = decoders.record(model, x)
    assert hooks_of(model) == hooks
    after = model.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    with sampling(theirs, monkeypatch) as given:
        out = theirs(pixel_values=x, output_attentions=True)
    torch.testing.assert_close(found.logits[:, -1], out.logits, **CLOSE)
    torch.testing.assert_close(found.boxes[:, -1], out.pred_boxes, **CLOSE)
    among = weights(found.queries, found.keys)
    torch.testing.assert_close(among, torch.stack(out.decoder_attentions, 1), **CLOSE)
    assert among.std() > 1e-4
    if found.encoder_queries.shape[1]:
        ours = weights(found.encoder_queries, found.encoder_keys)
        torch.testing.assert_close(ours, torch.stack(out.encoder_attentions, 1), **CLOSE)
    else:
        assert kind == "starter", "its encoder is convolutional"
    if isinstance(found, decoders.Dense):
        over = weights(found.looks, found.places)
        torch.testing.assert_close(over, torch.stack(out.cross_attentions, 1), **CLOSE)
        assert found.places.shape[3:5] == (2, 3) and over.std() > 1e-4
        return
    assert len(given) == 3
    for layer, (points, shares) in enumerate(given):
        for ours, expected in (
            (found.points[:, layer], points.flatten(3, -2)),
            (found.weights[:, layer], shares.flatten(3)),
        ):
            torch.testing.assert_close(ours, expected.transpose(1, 2), **CLOSE)
    labels = [{"class_labels": torch.tensor([0]), "boxes": torch.full((1, 4), 0.5)}] * 2
    first = theirs(pixel_values=x, labels=labels)
    torch.testing.assert_close(found.first_logits, first.enc_topk_logits, **CLOSE)
    torch.testing.assert_close(found.first_boxes, first.enc_topk_bboxes, **CLOSE)


def hooks_of(model: Any) -> list[list[int]]:
    modules = model.modules()
    return [[*one._forward_hooks, *one._forward_pre_hooks] for one in modules]


@pytest.mark.parametrize("kind", KINDS[1:4])
@torch.inference_mode()
def test_layers_are_those_of_the_decoder_in_training(kind):
    """In training the library answers after each layer; D-FINE does so only then."""
    model, x = network(kind)
    found: Any = decoders.record(model, x)
    model.model.decoder.training = True  # of this module only, so that nothing else changes
    out = model(pixel_values=x)
    last = slice(-3, None)  # D-FINE has a guess more in front
    torch.testing.assert_close(found.logits, out.intermediate_logits[:, last], **CLOSE)
    torch.testing.assert_close(found.boxes, out.intermediate_reference_points[:, last], **CLOSE)


def test_origins_are_the_anchors_of_the_library():
    """A token's place is the centre of the box that RT-DETR gives it before it has learned."""
    shapes = ((4, 6), (2, 3))
    levels, places = queries.origins(np.arange(30), shapes)
    centres = detector.anchors(shapes)[0, :, :2].sigmoid().numpy()
    np.testing.assert_allclose(places, centres, atol=1e-6)
    assert levels.tolist() == [0] * 24 + [1] * 6


@pytest.mark.parametrize("kind", ["detr", "rt_detr_v2", "d_fine"])
def test_one_pass_serves_every_question_and_agrees_with_detect(kind, shelf, forwards, picture):
    made = nets.detr() if kind == "detr" else nets.deformable_detr(kind)
    shelf.starter("detect", *made, name="small")
    image = picture(80, 60)
    found = queries.look(image, "small")
    assert len(forwards) == 1
    again = queries.look(image, "small")
    assert len(forwards) == 1 and again.inside.info.cache["output"] == "hit"
    assert (found.chosen is None) == (kind == "detr")
    expected = detect.predict(image, "small", 0.0)
    (scores, labels), order = found.scores(), np.argsort(-found.scores()[0], kind="stable")
    best = order[0]
    np.testing.assert_allclose(expected.scores[0], scores[best], atol=1e-5)
    np.testing.assert_allclose(expected.boxes[0], found.boxes()[best], atol=1e-2)
    assert expected.labels[0] == found.label(int(labels[best]))
    check_shares(found)
    for wrong in ((3, 0), (0, 9), (-2, 0)):
        with pytest.raises(InputError):
            found.among.weights(*wrong)


def check_shares(found: queries.Queries) -> None:
    """What a query takes adds up to 1, for one head and for the mean of all."""
    for head in (0, -1):
        np.testing.assert_allclose(found.among.weights(-1, head).sum(1), 1, atol=1e-5)
        if isinstance(found.over, queries.Sampling):
            points, taken, levels = found.over.read(-1, head, 2)
            assert len(points) == len(taken) == len(levels)
        else:
            taken = found.over.weights(-1, head)[2]
        assert taken.sum() == pytest.approx(1, abs=1e-5)
    total = found.probabilities().sum(1)
    assert found.inside.kind == "sigmoid" or np.allclose(total, 1, atol=1e-5)


def test_detectors_without_queries_are_refused_in_one_sentence(picture):
    with pytest.raises(InputError, match="has no queries; choose a DETR"):
        queries.look(picture(64, 48), "detect-cnn-starter")
    assert queries.look(picture(64, 48)).inside.info.checkpoint == queries.STARTER
    with pytest.raises(InputError, match="encoder of this model has no attention"):
        queries.look(picture(64, 48)).from_place(0, 0)
    with pytest.raises(InputError, match="encoder only"):
        decoders.is_deformable(torch.nn.Linear(1, 1))
    looks = np.zeros((2, 2, 5, 4), np.float32)
    with pytest.raises(ValueError, match="grid"):
        queries.Looks(looks, looks, (2, 3))


def test_numbers_for_the_page_lose_nothing_that_one_sees(tmp_path, monkeypatch, shelf, picture):
    from demos.shell import ui
    from demos.viewers.queries import packed

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    for name in ("detr", "d_fine"):
        made = nets.detr() if name == "detr" else nets.deformable_detr(name)
        shelf.starter("detect", *made, name=name)
        image = picture(80, 60)
        found = queries.look(image, name)
        value = packed(image, found)

        def part(key: str, dtype: str, value: Any = value) -> np.ndarray:
            where = value["parts"][key]
            count, begin = np.prod(where["shape"]), where["offset"]
            some = np.fromfile(value["numbers"], dtype, count, offset=begin)
            return some.reshape(where["shape"])

        scores = part("among_q", "<i2")[-1, 1].astype(float) @ part("among_k", "<i2")[-1, 1].T
        shares = np.exp(scores * value["among"]["scale"][-1][1])
        expected = found.among.weights(-1, 1)
        np.testing.assert_allclose(shares / shares.sum(1, keepdims=True), expected, atol=1e-3)
        corners = part("boxes", "<f4")[-1] * np.tile(found.inside.size, 2)
        np.testing.assert_allclose(corners, found.boxes(), atol=1e-3)
        best = part("shares", "<f4")[-1, :, 0]
        np.testing.assert_allclose(best, found.scores()[0], atol=1e-6)
        stages, layers = part("boxes", "<f4").shape[0], len(found.inside.layers_boxes)
        assert stages == layers + (name == "d_fine")
        if isinstance(found.over, queries.Sampling):
            points = part("points", "<i2") * value["sampling"]["far"]
            np.testing.assert_allclose(points, found.over.points, atol=1e-3)
            weights = part("weights", "<i2") * value["sampling"]["most"]
            np.testing.assert_allclose(weights, found.over.weights, atol=1e-4)
        else:
            assert value["over"]["grid"] == found.over.grid and "none" in value["parts"]


# --- slots: the same queries on several pictures ---


def test_slots_are_the_boxes_of_detect_and_cost_one_pass_each(shelf, forwards, picture):
    shelf.starter("detect", *nets.detr(), name="small")
    shown = [picture(80, 60), picture(60, 80), picture(64, 64)]
    detect.predict(shown[0], "small")
    before = len(forwards)
    found = slots.look("small", shown)
    assert len(forwards) == before + 2, "the first one is kept"
    assert not found.chosen and found.boxes.shape == (3, 12, 4)
    for i, one in enumerate(shown):
        answer = detect.predict(one, "small", 0.0)
        assert found.scores[i].max() == pytest.approx(answer.scores[0], abs=1e-5)
        assert found.labels[i][int(found.scores[i].argmax())] == answer.labels[0]
    with pytest.raises(InputError, match="at least two"):
        slots.look("small", shown[:1])


def test_spread_is_that_of_numpy_and_chance_exchanges_slots():
    rng = np.random.default_rng(0)
    places = rng.uniform(0, 1, (1, 30, 2)) + rng.normal(0, 0.001, (6, 30, 2))  # constant slots
    boxes = np.concatenate([places, np.full((6, 30, 2), 0.1)], -1).astype(np.float32)
    labels = (("cat",) * 30,) * 6
    info = detect.RunInfo("net", "own", "cpu")
    names = tuple("abcdef")
    scores = np.ones((6, 30), np.float32)
    found = slots.Slots(names, boxes, scores, labels, False, info)
    one = boxes[:, 4, :2]
    by_hand = np.linalg.norm(one - one.mean(0), axis=1).mean()
    assert found.spread()[4] == pytest.approx(by_hand, rel=1e-5) and found.spread().max() < 0.01
    assert found.by_chance() > 0.2
    mixed = np.stack([row[rng.permutation(30)] for row in boxes])
    other = slots.Slots(names, mixed, scores, labels, True, info)
    assert other.spread().mean() == pytest.approx(other.by_chance(), rel=0.15)


def test_a_convolutional_detector_has_no_slots():
    with pytest.raises(InputError, match="has no queries"):
        slots.look("detect-cnn-starter", [np.zeros((40, 40, 3), np.uint8)] * 2)


# --- endpoints ---


@pytest.mark.parametrize("kind", ["detr", "rt_detr"])
def test_the_endpoint_gives_what_the_lesson_found(kind, shelf, picture):
    from demos.lessons import queries as view

    made = nets.detr() if kind == "detr" else nets.deformable_detr(kind)
    shelf.starter("detect", *made, name="small")
    image = picture(80, 60)
    found = queries.look(image, "small")
    answer = view.queries(image, 3, 0, 1, [79, 1], "small")
    assert len(answer["queries"]) == len(found.boxes()) and answer["query"] == 3
    np.testing.assert_allclose(answer["queries"][3]["box"], found.boxes(0)[3], atol=0.1)
    np.testing.assert_allclose(answer["layers"][-1], found.boxes()[3], atol=0.1)
    np.testing.assert_allclose(answer["self_attention"], found.among.weights(0, 1)[3], atol=1e-5)
    if isinstance(found.over, queries.Sampling):
        points, weights, _ = found.over.read(0, 1, 3)
        np.testing.assert_allclose(np.array(answer["points"])[:, :2], points * [80, 60], atol=0.1)
        np.testing.assert_allclose(np.array(answer["points"])[:, 2], weights, atol=1e-5)
    else:
        expected = found.over.weights(0, 1)[3]
        np.testing.assert_allclose(answer["cross_attention"], expected, atol=1e-5)
        assert np.prod(answer["grid"]) == len(expected)
    assert json.loads(json.dumps(answer)) == answer
    rows, columns = found.encoder.grid
    corner = found.encoder.weights(-1, -1)[columns - 1]  # upper right
    np.testing.assert_allclose(np.ravel(answer["encoder"]), corner, atol=1e-5)
    assert np.shape(answer["encoder"]) == (rows, columns)
    best = view.queries(image, checkpoint="small")
    assert best["query"] == found.scores()[0].argmax()
    assert best["encoder"] is None
    for wrong in ({"query": 99}, {"layer": 9}, {"head": 9}, {"place": [1]}, {"place": [99, 0]}):
        with pytest.raises(InputError):
            view.queries(image, checkpoint="small", **wrong)
