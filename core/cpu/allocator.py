"""Make glibc's allocator keep large blocks instead of mapping each one again.

By default every tensor above a few megabytes is mapped from the kernel and unmapped when freed, so
each layer of a large network pays for its page faults again: a third to a half of the CPU time of
SAM's encoder. Environment variables do not reach worker threads; `mallopt` does. The cost is that
freed memory stays with the process until `trim`. A server trims after some idle seconds, and at
intervals under steady load.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import threading
import time
from functools import lru_cache

IDLE = 15.0  # idle seconds before memory is returned; the next click pays page faults
AT_MOST = 45.0  # longest wait for an idle moment, in seconds
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # of <malloc.h>
# If one of these is set, the user has already chosen an allocator or its settings.
_CHOSEN = ("LD_PRELOAD", "GLIBC_TUNABLES", "MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_")


def tune() -> bool:
    """Keep large blocks from now on. Call this before PyTorch is imported.

    Returns:
        Whether it took effect: not without glibc, nor if the environment sets other options.
    """
    libc = _glibc()
    if libc is None or any(os.environ.get(name) for name in _CHOSEN):
        return False
    # No per-block mapping, no trimming at the top of the heap, and a single heap for all threads:
    # per-thread heaps are too small for large tensors, which would be mapped again.
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_ARENA_MAX, 1))
    try:
        return all(libc.mallopt(name, value) for name, value in settings)
    except (AttributeError, RuntimeError):  # a C library that claims to be glibc
        return False


def trim() -> None:
    """Return free memory to the system, for example after a model was loaded or evicted."""
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
        """Record that work may have left memory free; returns at once."""
        self._last = time.monotonic()
        with self._lock:
            if self._waits:
                return
            self._waits = True
        try:
            threading.Thread(target=self._wait, name="trim", daemon=True).start()
        except RuntimeError:  # out of threads; try after the next request
            self._waits = False

    def _wait(self) -> None:
        end = time.monotonic() + self._at_most
        while (now := time.monotonic()) < min(end, self._last + self._idle):
            time.sleep(max(0.01, min(end, self._last + self._idle) - now))
        self._waits = False  # cleared first: a note during the trim schedules another
        trim()


@lru_cache(maxsize=1)
def _glibc() -> ctypes.CDLL | None:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return None
    try:
        return ctypes.CDLL(None)
    except OSError:
        return None
