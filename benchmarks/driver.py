"""A closed-loop driver: clients that each send the next request as soon as they have a result."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Ask = Callable[[int], object]
JOIN = "/gradio_api/queue/join"
RESULTS = "/gradio_api/queue/data"
UPLOAD = "/gradio_api/upload"
FILES_A_REQUEST = 16
_BOUNDARY = "----vision-hub-benchmark"


@dataclass(frozen=True, slots=True)
class Load:
    """One run: answers per second, median and 95th percentile seconds, and who failed."""

    answers: int
    seconds: float
    latencies: tuple[float, ...]
    errors: tuple[str, ...]
    cpu_seconds: float | None = None  # of the server, per answer

    @property
    def rate(self) -> float:
        return self.answers / self.seconds

    @property
    def p50(self) -> float:
        return statistics.median(self.latencies)

    @property
    def p95(self) -> float:
        return sorted(self.latencies)[int(0.95 * (len(self.latencies) - 1))]


def closed_loop(
    connect: Callable[[], Ask], clients: int, requests: int, limit: float, pid: int | None = None
) -> Load:
    """Let `clients` threads send `requests` requests in total, within `limit` seconds.

    Args:
        connect: gives each client its own function that sends request number i and waits.
        pid: the server whose CPU seconds are counted.

    Raises:
        RuntimeError: no request was answered.
    """
    numbers, lock = iter(range(requests)), threading.Lock()
    latencies: list[float] = []
    errors: list[str] = []
    began: float | None = None
    before: float | None = None
    deadline: float | None = None

    def begin() -> None:  # when all clients are connected, not when this thread wakes up again
        nonlocal began, before, deadline
        before, began = cpu_seconds(pid), time.perf_counter()
        deadline = began + limit

    start = threading.Barrier(clients + 1, begin)

    def client() -> None:
        ask = connect()
        start.wait()
        assert deadline is not None
        while time.perf_counter() < deadline:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            asked = time.perf_counter()
            try:
                ask(number)
            except Exception as error:  # count and show any failure
                errors.append(f"{type(error).__name__}: {error}")
                return
            latencies.append(time.perf_counter() - asked)

    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    for thread in threads:
        thread.start()
    start.wait(60)
    assert began is not None and deadline is not None
    for thread in threads:
        thread.join(max(0.0, deadline - time.perf_counter()) + 120)
    seconds, after = time.perf_counter() - began, cpu_seconds(pid)
    if not latencies:
        raise RuntimeError(f"no request was answered: {errors[:1]}")
    used = None if before is None or after is None else (after - before) / len(latencies)
    return Load(len(latencies), seconds, tuple(latencies), tuple(errors), used)


def cpu_seconds(pid: int | None) -> float | None:
    """User and system seconds of a process so far; None if unavailable."""
    if pid is None or not Path("/proc/self/stat").exists():
        return None
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def upload(url: str, pictures: Sequence[bytes], suffix: str = "jpg") -> list[str]:
    """Upload pictures to a Gradio app; return the paths for use in requests.

    Each request uploads a few, since the app limits its size.
    """
    if len(pictures) > FILES_A_REQUEST:
        first, rest = pictures[:FILES_A_REQUEST], pictures[FILES_A_REQUEST:]
        return upload(url, first, suffix) + upload(url, rest, suffix)
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{i}.{suffix}"'
        f"\r\nContent-Type: image/{suffix}\r\n\r\n".encode()
        + picture
        + b"\r\n"
        for i, picture in enumerate(pictures)
    ]
    body = b"".join(parts) + f"--{_BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={_BOUNDARY}"
    paths = json.loads(_request(url, "POST", UPLOAD, body, kind))
    return [str(path) for path in paths]


def gradio_client(url: str, endpoint: str, data: Callable[[int], list[Any]]) -> Callable[[], Ask]:
    """Clients that call an endpoint through Gradio's queue, each in its own session, like a page.

    `data(i)` are the inputs of request i. A few lines instead of the library, which would take more
    CPU time than the server.
    """
    known = json.loads(_request(url, "GET", "/config"))["dependencies"]
    number = next(fn["id"] for fn in known if fn.get("api_name") == endpoint)

    def connect() -> Ask:
        session = secrets.token_hex(8)

        def ask(i: int) -> Any:
            event = {"data": data(i), "fn_index": number, "session_hash": session}
            _request(url, "POST", JOIN, json.dumps(event), "application/json")
            return _answer(_request(url, "GET", f"{RESULTS}?session_hash={session}").decode())

        return ask

    return connect


def picture(path: str) -> dict[str, Any]:
    """An uploaded picture as an input of an endpoint."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def _request(
    url: str, method: str, path: str, body: str | bytes | None = None, kind: str = "text/plain"
) -> bytes:
    """The body of the response, over a new connection."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
    try:
        connection.request(method, path, body, {"Content-Type": kind})
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"{path}: status {response.status}: {content[:200]!r}")
    return content


def _answer(stream: str) -> Any:
    """The data of the event that reports completion."""
    for line in stream.splitlines():
        if line.startswith("data: ") and '"process_completed"' in line:
            message = json.loads(line.removeprefix("data: "))
            if message["success"]:
                return message["output"]["data"]
            raise RuntimeError(str(message["output"].get("error")))
    raise RuntimeError(f"no answer: {stream[-200:]}")
