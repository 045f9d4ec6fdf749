"""Start the app or a naive demo in its own process, on a free port of this machine.

python -m benchmarks.servers hub 7861 [--sim] [--without light]
python -m benchmarks.servers naive 7862 --task classify [--folder models]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.startup import ROOT, free_port, wait_for

HOST = "127.0.0.1"
PATCHES = ("light", "sessions", "look")  # of demos.gradio_patches, which `--without` leaves out


@dataclass(frozen=True, slots=True)
class Server:
    """Its address and process."""

    url: str
    pid: int


@contextmanager
def started(kind: str, *arguments: str, **environment: str) -> Iterator[Server]:
    """A running server; it stops with the `with` block.

    Raises:
        RuntimeError: it did not start.
    """
    port = free_port()
    url = f"http://{HOST}:{port}/"
    with tempfile.TemporaryDirectory() as folder:
        own = {
            "VISION_HUB_OFFLINE": "1",
            "HF_HUB_OFFLINE": "1",
            "GRADIO_ANALYTICS_ENABLED": "False",
            "GRADIO_TEMP_DIR": folder,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.servers", kind, str(port), *arguments],
            cwd=ROOT,
            env={**os.environ, **own, **environment},
            stdout=subprocess.DEVNULL,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
        )
        try:
            wait_for(url, process)
            yield Server(url, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(60)


def main() -> None:
    """Serve until ended."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kind", choices=("hub", "naive"))
    parser.add_argument("port", type=int)
    parser.add_argument("--task", default="classify")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--sim", action="store_true", help="the app on the stand-in device")
    parser.add_argument("--keep", action="store_true", help="a demo that keeps its model")
    parser.add_argument("--device", default="cpu", help="where the demo's model runs")
    parser.add_argument("--without", choices=PATCHES, help="the app without a patch of Gradio")
    args = parser.parse_args()
    if args.kind == "hub":
        _leave_out(args.without)
        _hub(args.port, args.sim)
    else:
        _naive(args)


def _hub(port: int, sim: bool) -> None:
    import app
    from core.cpu import allocator, collector, compute_threads
    from core.settings import get_settings
    from demos import _page

    allocator.tune()  # as in app.main
    collector.spare_libraries()
    if not get_settings().expects_gpu:
        compute_threads.dedicate()
    if sim:
        from benchmarks import standin

        standin.install()
    page = _page.build()
    app.launch(page, server_name=HOST, server_port=port, prevent_thread_lock=True, quiet=True)
    page.block_thread()


def _leave_out(patch: str | None) -> None:
    """Make a patch of Gradio do nothing, to measure what it gains."""
    from demos.gradio_patches import light, queue, sessions

    nothing: Any = lambda *_: None  # noqa: E731
    if patch == "light":
        light.install = nothing
    elif patch == "sessions":
        sessions.install = nothing
    elif patch == "look":
        queue.LOOK_SECONDS = 0.001  # Gradio's default


def _naive(args: argparse.Namespace) -> None:
    from benchmarks import naive

    demo = naive.demo(args.task, args.folder, args.keep, args.device)
    demo.launch(server_name=HOST, server_port=args.port, quiet=True)


if __name__ == "__main__":
    main()
