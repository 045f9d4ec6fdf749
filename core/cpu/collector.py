"""Keep the garbage collector from walking over imported libraries.

PyTorch, transformers, timm and Gradio hold half a million objects. A full collection walks over all
of them while every thread waits: 0.36 s, once in 90 s of load from eight visitors. With the
libraries frozen, the same load met pauses of 8 to 16 ms. Collections while they are imported find
next to nothing and take a quarter of the time, so they wait until that is over. Servers call
`spare_libraries`; scripts do not, so nothing changes there.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

FEW = 50  # new modules that are not worth a collection

_lock = threading.Lock()
_wanted = False
_frozen = 0  # number of modules at the last freeze
_paused = 0


@contextmanager
def paused() -> Iterator[None]:
    """No automatic collections meanwhile, in no thread; for imports and for building a page."""
    global _paused  # noqa: PLW0603
    with _lock:
        _paused += 1
        gc.disable()
    try:
        yield
    finally:
        with _lock:
            _paused -= 1
            if not _paused:
                gc.enable()


def spare_libraries() -> None:
    """Let `freeze_libraries` freeze the objects of imported libraries."""
    global _wanted  # noqa: PLW0603
    _wanted = True


def freeze_libraries(collect: bool = True) -> bool:
    """Freeze what was imported since the last call; returns whether that was much.

    Call it after imports. All other objects alive at this moment are frozen too: they are still
    freed when nothing refers to them, except for cycles among them, at most once per library.
    Without `collect` that takes no time, and cycles that nothing refers to are frozen as well,
    until `collect_frozen`.
    """
    global _frozen  # noqa: PLW0603
    if not _wanted:
        return False
    with _lock:
        if len(sys.modules) < _frozen + FEW:
            return False
        if collect:
            gc.collect()
        gc.freeze()
        _frozen = len(sys.modules)
        return True


def collect_frozen() -> None:
    """Collect the garbage among what is frozen, which takes half a second; for an idle moment."""
    if not _wanted:
        return
    with _lock:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
