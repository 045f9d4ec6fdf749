"""A ZeroGPU Space without its GPU: the real `spaces` package, with a device service of our own.

Run as a program by `tests/test_zero.py`, since `spaces` changes PyTorch for the whole process. The
package emulates CUDA in this process, packs what is placed on it at the launch, and forks a worker
for each kind of call. Only the two steps of a worker that need the graphics card are left out, so
it computes on the CPU. Prints what it found as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

asked: list[tuple[str, dict[str, list[str]]]] = []


class Device(BaseHTTPRequestHandler):
    """Gives the only GPU to whoever asks; a worker is never used again."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        where = urlsplit(self.path)
        asked.append((where.path, parse_qs(where.query)))
        given = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "none", "allowToken": "token"}
        body = json.dumps(given if where.path == "/schedule" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(names: list[str]) -> dict[str, Any]:
    """Start the app as on ZeroGPU and call the endpoints of these names, or all."""
    service = ThreadingHTTPServer(("127.0.0.1", 0), Device)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    packs = Path(tempfile.mkdtemp()) / "packs"
    os.environ.update(
        SPACES_ZERO_GPU="true",
        SPACES_ZERO_DEVICE_API_URL=f"http://127.0.0.1:{service.server_port}",
        ZEROGPU_OFFLOAD_DIR=str(packs),
    )
    import app  # noqa: I001  (first, as on a Space)
    import spaces.zero.torch as emulated
    import torch

    from core.serving import runtime
    from demos import _page
    from demos.shell import zero
    from scripts import try_endpoints

    setattr(emulated, "init", lambda _: None)  # noqa: B010
    setattr(emulated, "move", lambda callback=None: None)  # noqa: B010
    zero.install()
    page = _page.build()
    _page.place()
    placed: Any = runtime.status()
    here = {"server_name": "127.0.0.1", "server_port": None}
    app.launch(page, prevent_thread_lock=True, quiet=True, **here)
    from gradio_client import Client

    client = Client(str(page.local_url), verbose=False)
    offered = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    faults = {
        name: try_endpoints.fault(client, name, offered[name]["parameters"])
        for name in names or offered
    }
    after: Any = runtime.status()
    return {
        "device": placed["device"],
        "placed": [one["checkpoint"] for one in placed["models"]],
        "packed": sum(path.stat().st_size for path in packs.rglob("*") if path.is_file()),
        "initialised": torch.cuda.is_initialized(),
        "loads": after["misses"] - placed["misses"],
        "faults": faults,
        "asked": [path for path, _ in asked],
        "seconds": [q["durationSeconds"][0] for p, q in asked if p == "/schedule"],
    }


if __name__ == "__main__":
    found = main(sys.argv[1:])
    print(json.dumps(found), flush=True)
    for worker in multiprocessing.active_children():
        worker.kill()
    os._exit(0)
