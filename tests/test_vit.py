"""The convolutional stem and the VisionTransformer behind it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.nets import vit

ARCH = {
    "image_size": 16,
    "stem_widths": [6, 8, 8],
    "stem_pooled": [True, True, False],
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
    "classes": 3,
}


def test_a_skipped_layer_adds_what_it_got():
    torch.manual_seed(0)
    stem = vit.ConvStem([4, 4], [False, False], [False, True]).eval()
    x = torch.randn(2, 3, 8, 8)
    *first, last = stem
    plain = nn.Sequential(*first)(x)
    assert torch.equal(stem(x), plain + nn.Sequential(*last)(plain))


def test_without_skips_the_names_in_a_file_are_those_of_before():
    names = list(vit.ConvStem([4, 8], [False, True]).state_dict())
    assert [n for n in names if n.endswith("weight")] == [
        "0.weight",
        "1.weight",
        "3.weight",
        "5.weight",
    ]


def test_a_skip_around_a_layer_that_changes_the_shape_is_refused():
    for widths, pooled in (([4, 8], [False, False]), ([4, 4], [False, True])):
        with pytest.raises(ValueError, match="layer 2"):
            vit.ConvStem(widths, pooled, [False, True])


def test_a_layer_scale_of_zero_leaves_what_the_stem_found():
    torch.manual_seed(0)
    model = vit.build({**ARCH, "layer_scale": 0.3}).eval()
    x = torch.randn(2, 3, 16, 16)
    for block in model.blocks:
        assert torch.equal(block.ls1.gamma, torch.full((16,), 0.3))
        nn.init.zeros_(block.ls1.gamma)
        nn.init.zeros_(block.ls2.gamma)
    tokens = model.norm_pre(model._pos_embed(model.patch_embed(x)))
    torch.testing.assert_close(model.blocks(tokens), tokens)
    assert "layer_scale" not in ARCH and isinstance(vit.build(ARCH).blocks[0].ls1, nn.Identity)
