"""Linear layers of fp32 networks by oneDNN on AMD processors with AVX-512.

PyTorch multiplies fp32 matrices with Intel's MKL, which does not use the widest instructions of
other vendors' processors; oneDNN, which PyTorch also ships, does. On an EPYC with AVX-512, ViT-B/16
and ViT-MAE became 18 % faster; on one without it oneDNN was slower. In bf16 PyTorch uses oneDNN
anyway. Sums are in another order, so results differ in the seventh digit. The operator is the one
that PyTorch's own compiler calls.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from core.cpu.own_ways import OwnWay

LARGE = 2**18  # weights; for smaller layers the call costs what it saves (25 us)
_CPU_INFO = Path("/proc/cpuinfo")


class OneDnnLinear(nn.Linear):
    """(..., in) -> (..., out) as `nn.Linear`; by oneDNN on a processor, in fp32, for inference."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        fit = input.device.type == "cpu" and input.dtype == torch.float32 == self.weight.dtype
        usual = not fit or torch.is_autocast_enabled("cpu") or torch.is_grad_enabled()
        if usual or not input.numel():
            return super().forward(input)
        return ONE_DNN.run(lambda: _by_onednn(self, input), lambda: nn.Linear.forward(self, input))


def _by_onednn(layer: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")


def _trial() -> bool:
    weight = torch.linspace(-1, 1, 48 * 32).sin().view(32, 48)
    layer = nn.Linear(48, 32, device="meta").requires_grad_(False)
    layer.weight, layer.bias = (
        nn.Parameter(weight, False),
        nn.Parameter(weight[0, :32].clone(), False),
    )
    x = torch.linspace(-1, 1, 2 * 5 * 48).view(2, 5, 48)
    with torch.inference_mode(), torch.autocast("cpu", enabled=False):
        return torch.allclose(_by_onednn(layer, x), layer(x), atol=1e-5)


ONE_DNN = OwnWay("oneDNN for linear layers", _trial)


def speed_up(module: nn.Module) -> None:
    """Compute the large plain linear layers of a network on the CPU with oneDNN.

    Does nothing where that is not known to be faster. Parameters are not changed or moved.
    """
    if not is_faster():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= LARGE:
            layer.__class__ = OneDnnLinear


def is_faster() -> bool:
    """Whether this is an AMD processor with AVX-512 on Linux and oneDNN's result is right there."""
    try:
        said = _CPU_INFO.read_text()
    except OSError:  # not Linux
        return False
    return "AuthenticAMD" in said and " avx512f" in said and ONE_DNN.works()
