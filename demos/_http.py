"""uvicorn's fast HTTP parser with an end to what comes before a body.

httptools has no limit on the head of a request, unlike h11, which uvicorn uses without it: 60 MB of
headers took 1.2 GB and held everybody up for seconds, before any middleware could refuse them.
"""

from __future__ import annotations

from typing import Any

from uvicorn import config

from core.own_ways import OwnWay

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
except ImportError:  # no httptools on this machine
    from uvicorn.protocols.http.h11_impl import H11Protocol as _Base  # type: ignore[assignment]

MAX_HEAD = 2**16  # bytes, as in h11; up to three times as much where it comes at once


class BoundedProtocol(_Base):
    """Refuses a request whose head, or whose trailers, are too long."""

    _head = 0  # bytes since the last sign of a body

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
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head has ended."""
        self._head = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._head = 0
        super().on_body(body)


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
