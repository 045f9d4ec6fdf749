"""CPU time of a request with each of uvicorn's HTTP parsers, measured in turns.

    python -m benchmarks.http_parsers

The machine's speed cancels out: the result is the ratio within one run. The app is empty, so almost
all of the time is uvicorn's; Gradio adds the same to both. httptools needs `demos/server/http.py`
to limit header size; exits with 1 if it saves less than a fifth.
"""

from __future__ import annotations

import http.client
import sys
import threading
import time
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from benchmarks.startup import free_port
from demos.server.http import BoundedProtocol

REQUESTS, ROUNDS = 1000, 7
GOAL = 0.2
HEADERS = {  # what a browser sends
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.9",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "cors",
    "Cookie": "vision_hub_visitor=" + "x" * 32,
}


async def empty(scope: Any, _: Any, send: Any) -> None:
    """Responds with an empty 200."""
    if scope["type"] == "http":
        headers = [(b"content-length", b"2"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """A server in a thread that reports its CPU time."""

    def __init__(self, protocol: Any) -> None:
        self.port = free_port()
        config = uvicorn.Config(empty, port=self.port, http=protocol, log_level="critical")
        self.server = uvicorn.Server(config)
        thread = threading.Thread(target=self.server.run, daemon=True)
        thread.start()
        while not self.server.started:
            time.sleep(0.01)
        assert thread.ident is not None
        self._clock = time.pthread_getcpuclockid(thread.ident)

    def cpu(self, requests: int) -> float:
        """CPU seconds of the server for so many requests on one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        began = time.clock_gettime(self._clock)
        for _ in range(requests):
            connection.request("GET", "/healthz?a=b", headers=HEADERS)
            connection.getresponse().read()
        spent = time.clock_gettime(self._clock) - began
        connection.close()
        return spent


def main() -> int:
    """Print the figures."""
    served = {"httptools": Served(BoundedProtocol), "h11": Served(H11Protocol)}
    best = dict.fromkeys(served, float("inf"))
    for _ in range(ROUNDS):
        for name, server in served.items():
            best[name] = min(best[name], server.cpu(REQUESTS) / REQUESTS)
    for name, seconds in best.items():
        print(f"{name:10} {seconds * 1e6:6.0f} us of CPU time a request")
    ratio = best["h11"] / best["httptools"]
    print(f"h11 takes {ratio:.2f} times as much")
    return int(best["httptools"] > (1 - GOAL) * best["h11"])


if __name__ == "__main__":
    sys.exit(main())
