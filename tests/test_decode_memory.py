"""Small files of huge pictures, many at once: the server's memory stays bounded and comes back."""

from __future__ import annotations

import io
import json
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.faults import is_clear
from benchmarks.soak import ROUND, Caller, resident_mb, running
from core.cpu.allocator import AT_MOST

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc"),
]
AT_ONCE, SIDE = 8, 7000  # 49 megapixels
# Over idle. One of the TIFFs alone takes about 560 MB on its way to RGB.
MOST_MB, LEFT_MB = 650, 250


def bombs(image, kind, **options):
    """Files of a few hundred kilobytes, each of another content, so that each is decoded."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    assert len(buffer.getvalue()) < 1_000_000
    return [buffer.getvalue() + bytes([number]) for number in range(AT_ONCE)]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def settled(pid, seconds=60):
    """Resident megabytes once they change no more, as after the imports behind the page."""
    end, last = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        now = resident_mb(pid)
        if abs(now - last) < 3:
            return now
        last = now
        time.sleep(4)
    return last


def sent(port, number, content, said):
    caller = Caller(port, number)
    image = {"path": caller._upload(content), "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [image, "auto", 5, 1]}).encode()
    kind = {"Content-Type": "application/json"}
    event = json.loads(caller._request("POST", "call/classify", body, kind))["event_id"]
    stream = caller._request("GET", f"call/classify/{event}").decode()
    said.append((stream.strip().split("\n")[-2], json.loads(stream.rsplit("\ndata: ", 1)[1])))


def at_once(port, pid, contents):
    """All files at once: what each visitor read, and the most resident memory meanwhile."""
    said, most = [], 0.0
    threads = [
        threading.Thread(target=sent, args=(port, number, content, said))
        for number, content in enumerate(contents)
    ]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        most = max(most, resident_mb(pid))
        time.sleep(0.02)
    return said, most


def test_many_huge_pictures_at_once(tmp_path):
    ramp = np.full((SIDE, SIDE), 0.5, np.float32)
    ramp[:10] = 1.0
    kinds = (
        bombs(Image.new("RGB", (SIDE, SIDE), (200, 90, 30)), "PNG", compress_level=1),
        bombs(Image.fromarray(ramp), "TIFF", compression="tiff_deflate"),
    )
    port = free_port()
    with running(port, tmp_path, VISION_HUB_CACHE_MB="500") as process:
        caller, (endpoint, values, side) = Caller(port, 99), ROUND[0]
        before = caller.ask(endpoint, values, side, fresh=False)[0]
        idle = settled(process.pid)
        for files in kinds:
            said, most = at_once(port, process.pid, files)
            print(f"idle {idle:.0f} MB, most {most:.0f} MB, {os.getloadavg()[0]:.1f} load")
            assert len(said) == AT_ONCE
            errors = [answer["error"] for event, answer in said if event == "event: error"]
            print(len(errors), set(errors))
            assert all("try again" in error and is_clear(error) for error in errors)
            assert len(errors) < AT_ONCE
            assert most - idle <= MOST_MB
        end = time.monotonic() + 2 * AT_MOST
        while resident_mb(process.pid) - idle > LEFT_MB and time.monotonic() < end:
            time.sleep(1)
        left = resident_mb(process.pid) - idle
        print(f"{left:.0f} MB left")
        assert left <= LEFT_MB
        assert caller.ask(endpoint, values, side, fresh=False)[0] == before
