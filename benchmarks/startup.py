"""Time from `python app.py` to the first page and to the first classification.

    python -m benchmarks.startup [--runs 3]

Run it on an idle machine; prints wall seconds, medians over the runs.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "examples" / "chelsea.jpg"
PAGE_GOAL, RESULT_GOAL = 8.0, 12.0


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes], limit: float = 600.0) -> None:
    """Return once `url` answers 200.

    Raises:
        RuntimeError: the process ended, or the limit passed.
    """
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=60) as response:
                if response.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.05)
        if process.poll() is not None:
            raise RuntimeError(f"the app ended with code {process.returncode}")
    raise RuntimeError(f"{url} did not answer within {limit} s")


def measure() -> tuple[float, float]:
    """(seconds to the first page, seconds to the first classification) of one start."""
    from gradio_client import Client, handle_file

    port = free_port()
    env = {
        **os.environ,
        "VISION_HUB_PORT": str(port),
        "VISION_HUB_HOST": "127.0.0.1",
        "VISION_HUB_OFFLINE": "1",
    }
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        page = time.perf_counter() - started
        # Its own limit is five seconds, and the first request may wait longer for libraries.
        address = f"http://127.0.0.1:{port}/"
        client = Client(address, verbose=False, httpx_kwargs={"timeout": 120})
        client.predict(handle_file(PICTURE), api_name="/classify")
        return page, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(20)


def main() -> int:
    """Print the table; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=3)
    runs = [measure() for _ in range(parser.parse_args().runs)]
    pages, results = zip(*runs, strict=True)
    load = os.getloadavg()[0]
    print(f"runs {len(runs)}, cores {os.cpu_count()}, load average {load:.1f}")
    missed = False
    for name, values, goal in (
        ("first page", pages, PAGE_GOAL),
        ("first classification", results, RESULT_GOAL),
    ):
        median = statistics.median(values)
        missed |= median > goal
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:22} {median:6.2f} s  ({spread}; goal {goal:g} s)")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
