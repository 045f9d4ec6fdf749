"""glibc's allocator, told to keep large blocks instead of mapping each of them anew.

By default every tensor above some megabytes is mapped from the kernel and unmapped when it is
freed, so that each layer of a large network pays for its page faults again; with SAM's encoder that
was a third to a half of the CPU time. Environment variables do not reach worker threads, `mallopt`
does. The price is that freed memory stays with the process until `trim`, which a server does when
nobody has asked it for some seconds, and now and then while many do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading
import time
from functools import lru_cache

IDLE = 15.0  # seconds without work after which memory goes back: a click after it pays page faults
AT_MOST = 45.0  # seconds that it waits for that
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


class Trimmer:
    """Trims `idle` seconds after the last `note`, and at most `at_most` seconds after the first."""

    def __init__(self, idle: float = IDLE, at_most: float = AT_MOST) -> None:
        self._idle, self._at_most = idle, at_most
        self._lock = threading.Lock()
        self._last = 0.0
        self._waits = False

    def note(self) -> None:
        """Work has been done that may have left memory free; returns at once."""
        self._last = time.monotonic()
        with self._lock:
            if self._waits:
                return
            self._waits = True
        try:
            threading.Thread(target=self._wait, name="trim", daemon=True).start()
        except RuntimeError:  # the system gives no more threads: with the next work, perhaps
            self._waits = False

    def _wait(self) -> None:
        end = time.monotonic() + self._at_most
        while (now := time.monotonic()) < min(end, self._last + self._idle):
            time.sleep(max(0.01, min(end, self._last + self._idle) - now))
        self._waits = False  # before the trim: what is noted meanwhile wants another
        trim()


@lru_cache(maxsize=1)
def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
