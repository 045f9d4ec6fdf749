"""Comparing classifiers: costs against counts by hand, Grad-CAM against its formula, agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from core import classify
from core.errors import InputError
from core.lessons import compare
from core.nets import cam, cost
from tests import nets
from tests.classifiers import PUBLISHED, hollow


def test_the_cost_of_one_layer_by_hand():
    """out channels x places x (in channels / groups) x kernel², and a matrix product."""
    conv = nn.Conv2d(3, 8, 5, stride=2, padding=2)
    assert cost.count(conv, [(1, 3, 32, 32)]) == cost.Cost(8 * 75 + 8, 8 * 16 * 16 * 3 * 25)
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
    assert cost.count(depthwise, [(1, 8, 10, 10)]).macs == 8 * 100 * 9
    line = nn.Linear(7, 11)
    assert cost.count(line, [(4, 7)]) == cost.Cost(7 * 11 + 11, 4 * 7 * 11)
    assert all(p.device.type == "cpu" for p in line.parameters()), "the network stays as it was"


@pytest.mark.parametrize(
    ("name", "params", "gmacs"),
    # torchvision's and timm's tables of parameters and multiply-adds.
    [("resnet50", 25_557_032, 4.09), ("vit_tiny_patch16_224", 5_717_416, 1.26)],
)
def test_published_costs(name, params, gmacs):
    with torch.device("meta"):
        model = timm.create_model(name)
    found = cost.count(model, [(1, 3, 224, 224)])
    assert found.params == params
    assert found.macs / 1e9 == pytest.approx(gmacs, rel=0.02)


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.key)
def test_every_checkpoint_costs_what_the_catalogue_says(one):
    model, side = hollow(one)
    found = cost.count(model, [(1, 3, side, side)])
    assert found.params / 1e6 == pytest.approx(one.params_m, rel=0.02)
    assert found.macs / 1e9 == pytest.approx(one.gmacs, rel=0.1)


def small_resnet() -> Any:
    torch.manual_seed(0)
    block = timm.models.resnet.Bottleneck
    model = timm.models.resnet.ResNet(block, [1, 1, 1, 1], 5, channels=(8, 8, 8, 8))
    return model.eval().requires_grad_(False)


def test_grad_cam_by_its_formula():
    model, x = small_resnet(), torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        logits, heat, seconds = cam.best_class(model, x)
        torch.testing.assert_close(logits, model(x))
    maps = model.forward_features(x).requires_grad_()  # (2, C, 3, 3)
    # The class layer reads the mean, so the gradient is its weight over the number of places.
    rows = model.fc.weight[logits.argmax(1)]
    plain = torch.einsum("bc,bchw->bhw", rows / 9, maps).relu().detach()
    plain /= plain.amax((1, 2), keepdim=True)
    torch.testing.assert_close(heat, plain, atol=1e-5, rtol=1e-4)
    assert seconds.shape == (2, 1)
    assert float(seconds.min()) > 0
    assert not any(m._forward_hooks for m in model.modules()), "no hook stays"


def test_a_class_token_depends_on_the_block_before_the_last():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, depth=3, embed_dim=24)
    with torch.no_grad():
        model.head.weight.normal_()
    _, heat, _ = cam.best_class(model.eval().requires_grad_(False), torch.randn(1, 3, 64, 64))
    assert heat.shape == (1, 4, 4)
    assert float(heat.max()) == pytest.approx(1)
    assert len(heat.unique()) > 2


def two(shelf: Any, *seeds: int) -> None:
    for seed in seeds:
        model, config = nets.vit()
        torch.manual_seed(seed)
        with torch.no_grad():
            model.head.weight.normal_(std=3)
        shelf.starter("classify", model, config, name=f"net{seed}")


def test_two_checkpoints_beside_each_other(shelf, forwards, picture):
    two(shelf, 1, 2)
    image = picture(64, 48)
    found = compare.look(image, ("net1", "net2"), top_k=3)
    assert len(forwards) == 2
    plain = [classify.predict(image, key, top_k=4) for key in ("net1", "net2")]
    for one, expected in zip(found.answers, plain, strict=True):
        assert one.labels == expected.labels[:3]
        np.testing.assert_allclose(one.scores, expected.scores[:3], atol=1e-5)
        assert one.heat.shape == (8, 8)
        assert one.seconds > 0
    tables = [dict(zip(p.labels, p.scores, strict=True)) for p in plain]
    shared = sum(min(tables[0][label], tables[1][label]) for label in tables[0])
    np.testing.assert_allclose(found.agreement, [[1, shared], [shared, 1]], atol=1e-5)
    assert found.same_best == (plain[0].labels[0] == plain[1].labels[0])
    before = len(forwards)
    again = compare.look(image, ("net1", "net2"))
    assert len(forwards) == before, "kept"
    assert again.answers[0].seconds == found.answers[0].seconds, "of the pass when it ran"


@pytest.mark.parametrize("keys", [("net1",), ("net1", "net1"), ("net1", "auto"), ["net1"] * 5])
def test_one_is_no_comparison(shelf, picture, keys):
    two(shelf, 1)
    with pytest.raises(InputError, match="two to four different checkpoints"):
        compare.look(picture(64, 48), keys)


def test_an_unknown_checkpoint_gets_the_sentence(shelf, picture):
    two(shelf, 1)
    with pytest.raises(InputError, match="no checkpoint called nose"):
        compare.look(picture(64, 48), ("net1", "nose"))
