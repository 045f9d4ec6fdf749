"""Limit the memory that decoding takes across all requests.

A small file can hold 50 megapixels, which take half a gigabyte on the way to RGB. The header tells
how many bytes a picture needs before its pixels are decoded: small pictures proceed at once, large
ones wait for room. A decoded picture counts for as long as a request holds it.
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

LIMIT = 480 * 2**20  # bytes; a larger picture is decoded alone
SMALL = 32 * 2**20  # pictures up to this size never wait
PATIENCE = 60.0  # longest wait of a large picture, in seconds
# A picture that is held for longer belongs to a long job and no longer counts: other large pictures
# would have to wait for the job, and the slots for long jobs already bound their number.
HELD_SECONDS = 45.0
# Bytes per pixel: the decoded mode, the copies on the way to RGB (4 in Pillow), the array (3).
BYTES = {"1": 8, "L": 8, "P": 8, "RGB": 11, "YCbCr": 11, "CMYK": 11, "I;16": 12}
MOST_BYTES = 16  # for all other modes: alpha, 32-bit, floats
BUSY = "The app is opening other large pictures now; please try again in a minute."


def needed(size: tuple[int, int], mode: str) -> int:
    """Bytes needed to turn a picture of `size` (W, H) and Pillow's `mode` into RGB."""
    return size[0] * size[1] * BYTES.get(mode, MOST_BYTES)


class Budget:
    """A semaphore in bytes; large pictures get room in order of arrival."""

    def __init__(self, limit: int = LIMIT, small: int = SMALL, patience: float = PATIENCE) -> None:
        self.limit, self.small, self.patience = limit, small, patience
        # Reentrant: the garbage collector may free a picture while this thread has the lock.
        self._changed = threading.Condition(threading.RLock())
        self._decoding = 0
        self._held: dict[int, tuple[int, float]] = {}  # ticket -> (bytes, start time)
        self._count = 0
        self._waiting: deque[object] = deque()
        self._trim = allocator.Trimmer()

    @property
    def used(self) -> int:
        """Bytes in use now."""
        with self._changed:
            young = time.monotonic() - HELD_SECONDS
            return self._decoding + sum(n for n, since in self._held.values() if since > young)

    @contextmanager
    def room(self, need: int) -> Iterator[None]:
        """Reserve `need` bytes.

        Raises:
            Busy: none became free within `patience` seconds.
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
                        self._changed.wait(min(left, 1.0))  # wake up: held pictures age
                finally:
                    self._waiting.remove(ticket)
                    self._changed.notify_all()
            self._decoding += need

    def _fits(self, need: int) -> bool:
        used = self.used
        return used == 0 or used + need <= self.limit

    def keep(self, picture: P) -> P:
        """The decoded picture; its bytes count until nobody holds it."""
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
    """Reserve room to decode a picture from its header; `Busy` if none becomes free in time."""
    return _budget.room(needed(image.size, image.mode))


def keep(picture: P) -> P:
    """Return `picture`, whose bytes count for as long as anybody holds it."""
    return _budget.keep(picture)
