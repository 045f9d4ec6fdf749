"""How long a pass takes, kept with what it gives, since later requests only read that."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Tensors = tuple[torch.Tensor, ...]


def timed(compute: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """`compute` on tensors (B, …), with one tensor (B, 1) more: the seconds for one picture."""

    def measured(*batch: torch.Tensor) -> Tensors:
        begin = time.perf_counter()
        out = compute(*batch)
        if out[0].is_cuda:
            torch.cuda.synchronize(out[0].device)
        spent = (time.perf_counter() - begin) / len(out[0])
        return (*out, torch.full((len(out[0]), 1), spent))

    return measured
