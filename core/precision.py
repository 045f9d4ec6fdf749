"""Whether a device computes in bfloat16 by itself; emulation is many times slower than fp32."""

from __future__ import annotations

from collections.abc import Mapping

import torch


def is_supported(where: torch.device) -> bool:
    """Whether the device computes in bf16 by itself; emulation does not count."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if where.type == "cpu":
        return _processor_has_bf16(torch.cpu.get_capabilities())
    return False  # on MPS nothing of it was measured


def _processor_has_bf16(capabilities: Mapping[str, object]) -> bool:
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
