"""Linear layers through oneDNN answer as PyTorch's own, in every precision and shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.cpu import linear
from core.cpu.linear import OneDnnLinear

needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN"
)


@pytest.fixture
def everywhere(monkeypatch):
    """As on a processor where it is faster, for layers of any size."""
    monkeypatch.setattr(linear, "is_faster", lambda: True)
    monkeypatch.setattr(linear, "LARGE", 0)


def pair(bias=True):
    torch.manual_seed(0)
    usual = nn.Linear(48, 32, bias).requires_grad_(False)
    fast = OneDnnLinear(48, 32, bias)
    fast.load_state_dict(usual.state_dict())
    return usual, fast


@needs_onednn
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "x",
    [
        torch.randn(48),
        torch.randn(7, 48),
        torch.randn(2, 3, 5, 48),
        torch.randn(2, 48, 3, 5).permute(0, 2, 3, 1),
        torch.randn(2, 14, 96)[:, ::2, ::2],
        torch.randn(0, 48),
    ],
    ids=["one", "rows", "grid", "channels first", "strided", "none"],
)
def test_it_answers_as_pytorch_s_own(x, bias):
    usual, fast = pair(bias)
    with torch.inference_mode():
        assert torch.allclose(fast(x), usual(x), atol=1e-5)
        assert fast(x).shape == usual(x).shape


@needs_onednn
def test_it_answers_in_bf16_where_pytorch_does():
    usual, fast = pair()
    x = torch.randn(2, 9, 48)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        wanted, found = usual(x), fast(x)
    assert found.dtype == wanted.dtype == torch.bfloat16
    assert torch.allclose(found.float(), wanted.float(), atol=0.02)


@needs_onednn
def test_gradients_still_flow():
    _, fast = pair()
    x = torch.randn(3, 48, requires_grad=True)
    fast(x).sum().backward()
    assert torch.allclose(x.grad, fast.weight.sum(0).expand(3, -1), atol=1e-5)


class Odd(nn.Linear):
    """Somebody else's layer, whose forward is its own."""


def test_only_plain_layers_change_and_keep_their_weights(everywhere):
    net = nn.Sequential(nn.Linear(4, 4), Odd(4, 4), nn.Conv2d(1, 1, 1))
    weights = {name: tensor.data_ptr() for name, tensor in net.state_dict().items()}
    linear.speed_up(net)
    assert [type(layer) for layer in net] == [OneDnnLinear, Odd, nn.Conv2d]
    assert {name: tensor.data_ptr() for name, tensor in net.state_dict().items()} == weights


def test_small_layers_stay_as_they_are(everywhere, monkeypatch):
    monkeypatch.setattr(linear, "LARGE", 512 * 512)
    net = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 511))
    linear.speed_up(net)
    assert [type(layer) for layer in net] == [OneDnnLinear, nn.Linear]


@pytest.mark.parametrize(
    ("said", "faster"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: sse avx512f\n", True),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: sse avx2\n", False),
        ("vendor_id\t: GenuineIntel\nflags\t\t: sse avx512f\n", False),
        (None, False),
    ],
    ids=["AMD with AVX-512", "AMD without", "Intel", "not Linux"],
)
def test_it_is_for_amd_s_processors_with_wide_instructions(said, faster, tmp_path, monkeypatch):
    info = tmp_path / "cpuinfo"
    if said:
        info.write_text(said)
    monkeypatch.setattr(linear, "_CPU_INFO", info)
    assert linear.is_faster() is (faster and torch.backends.mkldnn.is_available())


@needs_onednn
def test_the_hub_s_networks_have_it(everywhere):
    from core import classify
    from core.serving import runtime, stores

    stores.reset()
    try:
        with runtime.run("classify", "classify-starter", classify._build) as run:
            kinds = {type(layer) for layer in run.lease.built.module.modules()}
    finally:
        stores.reset()
    assert OneDnnLinear in kinds
    assert nn.Linear not in kinds
