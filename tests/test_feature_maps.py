"""Feature maps are what plain forward hooks see; one pass; nothing stays behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F

from core.errors import InputError
from core.lessons import feature_maps
from core.nets import layers
from tests import nets

KINDS = ("resnet", "vgg", "efficientnet", "mobilenet", "vit", "swin")


def small(kind: str) -> Any:
    """A network of the kind that a checkpoint of the catalogue or of a user may have."""
    torch.manual_seed(0)
    if kind == "resnet":
        block = timm.models.resnet.Bottleneck
        model = timm.models.resnet.ResNet(block, [1, 2, 1, 1], 4, channels=(8, 8, 8, 20))
    elif kind == "vgg":
        cfg = [4, 4, "M", 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M", 4, 4, 4, "M"]
        model = timm.models.vgg.VGG(cfg, num_classes=4, mlp_ratio=0.001)
    elif kind == "swin":
        model = timm.create_model(
            "swin_tiny_patch4_window7_224", depths=(1, 1), embed_dim=12, num_heads=(2, 2),
            num_classes=4, img_size=112,
        )  # fmt: skip
    else:
        options: dict[str, Any] = {"num_classes": 4}
        if kind == "vit":
            options |= {"depth": 2, "embed_dim": 24, "reg_tokens": 2, "img_size": 112}
        names = {
            "efficientnet": "tf_efficientnet_lite0",
            "mobilenet": "mobilenetv3_small_050",
            "vit": "vit_tiny_patch16_224",
        }
        model = timm.create_model(names[kind], **options)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("kind", KINDS)
def test_maps_are_those_of_a_plain_hook(kind):
    model, x = small(kind), torch.randn(2, 3, 112, 112)
    with torch.inference_mode():
        table, *parts = feature_maps.record(model, x)
    assert not any(m._forward_hooks for m in model.modules()), "no hook stays"
    listed = layers.listed(model)
    assert len(table[0]) >= 3
    for place, (number, count, *size) in enumerate(table[1].tolist()):
        seen: list[torch.Tensor] = []
        module = model.get_submodule(listed[number].name)
        hook = module.register_forward_hook(lambda _, __, y, seen=seen: seen.append(y.clone()))
        with torch.inference_mode():
            model(x)
        hook.remove()
        theirs = seen[0]
        if theirs.ndim == 3:  # tokens: special ones first, then the patches row by row
            patches = theirs[:, -size[0] * size[1] :]
            theirs = patches.transpose(1, 2).unflatten(2, size)
        elif kind == "swin":
            theirs = theirs.permute(0, 3, 1, 2)
        assert theirs.shape[1:] == (count, *size)
        chosen, maps, silent = parts[3 * place : 3 * place + 3]
        expected = theirs[1][chosen[1]].numpy()
        if size[0] <= 56:
            np.testing.assert_array_equal(maps[1].numpy(), expected)
        else:
            pooled = F.adaptive_avg_pool2d(torch.from_numpy(expected), 56)
            np.testing.assert_allclose(maps[1].numpy(), pooled, atol=1e-6)
        spread = theirs[1].numpy().std(axis=(1, 2))
        np.testing.assert_allclose(spread[chosen[1]], np.sort(spread)[::-1][:64], atol=1e-5)
        assert float(silent[1]) == pytest.approx((spread == 0).mean(), abs=1e-3)


def test_layers_of_a_resnet_by_name():
    names = [one.name for one in layers.listed(small("resnet"))]
    assert names[:4] == ["act1", "maxpool", "layer1.0", "layer2.0"]
    assert [one.name for one in layers.listed(small("vit"))] == [
        "patch_embed", "blocks.0", "blocks.1",
    ]  # fmt: skip


def test_filters_are_the_weights_of_the_first_convolution():
    model = small("resnet")
    weights = layers.first_filters(model)
    assert weights is model.conv1.weight or torch.equal(weights, model.conv1.weight)
    assert layers.first_filters(small("vit")).shape == (24, 3, 16, 16)
    shown = feature_maps.as_pictures(np.array([[[[0.0, 0.5, -1.0]]]], np.float32))
    assert shown.tolist() == [[[[128, 191, 0]]]]


def test_one_pass_serves_every_layer(shelf, forwards, picture):
    model, config = nets.vit()
    shelf.starter("classify", model, config, name="vit")
    found = feature_maps.look(picture(64, 48), "vit")
    assert len(forwards) == 1
    again = feature_maps.look(picture(64, 48), "vit")
    assert len(forwards) == 1
    assert again.info.cache["output"] == "hit"
    assert found.filters.shape == (8, 3, 3, 3)
    assert found.layer().name == "blocks.1"
    assert found.layer("blocks.0") is found.layers[-2]
    with pytest.raises(InputError, match="no layer called nose; choose one of"):
        found.layer("nose")
    with pytest.raises(InputError, match="The layer must lie between"):
        found.layer(99)
