"""Which device models run on, in which precision, and a GPU that failed and is not asked again."""

from __future__ import annotations

import torch

from core.cpu import allocator
from core.serving import precision as precisions
from core.settings import get_settings
from core.sources import resolver

_lost = False


def device() -> torch.device:
    """The device that models run on: the setting, else CUDA, else Apple's MPS, else the CPU."""
    wanted = "cpu" if _lost else get_settings().device
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


resolver.on_gpu = lambda: device().type == "cuda"


def precision() -> str:
    """The setting; "fp32" instead of "auto" where the device has nothing else to choose from."""
    wanted = get_settings().precision
    return "fp32" if wanted == "auto" and not precisions.is_supported(device()) else wanted


def is_lost() -> bool:
    """Whether the GPU failed since the start."""
    return _lost


def set_lost(lost: bool) -> None:
    """Remember that the GPU failed, or for tests forget it."""
    global _lost  # noqa: PLW0603
    _lost = lost


def empty_cache() -> None:
    """Give back what the allocators of host and device keep for the next tensors."""
    allocator.trim()
    if _lost:  # the driver would only repeat its error
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
