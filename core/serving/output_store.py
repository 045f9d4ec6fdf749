"""Store outputs of forward passes (logits, embeddings), so that a second click runs no model."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cachetools import LRUCache

T = TypeVar("T")
MB = 1_000_000


class OutputStore:
    """Values bounded in bytes, evicted least recently used; one computation per key at a time.

    Keys include the SHA-256 of the pixels, so only somebody with the picture can find its values.
    Do not write into values from here.
    """

    def __init__(self, budget: int) -> None:
        self.hits = 0
        self.misses = 0
        self._cache: LRUCache[Hashable, Any] = LRUCache(budget, getsizeof=value_bytes)
        self._lock = threading.Lock()
        self._key_locks: dict[Hashable, tuple[threading.Lock, int]] = {}

    def get_or_compute(self, key: Hashable, compute: Callable[[], T]) -> tuple[T, bool]:
        """(value, hit). A value larger than the whole store is returned but not stored."""
        with self._sole(key):
            with self._lock:
                if key in self._cache:
                    self.hits += 1
                    return self._cache[key], True
            value = compute()
            with self._lock:
                self.misses += 1
                if value_bytes(value) <= self._cache.maxsize:
                    self._cache[key] = value
            return value, False

    def find(self, key: Hashable) -> Any | None:
        """The value of a key, or None; for those who compute it in steps and `keep` it."""
        with self._lock:
            return self._cache.get(key)

    def keep(self, key: Hashable, value: Any) -> None:
        """Store a value; one that is larger than the whole store is not kept."""
        with self._lock:
            if value_bytes(value) <= self._cache.maxsize:
                self._cache[key] = value

    @contextmanager
    def _sole(self, key: Hashable) -> Iterator[None]:
        """Hold the lock of `key`, which is dropped when the last thread leaves it."""
        with self._lock:
            lock, waiting = self._key_locks.get(key, (threading.Lock(), 0))
            self._key_locks[key] = (lock, waiting + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._key_locks.pop(key)
                if waiting > 1:
                    self._key_locks[key] = (lock, waiting - 1)

    def clear(self) -> None:
        """Drop every value."""
        with self._lock:
            self._cache.clear()

    def stats(self) -> dict[str, object]:
        """Values, megabytes, hits and misses as plain JSON values."""
        with self._lock:
            return {
                "values": len(self._cache),
                "used_mb": round(self._cache.currsize / MB, 1),
                "budget_mb": round(self._cache.maxsize / MB),
                "hits": self.hits,
                "misses": self.misses,
            }


def value_bytes(value: Any) -> int:
    """Bytes of an array, tensor or other value with `nbytes`, or of a tuple of them."""
    if isinstance(value, tuple):
        return sum(value_bytes(item) for item in value)
    return int(getattr(value, "nbytes", 64))
