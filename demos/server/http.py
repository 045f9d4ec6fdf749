"""uvicorn's fast HTTP parser, with limits on headers and on responses that nobody reads.

httptools has no limit on header size: 60 MB of headers took 1.2 GB before any middleware could
refuse them. uvicorn has no time limit on headers either, whatever the parser. h11, the other one,
limits their size itself and takes about 1.7 times the CPU time for a request
(`python -m benchmarks.http_parsers`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from uvicorn import config

from core.cpu.own_ways import OwnWay

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
except ImportError:  # no httptools on this machine
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Base  # type: ignore[assignment]
    from uvicorn.protocols.http.h11_impl import RequestResponseCycle  # type: ignore[assignment]

MAX_HEAD = 2**16  # bytes, as in h11; up to three times that in one packet
HEAD_SECONDS = 20.0  # from connection or first byte to the end of the headers
TAKE_SECONDS = 60.0  # for a client that reads nothing of a response
PEER = "peer"  # request state: the peer's address, whatever a proxy reports


class _Timer:
    """Calls a function after some seconds, unless stopped before."""

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
    """Ends a connection whose headers or trailers are too long or too slow, or whose client does
    not read its response."""

    _head = 0  # bytes since the last part of a body
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
        """It has disconnected."""
        self._heading.stop()
        self._taking.stop()
        self._forget()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes received."""
        for start in range(0, len(data), MAX_HEAD):
            part = data[start : start + MAX_HEAD]
            self._head += len(part)
            super().data_received(part)
            if self.transport.is_closing():
                return
            if self._head > MAX_HEAD:
                self.send_400_response("The request's headers are too long.")
                return

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = 0
        self._heading.start(self.loop)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers have ended."""
        self._head = 0
        self._heading.stop()
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle

    def on_response_complete(self) -> None:
        """The response has been written; the next request may be waiting."""
        self._answering = self.pipeline[-1][0] if self.pipeline else None
        super().on_response_complete()

    def on_body(self, body: bytes) -> None:
        """Part of its body."""
        self._head = 0
        super().on_body(body)

    def pause_writing(self) -> None:
        """The client reads the response more slowly than it is produced."""
        self._taking.start(self.loop)
        super().pause_writing()

    def resume_writing(self) -> None:
        """It has read nearly everything that was waiting."""
        self._taking.stop()
        super().resume_writing()

    def _end(self) -> None:
        self._forget()
        self.transport.abort()

    def _forget(self) -> None:
        """Let a response in progress end silently. uvicorn does so only for the last of several
        pipelined requests; the others fail with a traceback."""
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

    def tried() -> bool:
        loop = uvloop.new_event_loop()
        try:
            return bool(loop.run_until_complete(answer()))
        finally:
            loop.close()

    # A notebook runs a loop in this thread already, and a thread can run only one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(tried).result()


HTTPTOOLS = OwnWay("httptools", _parses)
UVLOOP = OwnWay("uvloop", _loops)


def install() -> None:
    """Make servers of this process use it, without features that fail on this machine."""
    protocols: Any = config.HTTP_PROTOCOLS
    bounded = f"{__name__}:{BoundedProtocol.__name__}"
    protocols["auto"] = bounded if HTTPTOOLS.works() else protocols["h11"]
    loops: Any = config.LOOP_FACTORIES
    if not UVLOOP.works():
        loops["auto"] = loops["asyncio"]
