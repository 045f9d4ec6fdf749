"""How much memory pictures may take while they are decoded, over all requests.

A small file can hold 50 megapixels, which take half a gigabyte on their way to RGB. The header says
how many bytes a picture needs before its pixels are decoded: small ones go on at once, large ones
wait until there is room. A decoded picture counts for as long as a request holds it.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.cpu import allocator
from core.errors import Busy

P = TypeVar("P", Image.Image, NDArray[np.uint8])

LIMIT = 480 * 2**20  # bytes; a picture that needs more is decoded while nothing else counts
SMALL = 32 * 2**20  # needs no more: never waits
PATIENCE = 60.0  # seconds that a large picture waits
# A picture that is held for longer belongs to a long job. It counts no further: large pictures of
# others would have to wait for its end, and the places for long jobs bound how many there are.
HELD_SECONDS = 45.0
# Of a pixel: the decoded mode, the copies on the way to RGB (4 bytes in Pillow), the array (3).
BYTES = {"1": 8, "L": 8, "P": 8, "RGB": 11, "YCbCr": 11, "CMYK": 11, "I;16": 12}
MOST_BYTES = 16  # of every other mode: alpha, 32-bit integers, floats
BUSY = "The hub is opening other large pictures now; please try again in a minute."


def needed(size: tuple[int, int], mode: str) -> int:
    """Bytes that a picture of `size` (W, H) and Pillow's `mode` takes while it becomes RGB."""
    return size[0] * size[1] * BYTES.get(mode, MOST_BYTES)


class Budget:
    """A semaphore in bytes; large pictures have room in the order in which they came."""

    def __init__(self, limit: int = LIMIT, small: int = SMALL, patience: float = PATIENCE) -> None:
        self.limit, self.small, self.patience = limit, small, patience
        # Reentrant: the garbage collector may free a picture while this thread has the lock.
        self._changed = threading.Condition(threading.RLock())
        self._decoding = 0
        self._held: dict[int, tuple[int, float]] = {}  # bytes and since when, by number
        self._count = 0
        self._waiting: deque[object] = deque()
        self._trim = allocator.Trimmer()

    @property
    def used(self) -> int:
        """Bytes that count now."""
        with self._changed:
            young = time.monotonic() - HELD_SECONDS
            return self._decoding + sum(n for n, since in self._held.values() if since > young)

    @contextmanager
    def room(self, need: int) -> Iterator[None]:
        """Room for `need` bytes.

        Raises:
            Busy: none came free within `patience` seconds.
        """
        self._enter(need)
        try:
            yield
        finally:
            with self._changed:
                self._decoding -= need
                self._changed.notify_all()
            if need > self.small:
                self._trim.note()

    def _enter(self, need: int) -> None:
        ticket, end = object(), time.monotonic() + self.patience
        with self._changed:
            if need > self.small:
                self._waiting.append(ticket)
                try:
                    while not (self._waiting[0] is ticket and self._fits(need)):
                        left = end - time.monotonic()
                        if left <= 0:
                            raise Busy(BUSY)
                        self._changed.wait(min(left, 1.0))  # what is held ages meanwhile
                finally:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            self._decoding += need

    def _fits(self, need: int) -> bool:
        used = self.used
        return used == 0 or used + need <= self.limit

    def keep(self, picture: P) -> P:
        """The decoded picture, whose bytes count until nobody holds it."""
        if isinstance(picture, Image.Image):
            size = 4 * picture.width * picture.height
        else:
            size = picture.nbytes
        with self._changed:
            self._count += 1
            number = self._count
            self._held[number] = (size, time.monotonic())
        weakref.finalize(picture, self._let_go, number).atexit = False
        return picture

    def _let_go(self, number: int) -> None:
        with self._changed:
            self._held.pop(number, None)
            self._changed.notify_all()


_budget = Budget()


def room(image: Image.Image) -> AbstractContextManager[None]:
    """Room to decode a picture whose header was read; `Busy` where none comes free in time."""
    return _budget.room(needed(image.size, image.mode))


def keep(picture: P) -> P:
    """`picture` again, whose bytes count for as long as anybody holds it."""
    return _budget.keep(picture)
