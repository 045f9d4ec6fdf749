"""Whose turn it is on the device: one holder at a time, in the order of arrival."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from core.cpu.compute_threads import ComputeThread

T = TypeVar("T")

COURTESY = 4  # short passes that may overtake one waiting step of a long job


class Lane:
    """A lock that is fair, which `threading.Lock` is not: whoever gives that one back and asks
    again at once mostly gets it again, so a job of a hundred tiles would keep everybody out.

    A step of a long job (a tile, a batch of points) lets short passes go first, but at most
    `COURTESY` of them in a row, so that it comes to its end as well. A thread that holds the lane
    may enter it again.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._owner: int | None = None
        self._depth = 0
        self._waiting: dict[bool, deque[object]] = {False: deque(), True: deque()}
        self._thread = ComputeThread()
        self._overtaken = 0  # short turns since a step of a long job began to wait

    @contextmanager
    def turn(self, long: bool = False) -> Iterator[None]:
        """Hold the lane; `long` for one step of a long job."""
        self._enter(long)
        try:
            yield
        finally:
            self._leave()

    def run(self, action: Callable[[], T], long: bool = False, in_thread: bool = False) -> T:
        """`action()` while holding the lane, with `in_thread` in the thread that computes."""
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
            finally:  # also where an exception ends the waiting
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
