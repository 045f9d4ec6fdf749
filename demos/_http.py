"""uvicorn's fast HTTP parser with an end to what comes before a body.

httptools has no limit on the head of a request, unlike h11, which uvicorn uses without it: 60 MB of
headers took 1.2 GB and held everybody up for seconds, before any middleware could refuse them.
"""

from __future__ import annotations

from typing import Any

from uvicorn import config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD = 2**16  # bytes, as in h11; up to three times as much where it comes at once


class BoundedProtocol(HttpToolsProtocol):
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


def install() -> None:
    """Let servers of this process use it."""
    protocols: Any = config.HTTP_PROTOCOLS
    protocols["auto"] = f"{__name__}:{BoundedProtocol.__name__}"
