"""Freeze imported libraries so that full garbage collections skip them.

PyTorch, transformers, timm and Gradio hold half a million objects. A full collection walks over all
of them while every thread waits: 0.36 s, once in 90 s of load from eight visitors. With the
libraries frozen, the same load met pauses of 8 to 16 ms. Servers call `spare_libraries`; scripts do
not, so nothing changes there.
"""

from __future__ import annotations

import gc
import sys
import threading

FEW = 50  # new modules that are not worth a collection

_lock = threading.Lock()
_wanted = False
_frozen = 0  # number of modules at the last freeze


def spare_libraries() -> None:
    """Let `freeze_libraries` freeze the objects of imported libraries."""
    global _wanted  # noqa: PLW0603
    _wanted = True


def freeze_libraries() -> bool:
    """Freeze what was imported since the last call; returns whether that was much.

    Call it after imports. All other objects alive at this moment are frozen too: they are still
    freed when nothing refers to them, except for cycles among them, at most once per library.
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
