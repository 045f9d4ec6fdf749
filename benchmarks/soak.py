"""Eight simultaneous visitors of the real app for some minutes, with mixed tabs and picture sizes.

    python -m benchmarks.soak [--seconds 300] [--write]

First Classify is measured alone, then beside long jobs that fill their queue. After the soak the
app is killed while busy and restarted. All traffic stays on this machine. Exits with 1 if a
limit is exceeded; `--write` puts the report into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.faults import PAGE, write_section
from benchmarks.soak_report import CLIENTS, FILES_MB, Report
from benchmarks.startup import ROOT, free_port, wait_for
from demos.server.files import size

STORE_MB = 64  # small, to be full before the second minute: a filling cache is not a leak
# Every client repeats the same round, from a different starting point.
ROUND: tuple[tuple[str, list[Any], int], ...] = (
    ("classify", ["auto", 5, 1.0], 480),
    ("segment", [[[20, 20, 1]], None, "auto", True], 320),
    ("detect", ["auto", 0.7, ""], 240),
    ("classify", ["auto", 3, 2.0], 64),
    ("reconstruct", ["auto", 0.75, 0], 320),
    ("denoise", ["auto", 20], 96),
    ("segment", [[[9, 9, 1], [30, 30, 0]], None, "auto", False], 160),
    ("super_resolve", ["auto", 2], 64),
    ("deblur", ["auto"], 96),
)
LONG_JOB = ("super_resolve", ["auto", 4], 640)


class Caller:
    """One visitor: uploads a new picture and waits for the result."""

    def __init__(self, port: int, seed: int, seconds: float = 600) -> None:
        self.port, self.seconds = port, seconds
        self._cookie = f"vision_hub_visitor=soak-{seed}"
        self._rng = np.random.default_rng(seed)

    def ask(self, endpoint: str, values: list[Any], side: int, fresh: bool = True) -> Any:
        """An endpoint's answer; raises RuntimeError with any other response."""
        return self.ask_about(endpoint, values, self._picture(side, fresh))

    def ask_about(self, endpoint: str, values: list[Any], content: bytes) -> Any:
        """The same of a picture file."""
        path = self._upload(content)
        image = {"path": path, "meta": {"_type": "gradio.FileData"}}
        body = json.dumps({"data": [image, *values]}).encode()
        kind = {"Content-Type": "application/json"}
        event = json.loads(self._request("POST", f"call/{endpoint}", body, kind))["event_id"]
        stream = self._request("GET", f"call/{endpoint}/{event}").decode()
        if "event: complete" not in stream:
            raise RuntimeError(f"{endpoint}: {stream.strip()[-300:]}")
        return json.loads(stream.rsplit("\ndata: ", 1)[1])

    def _picture(self, side: int, fresh: bool) -> bytes:
        rng = self._rng if fresh else np.random.default_rng(side)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((side, side * 3 // 4)).save(buffer, "JPEG", quality=90)
        return buffer.getvalue()

    def _upload(self, content: bytes) -> str:
        edge = uuid.uuid4().hex
        head = f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="p.jpg"\r\n\r\n'
        body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={edge}"}
        return str(json.loads(self._request("POST", "upload", body, kind))[0])

    def _request(
        self, method: str, path: str, body: bytes | None = None, headers: Any = None
    ) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.seconds)
        try:
            headers = {"Cookie": self._cookie, **(headers or {})}
            connection.request(method, f"/gradio_api/{path}", body, headers)
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {content[:300]!r}")
        return content


@contextmanager
def running(port: int, folder: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The app in a separate process; killed at the end."""
    env = {
        **os.environ,
        "VISION_HUB_PORT": str(port),
        "VISION_HUB_HOST": "127.0.0.1",
        "VISION_HUB_OFFLINE": "1",
    }
    env |= {"GRADIO_TEMP_DIR": str(folder), "VISION_HUB_FILES_MB": str(FILES_MB)}
    env |= {"VISION_HUB_STORE_MB": str(STORE_MB), **more}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "app.py"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, **quiet)  # type: ignore[call-overload]
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz", process)
        yield process
    finally:
        process.kill()
        process.wait(60)


def resident_mb(pid: int) -> float:
    """Memory of a process; 0 on systems without /proc."""
    statm = Path(f"/proc/{pid}/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def until(end: float, port: int, seed: int, times: list[float]) -> None:
    """Classify fresh pictures until the time is up; the seconds of each."""
    caller, (endpoint, values, side) = Caller(port, seed), ROUND[0]
    while time.monotonic() < end:
        started = time.monotonic()
        caller.ask(endpoint, values, side)
        times.append(time.monotonic() - started)


def beside_long_jobs(port: int, seconds: float, report: Report) -> None:
    """Classify alone, then while four visitors run long jobs."""
    until(time.monotonic() + seconds, port, 1000, report.alone)
    end = time.monotonic() + seconds

    def heavy(seed: int) -> None:
        caller = Caller(port, seed)
        while time.monotonic() < end:
            caller.ask(*LONG_JOB)

    threads = [threading.Thread(target=heavy, args=(2000 + i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    until(end, port, 3000, report.beside)
    for thread in threads:
        thread.join()


def visit(port: int, number: int, end: float, report: Report) -> None:
    """One client: round after round until the time is up."""
    caller = Caller(port, number)
    for endpoint, values, side in itertools.islice(itertools.cycle(ROUND), number, None):
        if time.monotonic() >= end:
            return
        try:
            caller.ask(endpoint, values, side)
        except (RuntimeError, OSError, ValueError) as error:
            report.errors.append(str(error))
            time.sleep(0.1)
        else:
            report.served[number] += 1
            report.answers[endpoint] += 1


def soak(port: int, pid: int, folder: Path, report: Report) -> None:
    """All clients at once; checks memory every second, files every tenth second and at the end."""
    started = time.monotonic()
    end = started + report.seconds
    report.served = [0] * CLIENTS
    threads = [
        threading.Thread(target=visit, args=(port, number, end, report))
        for number in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        report.memory.append((time.monotonic() - started, resident_mb(pid)))
        if len(report.memory) % 10 == 0:
            report.files = max(report.files, size(folder) / 1e6)
        time.sleep(1)
    report.files = max(report.files, size(folder) / 1e6)


def answers(port: int, endpoints: int = 3) -> list[Any]:
    """The first endpoints' answers for a known picture, without times and paths."""
    found = []
    for endpoint, values, side in ROUND[:endpoints]:
        answer = Caller(port, 0).ask(endpoint, values, side, fresh=False)
        found.append([part for part in answer[:-1] if not (part and "path" in part)])
    return found


def restart(
    port: int, folder: Path, process: subprocess.Popen[bytes], endpoints: int = 3, **more: str
) -> Report:
    """Kill the app while it works, start it again in the same folder, and compare its answers.

    Args:
        more: environment variables of the second start.
    """
    before, report = answers(port, endpoints), Report(0)
    busy = threading.Thread(target=_ignore_errors, args=(Caller(port, 7), LONG_JOB), daemon=True)
    busy.start()
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    started = time.monotonic()
    with running(port, folder, **more):
        report.restart = time.monotonic() - started
        report.same = answers(port, endpoints) == before
    busy.join(60)
    return report


def _ignore_errors(caller: Caller, job: tuple[str, list[Any], int]) -> None:
    faults = (RuntimeError, OSError, ValueError, http.client.HTTPException)
    with contextlib.suppress(*faults):  # the server was killed, as it should be
        caller.ask(*job)


def main() -> int:
    """Print the report; return 1 if a limit is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md")
    options = parser.parse_args()
    report, port = Report(options.seconds), free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(port, folder) as process:
            for endpoint, values, side in ROUND:  # imports and loads are paid once
                Caller(port, 1).ask(endpoint, values, side)
            beside_long_jobs(port, max(5.0, options.seconds / 10), report)
            soak(port, process.pid, folder, report)
            again = restart(port, folder, process)
            report.restart, report.same = again.restart, again.same
    print(report.markdown())
    print(f"Classify alone, median {statistics.median(report.alone) * 1000:.0f} ms")
    if options.write:
        write_section(PAGE, "soak", report.markdown())
    return int(any(holds is False for *_, holds in report.verdicts()))


if __name__ == "__main__":
    sys.exit(main())
