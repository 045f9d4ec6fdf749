"""What a network costs: parameters, and multiply-adds of one pass, counted without computing it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from core.nets.whole import Joined

_counted: WeakKeyDictionary[nn.Module, dict[Any, Cost]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Cost:
    """`params`, and `macs`: multiply-adds of convolutions and matrix products for one picture."""

    params: int
    macs: int


def count(model: nn.Module, shapes: Sequence[Sequence[int]]) -> Cost:
    """The cost of a network for inputs of these shapes, such as (1, 3, 224, 224).

    A copy of the network without numbers (PyTorch's meta device) is run, so that nothing is
    computed and no weight copied. PyTorch counts two operations for each multiply-add. Counted once
    for each network in memory.
    """
    owner = model.head if isinstance(model, Joined) else model
    known, key = _counted.setdefault(owner, {}), tuple(tuple(shape) for shape in shapes)
    if key not in known:
        known[key] = _count(model, shapes)
    return known[key]


def _count(model: nn.Module, shapes: Sequence[Sequence[int]]) -> Cost:
    numbers = [*model.parameters(), *model.buffers()]
    memo = {id(x): _emptied(x) for x in numbers}
    hollow = copy.deepcopy(model, memo)
    with torch.inference_mode(False), torch.no_grad(), FlopCounterMode(display=False) as counter:
        hollow(*(torch.empty(*shape, device="meta") for shape in shapes))
    own = {id(p): p.numel() for p in model.parameters()}
    if isinstance(model, Joined):  # both have the same class layer
        for p in model.trunk.get_submodule("classifier").parameters():
            own.pop(id(p))
    return Cost(sum(own.values()), counter.get_total_flops() // 2)


def _emptied(x: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(x, device="meta")
    return nn.Parameter(empty, x.requires_grad) if isinstance(x, nn.Parameter) else empty
