"""Hooks that hear only the pass of the thread that sets them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def here(hook: Callable[..., Any]) -> Callable[..., Any]:
    """`hook` for the passes of this thread: on a CPU a step of somebody's long job may be running
    the same model meanwhile, and would be heard too."""
    mine = threading.get_ident()

    def only(*args: Any, **named: Any) -> Any:
        return hook(*args, **named) if threading.get_ident() == mine else None

    return only
