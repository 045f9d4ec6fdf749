"""Turns on the device: one holder at a time, in order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.cpu.compute_threads import ComputeThread

T = TypeVar("T")

COURTESY = 4  # short passes that may overtake one waiting step of a long job


class DeviceQueue:
    """A fair lock. `threading.Lock` is not fair: a thread that releases it and asks again at once
    usually gets it again, so a job of a hundred tiles would block everybody.

    A step of a long job (a tile, a batch of points) lets short passes go first, but at most
    `COURTESY` of them in a row, so that the job finishes too. A thread that holds the queue may
    enter it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: dict[bool, deque[object]] = {False: deque(), True: deque()}
        self._thread = ComputeThread()
        self._overtaken = 0  # short turns since a long step began to wait

    @contextmanager
    def turn(self, long: bool = False) -> Iterator[None]:
        """Hold the device; `long` for one step of a long job."""
        self._enter(long)
        try:
            yield
        finally:
            self._leave()

    def run(self, action: Callable[[], T], long: bool = False, in_thread: bool = False) -> T:
        """Run `action()` while holding the device; with `in_thread` on the compute thread."""
        if self._thread.is_current():
            return action()
        with self.turn(long):
            return self._thread.run(action) if in_thread else action()

    @property
    def waiting(self) -> int:
        """How many threads wait for their turn."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _enter(self, long: bool) -> None:
        me, ticket = threading.get_ident(), object()
        with self._changed:
            if self._owner == me:
                self._depth += 1
                return
            self._waiting[long].append(ticket)
            try:
                self._changed.wait_for(lambda: self._owner is None and self._next() is ticket)
                self._overtaken = 0 if long or not self._waiting[True] else self._overtaken + 1
                self._owner, self._depth = me, 1
            finally:  # also if an exception ends the wait
                self._waiting[long].remove(ticket)

    def _next(self) -> object | None:
        short, long = self._waiting[False], self._waiting[True]
        if long and (not short or self._overtaken >= COURTESY):
            return long[0]
        return short[0] if short else None

    def _leave(self) -> None:
        with self._changed:
            self._depth -= 1
            if self._depth == 0:
                self._owner = None
                self._changed.notify_all()
