"""The faster layers of SAM's image encoder give the answers of segment_anything."""

from __future__ import annotations

import copy

import pytest
import torch
from segment_anything.modeling import ImageEncoderViT
from segment_anything.modeling.image_encoder import Attention, PatchEmbed
from torch import nn

from core.sam import attention, models
from core.sam.attention import OrderedPatchEmbed, TiledAttention
from core.serving import runtime
from tests import nets, sams


def encoder(side=128):
    """Windows of 3 places, which do not divide the grid, and a global layer."""
    torch.manual_seed(0)
    net = ImageEncoderViT(
        img_size=side,
        patch_size=4,
        embed_dim=32,
        depth=3,
        num_heads=2,
        out_chans=16,
        use_rel_pos=True,
        window_size=3,
        global_attn_indexes=(1,),
    ).eval()
    for name, tensor in net.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(tensor, std=0.5)  # zero in a new network, and then no test
    return net.requires_grad_(False)


@pytest.fixture(params=[2**20, 7000, 100], ids=["one tile", "some tiles", "a row at a time"])
def tile(request, monkeypatch):
    monkeypatch.setattr(attention, "TILE", request.param)


def test_the_encoder_answers_as_before(tile):
    net = encoder()
    x = torch.randn(2, 3, 128, 128)
    with torch.inference_mode():
        wanted = net(x)
        attention.speed_up(net)
        assert torch.allclose(net(x), wanted, atol=2e-5)
    kinds = [type(m) for m in net.modules()]
    assert Attention not in kinds
    assert PatchEmbed not in kinds


def test_in_bf16_it_is_as_near_to_fp32_as_before():
    net = encoder()
    x = torch.randn(1, 3, 128, 128)

    def error(wanted):
        with torch.autocast("cpu", torch.bfloat16):
            return (net(x).float() - wanted).square().mean().sqrt()

    with torch.inference_mode():
        wanted = net(x)
        before = error(wanted)
        attention.speed_up(net)
        assert error(wanted) < 1.3 * before


@pytest.mark.parametrize("size", [(5, 9), (17, 16), (20, 31)])
def test_grids_need_not_be_square(size, tile):
    torch.manual_seed(1)
    layer = Attention(32, num_heads=4, use_rel_pos=True, input_size=size).requires_grad_(False)
    nn.init.normal_(layer.rel_pos_h)
    nn.init.normal_(layer.rel_pos_w)
    fast = copy.deepcopy(layer)
    fast.__class__ = TiledAttention
    x = torch.randn(2, *size, 32)
    with torch.inference_mode():
        assert torch.allclose(fast(x), layer(x), atol=2e-5)


def test_layers_without_relative_positions_stay_as_they_were():
    layer = Attention(32, num_heads=4, use_rel_pos=False).requires_grad_(False)
    fast = copy.deepcopy(layer)
    fast.__class__ = TiledAttention
    x = torch.randn(1, 6, 6, 32)
    assert torch.equal(fast(x), layer(x))


def test_the_hub_s_sam_has_it(shelf, monkeypatch):
    sams.register(shelf, monkeypatch, nets.sam())
    with runtime.run("segment", "auto", models.build) as run:
        kinds = {type(layer) for layer in run.lease.built.module.modules()}
    assert {TiledAttention, OrderedPatchEmbed} <= kinds
    assert not {Attention, PatchEmbed} & kinds
