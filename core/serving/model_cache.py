"""The models in memory: bounded in bytes, leased while in use, evicted only when idle.

Eviction follows GreedyDual-Size (Cao and Irani, "Cost-aware WWW proxy caching algorithms", 1997):
the first to go is the model that reloads in the fewest seconds per byte, unless recently used.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from core.errors import InputError, OutOfMemory
from core.sources import state_dicts
from core.sources.resolver import Resolved

MB = 1_000_000
# Faster loads count as this long: smaller differences are noise.
MIN_RELOAD = 0.05


E = TypeVar("E")


@dataclass(frozen=True)  # slots and Generic do not go together before Python 3.11
class Built(Generic[E]):
    """What a task's builder returns: the module, and its labels, transform and so on as a type of
    that task."""

    module: torch.nn.Module
    extra: E


Builder = Callable[[Resolved], Built[E]]


@dataclass(slots=True, eq=False)
class _Entry:
    built: Built[Any]
    resolved: Resolved
    nbytes: int
    reload: float  # seconds the load took
    credit: float = 0.0  # the lowest is evicted first
    users: int = 0
    pinned: bool = False

    @property
    def free(self) -> bool:
        """Whether it may be evicted."""
        return not (self.users or self.pinned)


@dataclass(frozen=True)
class Lease(Generic[E]):
    """A model that stays in memory until the `with` block ends."""

    built: Built[E]
    resolved: Resolved
    hit: bool


@dataclass(slots=True)
class Meter:
    """Counts since start; `load_seconds` is the sum over all loads."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    load_seconds: float = 0.0


class ModelCache:
    """Models in memory, bounded in bytes; those that reload quickly are evicted first.

    Each key is loaded once however many threads ask; leased or pinned models are never evicted. A
    request that finds no room waits for a lease to end.

    Args:
        budget: bytes for all models together.
        wait_seconds: how long a request waits for room.
    """

    def __init__(self, budget: int, wait_seconds: float = 120.0) -> None:
        self.budget = budget
        self.meter = Meter()
        self._wait_seconds = wait_seconds
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._reserved = 0
        self._age = 0.0  # credit of the last evicted model
        self._changed = threading.Condition()
        self._key_locks: dict[Hashable, threading.Lock] = {}

    @contextmanager
    def lease(self, key: Hashable, resolved: Resolved, build: Builder[E]) -> Iterator[Lease[E]]:
        """Hold the model of `key`, loading it first if necessary.

        Raises:
            OutOfMemory: it is larger than the budget, or no room became free in time.
        """
        entry, hit = self._acquire(key, resolved, build)
        try:
            yield Lease(entry.built, entry.resolved, hit)
        finally:
            with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    def _acquire(
        self, key: Hashable, resolved: Resolved, build: Builder[Any]
    ) -> tuple[_Entry, bool]:
        with self._changed:
            key_lock = self._key_locks.setdefault(key, threading.Lock())
        with key_lock:
            if entry := self._take(key):
                return entry, True
            return self._load(key, resolved, build), False

    def _take(self, key: Hashable) -> _Entry | None:
        with self._changed:
            entry = self._entries.get(key)
            if entry is not None:
                entry.users += 1
                self.meter.hits += 1
                self._renew(key)
            return entry

    def _load(self, key: Hashable, resolved: Resolved, build: Builder[Any]) -> _Entry:
        """Make room for the model's estimated size, build it, and correct the estimate."""
        reserved = 0
        try:
            reserved += self._reserve(_estimate(resolved), 0, resolved)
            started = time.perf_counter()
            built = build(resolved)
            seconds = time.perf_counter() - started
            nbytes = module_bytes(built.module)
            reserved += self._reserve(nbytes - reserved, reserved, resolved)
            entry = _Entry(built, resolved, nbytes, seconds, users=1)
            with self._changed:
                # In one step: counted as both reserved and loaded, its bytes would count twice.
                self._reserved -= reserved
                reserved = 0
                self._entries[key] = entry
                self._renew(key)
                self.meter.misses += 1
                self.meter.load_seconds += seconds
            return entry
        finally:
            with self._changed:
                self._reserved -= reserved
                self._changed.notify_all()

    def _reserve(self, nbytes: int, already: int, resolved: Resolved) -> int:
        """Reserve `nbytes` more (nothing if not positive); return how many that are."""
        if nbytes <= 0:
            return 0
        deadline = time.monotonic() + self._wait_seconds
        name = resolved.checkpoint.title or resolved.checkpoint.key
        with self._changed:
            if nbytes + already > self.budget:
                raise OutOfMemory(
                    f"{name} needs about {(nbytes + already) / MB:.0f} MB and the memory for "
                    f"models is {self.budget / MB:.0f} MB; choose a smaller checkpoint."
                )
            while not self._evict_idle(nbytes):
                pinned = sum(e.nbytes for e in self._entries.values() if e.pinned)
                if nbytes + already > self.budget - pinned:
                    raise OutOfMemory(
                        f"Pinned models leave {(self.budget - pinned) / MB:.0f} MB, too little for "
                        f"{name}; choose a smaller checkpoint."
                    )
                if not self._changed.wait(deadline - time.monotonic()):
                    raise OutOfMemory(
                        f"There is no room for {name} while other models are in use; "
                        "try again in a minute."
                    )
            self._reserved += nbytes
            return nbytes

    def _evict_idle(self, need: int) -> bool:
        """Free `need` bytes if idle models hold that much, else evict none. Locked."""
        idle = [key for key, entry in self._entries.items() if entry.free]
        if self.used + need > self.budget + sum(self._entries[key].nbytes for key in idle):
            return False
        # The sort is stable, so among equals the least recently used goes first.
        for key in sorted(idle, key=lambda key: self._entries[key].credit):
            if self.used + need <= self.budget:
                break
            self._age = max(self._age, self._entries[key].credit)
            self._evict(key)
        return True

    def _renew(self, key: Hashable) -> None:
        """Restore a model's full credit after a use. Locked."""
        entry = self._entries[key]
        entry.credit = self._age + max(entry.reload, MIN_RELOAD) / max(entry.nbytes, 1)
        self._entries.move_to_end(key)

    def _evict(self, key: Hashable) -> None:
        del self._entries[key]
        self.meter.evictions += 1

    def pin(self, checkpoint: str, pinned: bool = True) -> None:
        """Pin a loaded model, by its checkpoint's key, so that it is not evicted; or unpin it.

        Raises:
            InputError: it is not in memory, or pinned models would take over half of the budget.
        """
        with self._changed:
            entries = self._named(checkpoint)
            others = sum(e.nbytes for e in self._entries.values() if e.pinned)
            more = sum(e.nbytes for e in entries if not e.pinned)
            if pinned and others + more > self.budget / 2:
                raise InputError(
                    f"Pinned models may take half of the memory, {self.budget / 2 / MB:.0f} MB; "
                    "unpin another first."
                )
            for entry in entries:
                entry.pinned = pinned
            self._changed.notify_all()

    def unload(self, checkpoint: str) -> int:
        """Drop a model, pinned or not, by its checkpoint's key; return the bytes freed.

        Raises:
            InputError: it is not in memory, or is in use.
        """
        with self._changed:
            entries = self._named(checkpoint)
            if any(entry.users for entry in entries):
                raise InputError(f"{checkpoint} is in use; try again in a moment.")
            for key in [key for key, entry in self._entries.items() if entry in entries]:
                self._evict(key)
            self._changed.notify_all()
            return sum(entry.nbytes for entry in entries)

    def _named(self, checkpoint: str) -> list[_Entry]:
        found = [e for e in self._entries.values() if e.resolved.checkpoint.key == checkpoint]
        if not found:
            raise InputError(f"{checkpoint} is not in memory.")
        return found

    @property
    def used(self) -> int:
        """Bytes of loaded models and of those being loaded."""
        with self._changed:
            return self._reserved + sum(entry.nbytes for entry in self._entries.values())

    def drop_idle(self) -> int:
        """Evict every model that is neither in use nor pinned; return the bytes freed."""
        with self._changed:
            before = self.used
            for key in [k for k, entry in self._entries.items() if entry.free]:
                self._evict(key)
            self._changed.notify_all()
            return before - self.used

    def stats(self) -> dict[str, object]:
        """The state as plain JSON values; most recently used models last."""
        with self._changed:
            models = [
                {
                    "checkpoint": e.resolved.checkpoint.key,
                    "tier": e.resolved.tier,
                    "mb": round(e.nbytes / MB, 1),
                    "in_use": e.users,
                    "pinned": e.pinned,
                    "load_seconds": round(e.reload, 3),
                }
                for e in self._entries.values()
            ]
            return {
                "models": models,
                "used_mb": round(self.used / MB, 1),
                "budget_mb": round(self.budget / MB),
                "hits": self.meter.hits,
                "misses": self.meter.misses,
                "evictions": self.meter.evictions,
                "load_seconds": round(self.meter.load_seconds, 3),
            }


def module_bytes(module: torch.nn.Module) -> int:
    """Bytes of all parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(t.numel() * t.element_size() for t in tensors)


def _estimate(resolved: Resolved) -> int:
    """Bytes that a model will take with its floats as float32, before it is read."""
    if resolved.path.suffix == ".safetensors":
        return state_dicts.float32_bytes(resolved.path)
    if resolved.checkpoint.params_m:
        return int(resolved.checkpoint.params_m * 4e6)
    return resolved.path.stat().st_size
