"""Hooks that hear only the pass of the thread that sets them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


def here(hook: Callable[..., Any]) -> Callable[..., Any]:
    """`hook` for the passes of this thread: on a CPU a step of somebody's long job may be running
    the same model meanwhile, and would be heard too."""
    mine = threading.get_ident()

    def only(*args: Any, **named: Any) -> Any:
        return hook(*args, **named) if threading.get_ident() == mine else None

    return only


@contextmanager
def heard(
    hooks: Iterable[tuple[nn.Module, Callable[..., Any]]], before: bool = False, named: bool = False
) -> Iterator[None]:
    """Call the hook of each module in the pass that this thread runs meanwhile; none stays behind.

    Args:
        before: with (module, inputs) before a module runs, instead of (module, inputs, output).
        named: with the arguments that have names too, after the inputs.
    """
    handles = [
        module.register_forward_pre_hook(here(hook), with_kwargs=named)
        if before
        else module.register_forward_hook(here(hook), with_kwargs=named)
        for module, hook in hooks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
