"""What a PyTorch error means for the device: out of memory, or a GPU that is lost."""

from __future__ import annotations

import torch

# What PyTorch raises when a kernel has failed; older versions raise a plain RuntimeError.
_ACCELERATOR_ERRORS = (torch.AcceleratorError,) if hasattr(torch, "AcceleratorError") else ()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that RAM or GPU memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "not enough memory" in text


def is_device_lost(error: BaseException) -> bool:
    """Whether an error means that the GPU no longer answers, as after a device-side assert."""
    text = str(error).lower()
    failed = isinstance(error, _ACCELERATOR_ERRORS) or "cuda error" in text
    return failed and not is_out_of_memory(error)
