"""Receptive fields: published values, real networks, and gradients of real layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn

from core.errors import InputError
from core.lessons import receptive_field
from core.nets import chains, layers
from core.nets.chain_presets import PRESETS, parsed, preset
from core.nets.chains import Step
from tests.classifiers import PUBLISHED, hollow


def real(key: str) -> Any:
    """The network of a preset, without weights."""
    import torchvision

    with torch.device("meta"):
        match key:
            case "alexnet":
                return torchvision.models.alexnet(weights=None)
            case "googlenet":
                return torchvision.models.GoogLeNet(init_weights=False)
            case "vgg16":
                return torchvision.models.vgg16(weights=None)
            case "resnet50":
                return timm.create_model("resnet50.a1_in1k")
            case "efficientnet-lite0":
                return timm.create_model("tf_efficientnet_lite0")
            case "vit":
                return timm.create_model("vit_base_patch16_224")
    raise KeyError(key)


def shapes(steps: Any) -> list[tuple[Any, ...]]:
    return [(s.kernel, s.stride, s.dilation, s.padding, s.kind, s.ceil) for s in steps]


@pytest.mark.parametrize(
    "key", ["alexnet", "googlenet", "vgg16", "resnet50", "efficientnet-lite0", "vit"]
)
def test_a_preset_is_the_chain_of_the_network_itself(key):
    found = chains.chain_of(real(key))
    assert found is not None
    assert shapes(found) == shapes(preset(key).steps)


def test_resnet_as_published_is_that_of_the_library_with_its_steps_in_the_1x1():
    from transformers import ResNetConfig, ResNetModel

    with torch.device("meta"):
        model = ResNetModel(ResNetConfig(downsample_in_bottleneck=True))
    convs = [
        (m.kernel_size[0], m.stride[0], m.padding[0])
        for name, m in model.named_modules()
        if isinstance(m, nn.Conv2d) and "shortcut" not in name
    ]
    steps = preset("resnet50-2015").steps
    pool = model.embedder.pooler
    assert (pool.kernel_size, pool.stride, pool.padding) == (3, 2, 1)
    assert shapes(steps)[1] == (3, 2, 1, 1, "pool", False)
    mine = [(s.kernel, s.stride, s.padding) for s in steps if s.kind == "conv"]
    assert [c for c in convs if c[:2] != (1, 1)] == mine


@pytest.mark.parametrize(
    ("key", "size"), [("vgg16", 212), ("resnet50-2015", 483), ("alexnet", 195), ("lenet5", 32)]
)
def test_published_fields(key, size):
    """Araujo et al., "Computing Receptive Fields of Convolutional Neural Networks", Distill, 2019;
    for LeNet-5 LeCun et al., 1998: C5 sees all of the 32 x 32 pixels."""
    assert receptive_field.chain(key)[-1].size == size


def test_lenet_has_the_published_sizes():
    assert [one.units for one in receptive_field.chain("lenet5")] == [28, 14, 10, 5, 1]


@pytest.mark.parametrize("one", PRESETS, ids=lambda one: one.key)
def test_every_preset_can_be_computed(one):
    fields = receptive_field.chain(one.key)
    assert len(fields) == len(one.steps)
    assert fields[-1].units >= 1


def positive(steps: Any) -> nn.Sequential:
    """Layers whose weights are all positive, so that no gradient cancels."""
    made: list[nn.Module] = []
    for step in steps:
        if step.kind == "pool":
            made.append(nn.AvgPool2d(step.kernel, step.stride, step.padding))
            continue
        one = nn.Conv2d(
            1, 1, step.kernel, step.stride, step.padding, dilation=step.dilation, bias=False
        )
        nn.init.ones_(one.weight)
        made.append(one.double())
    return nn.Sequential(*made)


@pytest.mark.parametrize(
    "text",
    [
        "c3 c3 m2s2 c3",
        "c7s2 m3s2p1 c3d2 c3",
        "c5p0 m2s2 c5p0 m2s2",
        "c1s2 c3s2 c5d3",
        "c4s3p0 c2p0",
    ],
)
def test_the_arithmetic_is_what_gradients_reach(text):
    side, steps = 71, parsed(text)
    fields = receptive_field.chain(text, side)
    x = torch.ones(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    y = x
    for layer, field in zip(positive(steps), fields, strict=True):
        y = layer(y)
        assert y.shape[-1] == field.units
        for place in (0, y.shape[-1] // 2, y.shape[-1] - 1):
            (slope,) = torch.autograd.grad(y[0, 0, place, place], x, retain_graph=True)
            reached = torch.nonzero(slope[0, 0].sum(0)).flatten()
            x1, _, x2, _ = field.box(place, place, side)
            assert (int(reached[0]), int(reached[-1]) + 1) == (x1, x2)


def test_padding_of_tensorflow_and_of_incomplete_windows():
    same = nn.Sequential(timm.layers.Conv2dSame(1, 1, 3, 2), timm.layers.Conv2dSame(1, 1, 5, 2))
    for side in (32, 33):
        x = torch.ones(1, 1, side, side, requires_grad=True)
        y = same[1](same[0](x))
        field = receptive_field.chain("c3s2ps c5s2ps", side)[-1]
        assert field.units == y.shape[-1]
        (slope,) = torch.autograd.grad(y[0, 0, 4, 4], x)
        reached = torch.nonzero(slope[0, 0].abs().sum(0)).flatten()
        assert (int(reached[0]), int(reached[-1]) + 1) == field.box(4, 4, side)[::2]
    for side in range(5, 24):
        for kernel, padding in ((2, 0), (2, 1), (3, 0), (3, 1)):
            pool = nn.MaxPool2d(kernel, 2, padding, ceil_mode=True)
            step = Step("pool", kernel, 2, padding=padding, kind="pool", ceil=True)
            (field,) = chains.fields([step], side)
            assert field.units == pool(torch.zeros(1, 1, side, side)).shape[-1]


@pytest.mark.parametrize(
    ("text", "side", "said"),
    [
        ("c0", 224, "kernel of layer 1"),
        ("c3s0", 224, "stride of layer 1"),
        ("c3 m2s2 c9p0", 8, r"Layer 3 \(conv2\) needs 9 positions, but only 4"),
        ("c3", 0.5, "whole number"),
        ("c3", 10**6, "side"),
        ("c3 <b>7", 224, "is no layer"),
        ("resnet", 224, "no chain called resnet; choose one of lenet5"),
        ("", 224, "choose one of"),
        (" ".join(["c1"] * 201), 224, "at most 200"),
    ],
)
def test_what_is_no_chain_gets_a_sentence(text, side, said):
    with pytest.raises(InputError, match=said) as refused:
        receptive_field.chain(text, side)
    assert str(refused.value).endswith(".")


# --- measured ---


def small_resnet() -> Any:
    torch.manual_seed(0)
    model = timm.models.resnet.ResNet(
        timm.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=4, channels=(4, 4, 4, 4)
    )
    return model.eval().requires_grad_(False)


def small(kind: str) -> Any:
    torch.manual_seed(0)
    if kind == "resnet":
        return small_resnet()
    if kind == "vgg":
        cfg = [4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M"]
        model = timm.models.vgg.VGG(cfg, num_classes=4, mlp_ratio=0.001)
    elif kind == "lite":
        model = timm.create_model("tf_efficientnet_lite0", num_classes=4)
    else:
        model = timm.create_model("vit_tiny_patch16_224", depth=2, embed_dim=24, num_classes=4)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_any_unit_of_any_layer_can_be_measured(kind):
    """Alone it has the gradient that autograd gives for its own value."""
    model, x = small(kind), torch.randn(1, 3, 224, 224)
    _, _, every = receptive_field.gradients(model, x)
    listed, maps = layers.listed(model), {}
    given = x.clone().requires_grad_()
    with layers.watched(model, lambda n, found: maps.update({n: found.clone()})):
        model(given)
    assert [row[0] for row in every[0].tolist()] == sorted(maps)
    for number, rows, columns in every[0].tolist():
        unit = receptive_field.Unit(layer=listed[number].name, row=rows - 1, column=columns // 3)
        found, table, _ = receptive_field.gradients(model, x, unit=unit)
        assert table.tolist() == [[[number, rows - 1, columns // 3, rows, columns]]]
        value = maps[number][0, :, -1, columns // 3].sum()
        (slope,) = torch.autograd.grad(value, given, retain_graph=True)
        torch.testing.assert_close(found[0, 0], slope[0].abs().sum(0))


@pytest.mark.parametrize("kind", ["resnet", "vgg", "lite"])
def test_the_footprint_lies_in_the_field(kind):
    model, x = small(kind), torch.randn(2, 3, 160, 160)
    unit = receptive_field.Unit(across=0.3, down=0.6)
    found, table, _ = receptive_field.gradients(model, x, unit=unit)
    listed, steps = layers.listed(model), chains.chain_of(model)
    counts = receptive_field._counts(model, listed, steps)
    fields = chains.fields(steps, 160)
    assert found.shape[:2] == table.shape[:2]
    assert found.shape[1] >= 4
    for map_, (number, row, column, rows, columns) in zip(found[1], table[1].tolist(), strict=True):
        field = fields[counts[number] - 1]
        assert rows == columns == field.units
        x1, y1, x2, y2 = (round(v) for v in field.box(row, column, 160))
        assert map_.max() > 0, listed[number]
        outside = map_.clone()
        outside[y1:y2, x1:x2] = 0
        assert outside.max() == 0, listed[number]
    assert not any(m._forward_hooks for m in model.modules()), "no hook stays"
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())


def test_the_gradient_is_that_of_differences():
    """Against the change of the unit when a pixel changes, in the first convolution."""
    model, x = small("resnet").double(), torch.randn(1, 3, 64, 64)
    found, table, _ = receptive_field.gradients(model.float(), x)
    number, row, column, *_ = table[0, 0].tolist()
    name = layers.listed(model)[number].name
    assert name == "act1"

    def unit(picture: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return model.act1(model.bn1(model.conv1(picture)))[0, :, row, column].double().sum()

    for y, z in ((32, 33), (30, 31)):
        slopes = []
        for colour in range(3):
            near = x.clone()
            near[0, colour, y, z] += 1e-3
            slopes.append(float(unit(near) - unit(x)) / 1e-3)
        assert float(found[0, 0, y, z]) == pytest.approx(np.abs(slopes).sum(), rel=0.02, abs=1e-4)


def test_a_transformer_sees_all_after_one_block():
    model = small("vit")
    found, table, _ = receptive_field.gradients(model, torch.randn(1, 3, 224, 224))
    names = [layers.listed(model)[row[0]].name for row in table[0].tolist()]
    assert names == ["patch_embed", "blocks.0", "blocks.1"]
    patch = found[0, 0]
    assert patch[112:128, 112:128].min() > 0
    assert (patch > 0).sum() == 256
    assert (found[0, 1] > 0).float().mean() > 0.99
    assert [s.kind for s in chains.chain_of(model)] == ["conv", "attention", "attention"]


@pytest.mark.parametrize("one", PUBLISHED, ids=lambda one: one.key)
def test_the_chain_of_every_checkpoint_ends_where_its_maps_end(one):
    """The maps of each layer are as large as the arithmetic says, without any weight."""
    model, side = hollow(one)
    listed, steps = layers.listed(model), chains.chain_of(model)
    if steps is None:
        pytest.skip(f"the paths of {type(model).__name__} are not known, and the view says so")
    counts = receptive_field._counts(model, listed, steps)
    fields, sizes = chains.fields(steps, side), {}
    with torch.no_grad(), layers.watched(model, lambda n, maps: sizes.update({n: maps.shape[2]})):
        model(torch.empty(1, 3, side, side, device="meta"))
    assert len(sizes) >= 5
    for number, rows in sizes.items():
        assert fields[counts[number] - 1].units == rows, listed[number].name


def test_squeeze_and_excitation_is_told_and_unknown_paths_are_not_guessed():
    with torch.device("meta"):
        assert chains.looks_aside(timm.create_model("mobilenetv3_large_100"))
        assert not chains.looks_aside(timm.create_model("tf_efficientnet_lite0"))
        assert chains.chain_of(timm.create_model("densenet121")) is None
        assert chains.chain_of(timm.create_model("swin_tiny_patch4_window7_224")) is None


def test_measure_on_a_checkpoint(shelf, forwards, picture):
    from tests import nets

    shelf.starter("classify", *nets.vit(), name="vit")
    image = picture(64, 48)
    first = receptive_field.measure(image, "vit")
    assert len(forwards) == 1
    again = receptive_field.measure(image, "vit")
    assert len(forwards) == 1
    assert again.info.cache["output"] == "hit"
    assert first.side == 32
    assert all(one.weights.shape == (32, 32) and 0 < one.side <= 64 for one in first.layers)
    receptive_field.measure(image, "vit", across=0.1)
    assert len(forwards) == 2
    assert [one.grid for one in first.units] == [(8, 8)] * len(first.units)
    for number, one in enumerate(first.units, 3):
        for _ in range(2):
            (found,) = receptive_field.measure(image, "vit", layer=one.name, row=3, column=1).layers
            assert (found.name, found.row, found.column) == (one.name, 3, 1)
            assert len(forwards) == number
    for wrong, said in (
        ({"layer": "nose"}, "no layer called nose; the first is patch_embed"),
        ({"layer": first.units[0].name, "row": 8}, "8 rows and 8 columns"),
        ({"layer": first.units[0].name, "column": 0.5}, "whole number"),
    ):
        with pytest.raises(InputError, match=said):
            receptive_field.measure(image, "vit", **wrong)
    with pytest.raises(InputError, match="place down"):
        receptive_field.measure(image, "vit", down=1.5)
