"""The family's numbers are those of the libraries' networks; only what is ready answers."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from core import classify
from core.checkpoints import by_key
from core.errors import InputError
from core.lessons import cnn_family
from core.nets import cost
from core.nets.lenet import LeNet
from tests.live import EXAMPLES


def lenet() -> nn.Sequential:
    """LeNet-5 with every map of S2 read by every filter of C3, as it is built today."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(),
        nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def real(key: str) -> Any:
    """The network and the library's published top-1, if there is one."""
    from torchvision import models

    with torch.device("meta"):
        match key:
            case "lenet5":
                return LeNet(), 0.0
            case "alexnet":
                return models.alexnet(weights=None), _top1(models.AlexNet_Weights.IMAGENET1K_V1)
            case "vgg16":
                return models.vgg16(weights=None), _top1(models.VGG16_Weights.IMAGENET1K_V1)
            case "googlenet":
                network = models.GoogLeNet(aux_logits=False, init_weights=False)
                return network, _top1(models.GoogLeNet_Weights.IMAGENET1K_V1)
            case "resnet50":
                return timm.create_model("resnet50.a1_in1k"), None
    return timm.create_model("tf_efficientnet_lite0"), None


def _top1(weights: Any) -> float:
    return float(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"])


@pytest.mark.parametrize("one", cnn_family.FAMILY, ids=lambda one: one.key)
def test_the_numbers_are_those_of_the_network(one):
    network, published = real(one.key)
    found = cost.count(network.eval(), [(1, 3, one.side, one.side)])
    assert (found.params, found.macs) == (one.params, one.macs)
    if one.key == "lenet5":  # the same of plain layers
        assert cost.count(lenet().eval(), [(1, 1, 32, 32)]) == found
    if published is None:  # that of the catalogue
        published = float(by_key(one.checkpoint).metric.split(" ")[0])
    assert round(published, 1) == one.top1
    convs = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    # torchvision's GoogLeNet has 3 x 3 where the paper, and the table, have 5 x 5.
    assert {max(c.kernel_size) for c in convs} >= set(one.kernels) - {
        5 if "google" in one.key else 0
    }
    if one.key in ("lenet5", "alexnet", "vgg16"):  # no branches: every layer lies on the path
        assert len(convs) + sum(isinstance(m, nn.Linear) for m in network.modules()) == one.layers


def test_they_stand_in_the_order_of_their_years():
    years = [one.year for one in cnn_family.FAMILY]
    assert years == sorted(years)
    assert all(by_key(one.checkpoint) for one in cnn_family.FAMILY)
    assert cnn_family.member("vgg16").title == "VGG-16"
    with pytest.raises(InputError, match="no network called nose here; choose one of lenet5"):
        cnn_family.member("nose")


def test_what_is_ready_answers_and_nothing_is_downloaded(monkeypatch):
    from core.sources import resolver

    def refuse(*_: Any) -> None:
        raise AssertionError("this must not download")

    monkeypatch.setattr(resolver, "_download", refuse)
    monkeypatch.setattr(resolver, "is_ready", lambda c: c.tier != "full")
    found = {one.member.key: one for one in cnn_family.look(EXAMPLES / "chelsea.jpg", top_k=2)}
    lite = found["efficientnet-lite0"].found
    plain = classify.predict(EXAMPLES / "chelsea.jpg", "efficientnet-lite0", top_k=2)
    assert lite.labels == plain.labels
    digits = found["lenet5"].found
    assert set(digits.labels) < set("0123456789") and "none of the 10 classes" in digits.doubt
    assert "choose AlexNet as the checkpoint above to download them" in found["alexnet"].why
    assert "choose VGG-16 as the checkpoint above to download them (553 MB)" in found["vgg16"].why
    with pytest.raises(InputError, match="top_k"):
        cnn_family.look(EXAMPLES / "chelsea.jpg", top_k=0)
