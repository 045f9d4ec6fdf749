"""glibc's allocator, told to keep large blocks instead of mapping each of them anew.

By default every tensor above some megabytes is mapped from the kernel and unmapped when it is
freed, so that each layer of a large network pays for its page faults again; with SAM's encoder that
was a third to a half of the CPU time. Environment variables do not reach worker threads, `mallopt`
does. The price is that freed memory stays with the process until `trim`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from functools import lru_cache

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of <malloc.h>
# Whoever set one of these has chosen an allocator, or its settings, already.
_CHOSEN = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_")


def tune() -> bool:
    """Keep large blocks from now on; call before PyTorch is imported.

    Returns:
        Whether it was done: not without glibc, nor where the environment names other settings.
    """
    libc = _glibc()
    if libc is None or any(os.environ.get(name) for name in _CHOSEN):
        return False
    # No mapping by block, no giving back at the top of the heap, and one heap for all threads:
    # those of threads are too small for large tensors, which would be mapped again.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    try:
        return all(libc.mallopt(name, value) for name, value in settings)
    except (AttributeError, RuntimeError):  # a C library that only calls itself glibc
        return False


def trim() -> None:
    """Give memory that is free back to the system, as after a model was evicted or loaded."""
    libc = _glibc()
    if libc is not None:
        with contextlib.suppress(AttributeError):
            libc.malloc_trim(0)


@lru_cache(maxsize=1)
def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
