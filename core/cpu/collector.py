"""Full garbage collections without the libraries, which stay for good.

PyTorch, transformers, timm and Gradio are half a million objects. Python walks over all of them in
each full collection while every thread waits: 0.36 s, once in 90 s of load from eight visitors.
What is frozen it leaves alone, and the same load met pauses of 8 to 16 ms. A server calls
`spare_libraries`; in a script, whose objects are its own, nothing changes.
"""

from __future__ import annotations

import gc
import sys
import threading

FEW = 50  # modules, whose objects are not worth a collection

_lock = threading.Lock()
_wanted = False
_frozen = 0  # modules that were there at the last time


def spare_libraries() -> None:
    """Let `settle` freeze what libraries are made of."""
    global _wanted  # noqa: PLW0603
    _wanted = True


def settle() -> bool:
    """Freeze what has been imported since the last time; whether that was much. After imports.

    Other objects of this moment are frozen with it. They still go when nothing refers to them; only
    cycles among them stay, at most once for each library that comes in.
    """
    global _frozen  # noqa: PLW0603
    if not _wanted:
        return False
    with _lock:
        if len(sys.modules) < _frozen + FEW:
            return False
        gc.collect()
        gc.freeze()
        _frozen = len(sys.modules)
        return True
