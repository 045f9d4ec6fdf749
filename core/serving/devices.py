"""Where models run and in which precision; a GPU that failed is not used again."""

from __future__ import annotations

import torch

from core.cpu import allocator
from core.serving import precision as precisions
from core.settings import get_settings
from core.sources import resolver

_lost = False


def device() -> torch.device:
    """The device for models: the setting, else CUDA, else Apple's MPS, else the CPU."""
    wanted = "cpu" if _lost else get_settings().device
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


resolver.on_gpu = lambda: device().type == "cuda"


def precision() -> str:
    """The setting; "fp32" instead of "auto" if the device supports nothing else."""
    wanted = get_settings().precision
    return "fp32" if wanted == "auto" and not precisions.is_supported(device()) else wanted


def is_lost() -> bool:
    """Whether the GPU failed since the start."""
    return _lost


def set_lost(lost: bool) -> None:
    """Remember that the GPU failed; tests can clear this."""
    global _lost  # noqa: PLW0603
    _lost = lost


def empty_cache() -> None:
    """Return memory that the allocators of host and device keep for later tensors."""
    allocator.trim()
    if _lost:  # the driver would repeat its error
        return
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
