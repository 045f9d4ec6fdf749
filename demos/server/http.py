"""uvicorn's fast HTTP parser, with an end to heads and to answers that nobody takes.

httptools has no limit on the size of a head: 60 MB of headers took 1.2 GB before any middleware
could refuse them. uvicorn sets no time for a head either, whatever its parser. h11, the other
one, bounds the size by itself and takes about 1.7 times the CPU time for a request
(`python -m benchmarks.http_parsers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn import config

from core.cpu.own_ways import OwnWay

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
except ImportError:  # no httptools on this machine
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Base  # type: ignore[assignment]
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle  # type: ignore[assignment]

MAX_HEAD = 2**16  # bytes, as in h11; up to three times as much where it comes at once
HEAD_SECONDS = 20.0  # from the connection, or the first byte, to the end of a head
TAKE_SECONDS = 60.0  # for a client that takes nothing of an answer
PEER = "peer"  # in the state of a request: who connected, whoever a proxy says it was


class _Timer:
    """Calls something once its seconds are over, unless it is stopped before."""

    def __init__(self, seconds: float, call: Callable[[], None]) -> None:
        self._seconds, self._call = seconds, call
        self._handle: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._handle is None:
            self._handle = loop.call_later(self._seconds, self._call)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None


class BoundedProtocol(_Base):
    """Ends a connection whose head, or whose trailers, are too long or too slow, or that takes
    nothing of its answer."""

    _head = 0  # bytes since the last sign of a body
    _answering: RequestResponseCycle | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._heading = _Timer(HEAD_SECONDS, self._end)
        self._taking = _Timer(TAKE_SECONDS, self._end)

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, PEER: self.client[0] if self.client else None}
        self._heading.start(self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._heading.stop()
        self._taking.stop()
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a connection."""
        for start in range(0, len(data), MAX_HEAD):
            part = data[start : start + MAX_HEAD]
            self._head += len(part)
            super().data_received(part)
            if self.transport.is_closing():
                return
            if self._head > MAX_HEAD:
                self.send_400_response("The head of the request is too long.")
                return

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        self._heading.start(self.loop)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._head = 0
        self._heading.stop()
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle

    def on_response_complete(self) -> None:
        """The answer has been written; the next request may wait already."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._head = 0
        super().on_body(body)

    def pause_writing(self) -> None:
        """The client takes the answer more slowly than it comes."""
        self._taking.start(self.loop)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has taken nearly all of what waited."""
        self._taking.stop()
        super().resume_writing()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        """Let the answer that is under way end in silence. uvicorn does so only with the last of
        several requests that were sent at once; the others fail with a traceback."""
        if self._answering is not None:
            self._answering.disconnected = True
            self._answering.message_event.set()


def _parses() -> bool:
    import httptools

    class Seen:
        url = b""

        def on_url(self, url: bytes) -> None:
            self.url += url

    seen = Seen()
    httptools.HttpRequestParser(seen).feed_data(b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n")
    return seen.url == b"/here"


def _loops() -> bool:
    import uvloop

    async def answer() -> int:
        return 1

    loop = uvloop.new_event_loop()
    try:
        return bool(loop.run_until_complete(answer()))
    finally:
        loop.close()


HTTPTOOLS = OwnWay("httptools", _parses)
UVLOOP = OwnWay("uvloop", _loops)


def install() -> None:
    """Let servers of this process use it, and leave out what does not work on this machine."""
    protocols: Any = config.HTTP_PROTOCOLS
    bounded = f"{__name__}:{BoundedProtocol.__name__}"
    protocols["auto"] = bounded if HTTPTOOLS.works() else protocols["h11"]
    loops: Any = config.LOOP_FACTORIES
    if not UVLOOP.works():
        loops["auto"] = loops["asyncio"]
