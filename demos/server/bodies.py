"""Request bodies on their way in: limits on size, speed and number at once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
from starlette.requests import Request

from demos.server.asgi import Message, Receive, Refused

IDLE_SECONDS = 20.0  # longest pause without a byte
GRACE_SECONDS = 20.0  # before the rate is enforced
MIN_RATE = 16_384  # bytes per second
DRAIN_SECONDS, DRAIN_BYTES = 10.0, 100 * 2**20  # for a refused body
DRAINS = 64  # at once; beyond that, connections are cut
MAX_VALUES = 100_000  # in one body; millions would take gigabytes
SLOW = "The request came too slowly; please try again on a better connection."
CUT = "The request was cut off."
RETRY_SECONDS = 5
CROWDED = f"Too much data is being sent to the app now; please try again in {RETRY_SECONDS} s."
MUCH = f"You are sending too much at once; please continue in {RETRY_SECONDS} s."


class Room:
    """A limit on requests and bytes at once, in total; each address gets a share."""

    def __init__(self, count: int, nbytes: int = 0, share: float = 0.5) -> None:
        self.count, self.nbytes, self.share = count, nbytes, share
        self.used = [0, 0]  # requests and bytes
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def place(self, address: str, nbytes: int = 0) -> Iterator[Place]:
        """Reserve room for one request with that many bytes declared.

        Raises:
            Refused: there is none.
        """
        made = Place(self, address)
        self._add(address, 1, 0)
        try:
            made.grow(nbytes)
            yield made
        finally:
            self._add(address, -1, -made.nbytes)

    def grow(self, address: str, nbytes: int) -> None:
        """Reserve that many more bytes for an admitted request.

        Raises:
            Refused: there is no room for them.
        """
        self._add(address, 0, nbytes)
        if self.used[0] > self.count or self.used[1] > self.nbytes:
            raise Refused(503, CROWDED, {"retry-after": str(RETRY_SECONDS)})
        mine, bytes_of_mine = self._counts[address], self._bytes[address]
        # One request is always allowed; the share limits the rest.
        if mine > 1 and (
            mine > self.share * self.count or bytes_of_mine > self.share * self.nbytes
        ):
            raise Refused(429, MUCH, {"retry-after": str(RETRY_SECONDS)})

    def _add(self, address: str, count: int, nbytes: int) -> None:
        self.used[0] += count
        self.used[1] += nbytes
        for counter, amount in ((self._counts, count), (self._bytes, nbytes)):
            counter[address] += amount
            if not counter[address]:
                del counter[address]


class Place:
    """One request's use of a room."""

    def __init__(self, room: Room, address: str) -> None:
        self.nbytes = 0
        self._room, self._address = room, address

    def grow(self, nbytes: int) -> None:
        """Reserve bytes beyond the declared length.

        Raises:
            Refused: there is no room for them.
        """
        self.nbytes += nbytes
        self._room.grow(self._address, nbytes)


def said_length(request: Request) -> int | None:
    """The declared length of the body; None if it is not a number."""
    said = request.headers.get("content-length")
    if said is None:
        return None if "transfer-encoding" in request.headers else 0
    return int(said) if said.isdecimal() and len(said) < 20 else 2**63


class Incoming:
    """A request's raw body: whether it has ended, and how to drain the rest."""

    _draining = 0

    def __init__(self, request: Request, receive: Receive) -> None:
        self.complete = said_length(request) == 0
        self.gone = False  # the client
        self._receive = receive
        self._begun = "100-continue" not in request.headers.get("expect", "").lower()

    async def receive(self) -> Message:
        """Its next part."""
        self._begun = True
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.gone = True
        elif not message.get("more_body"):
            self.complete = True
        return message

    async def drain(self) -> None:
        """Receive and discard what is still sent, within limits.

        Closing a connection with unread bytes resets it, and many clients then never read the
        response sent before.
        """
        # A client that waits for permission (Expect: 100-continue) will send nothing.
        if not self._begun or Incoming._draining >= DRAINS:
            return
        left = DRAIN_BYTES
        Incoming._draining += 1
        try:
            with anyio.move_on_after(DRAIN_SECONDS):
                while left > 0 and not (self.complete or self.gone):
                    left -= len((await self.receive()).get("body", b""))
        finally:
            Incoming._draining -= 1


class Body:
    """A request body within its limits; `refused` holds the error, for apps that catch the
    exception on its way."""

    def __init__(
        self, request: Request, receive: Receive, limit: int, too_large: str, place: Place
    ) -> None:
        self.refused: Refused | None = None
        self._receive, self._limit, self._too_large = receive, limit, too_large
        self._said = said_length(request)
        self._place = place
        self._got, self._waited = 0, 0.0
        self._complete = self._said == 0

    async def receive(self) -> Message:
        """Its next part, then whatever follows it.

        Raises:
            Refused: it is too large, too slow or cut off.
        """
        if self._complete:
            return await self._receive()
        try:
            return await self._next()
        except Refused as refused:
            self.refused = refused
            raise

    async def _next(self) -> Message:
        left = GRACE_SECONDS + self._got / MIN_RATE - self._waited
        began = time.monotonic()
        try:
            with anyio.fail_after(max(0.0, min(IDLE_SECONDS, left))):
                message = await self._receive()
        except TimeoutError:
            raise Refused(408, SLOW) from None
        self._waited += time.monotonic() - began
        if message["type"] == "http.disconnect":
            raise Refused(400, CUT)
        more = len(message.get("body", b""))
        self._got += more
        if self._got > self._limit:
            raise Refused(413, self._too_large)
        if self._got > self._place.nbytes:
            self._place.grow(self._got - self._place.nbytes)
        self._complete = not message.get("more_body")
        return message

    async def read(self) -> bytearray:
        """The whole body."""
        whole = bytearray()
        while not self._complete:
            whole += (await self.receive()).get("body", b"")
        return whole


def parse(body: bytearray) -> Any:
    """The values of a JSON body.

    Raises:
        Refused: it is not JSON, or holds too many values.
    """
    # Counted before parsing; none of these characters occurs in a picture's base64.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise Refused(413, "The request holds too many values.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # also bytes that are not text
        raise Refused(400, "The body of the request is not JSON.") from None


def again(body: bytearray, receive: Receive) -> Receive:
    """A `receive` that replays a body already read, and then continues with the real one."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def given() -> Message:
        return waiting.pop() if waiting else await receive()

    return given
