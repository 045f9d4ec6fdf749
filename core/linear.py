"""Linear layers of fp32 networks by oneDNN on AMD processors, where PyTorch's way is slower.

PyTorch multiplies matrices in fp32 through Intel's MKL, which leaves the widest instructions of
other makers' processors unused; oneDNN, which PyTorch carries too, uses them.
On an EPYC with AVX-512 ViT-B/16 and ViT-MAE so became 18 % faster. Sums are in another order, so
answers differ in the seventh digit. The operator is the one that PyTorch's own compiler calls.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import nn

LARGE = 2**18  # weights; in smaller layers the call costs as much as it gains (25 us each)
_CPU_INFO = Path("/proc/cpuinfo")


class OneDnnLinear(nn.Linear):
    """(..., in) -> (..., out) as `nn.Linear`; by oneDNN on a processor and without gradients."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        kind = torch.float32
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
        usual = kind not in (torch.float32, torch.bfloat16) or input.device.type != "cpu"
        if usual or torch.is_grad_enabled() or not input.numel():
            return super().forward(input)
        weight, bias = self.weight.to(kind), None if self.bias is None else self.bias.to(kind)
        return torch.ops.mkldnn._linear_pointwise(input.to(kind), weight, bias, "none", [], "")


def speed_up(module: nn.Module) -> None:
    """Let the large plain linear layers of a network on a processor be computed by oneDNN.

    Does nothing where that is not known to be faster. Parameters stay as and where they are.
    """
    if not is_faster():
        return
    for layer in module.modules():
        if type(layer) is nn.Linear and layer.weight.numel() >= LARGE:
            layer.__class__ = OneDnnLinear


@lru_cache(maxsize=1)
def is_faster() -> bool:
    """Whether this is an AMD processor on Linux, and PyTorch's oneDNN answers as it should."""
    try:
        if "AuthenticAMD" not in _CPU_INFO.read_text():
            return False
        layer = OneDnnLinear(48, 32)
        x = torch.linspace(-1, 1, 2 * 5 * 48).view(2, 5, 48)
        with torch.inference_mode():
            return torch.allclose(layer(x), nn.Linear.forward(layer, x), atol=1e-5)
    except (OSError, AttributeError, RuntimeError):
        return False  # not Linux, or a PyTorch without it
