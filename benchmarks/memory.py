"""Memory for a 48-megapixel picture in each endpoint, and how soon it is released.

    python -m benchmarks.memory [--only segment] [--side 8000] [--write]

The app runs in a separate process. Each endpoint first gets a small picture, which loads its
libraries and model, and then the large one. The kernel reports the peak memory of the process
meanwhile and its memory a minute later. `--write` puts the table into docs/reliability.md. Exits
with 1 if a goal is missed. Needs Linux.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.faults import PAGE, write_section
from benchmarks.soak import Caller, running
from benchmarks.startup import free_port
from core.cpu import allocator

MB = 1e6
MOST = 400.0  # MB above picture and result while a request is answered
LEFT = 50.0  # MB that may remain; a heap never shrinks back completely
MINUTE = 60.0  # seconds for releasing the rest
SIDE = 8000  # pixels of the longer side; the shorter one is three quarters of it
SMALL = 320
# The other arguments, and a result's memory in multiples of the picture's.
ENDPOINTS: dict[str, tuple[list[Any], float]] = {
    "classify": (["auto", 5, 1.0], 0),
    "detect": (["auto", 0.7, ""], 1),
    "segment": ([[[200, 200, 1]], None, "auto", True], 1),
    "segment_everything": (["auto", 4], 1),
    "reconstruct": (["auto", 0.75, 0], 0),
    "denoise": (["auto", 20], 1),
    "deblur": (["auto"], 1),
    "super_resolve": (["auto", 2], 4),
}
# Of the side, where the whole picture is refused: twice as large it may have 64 megapixels.
SHARE = {"super_resolve": 0.575}


@dataclass(frozen=True, slots=True)
class Row:
    """Megabytes: `rise` at the peak, `left` after `seconds`."""

    endpoint: str
    picture: float
    result: float
    rise: float
    left: float
    seconds: float

    @property
    def above(self) -> float:
        """Peak memory beyond picture and result."""
        return self.rise - self.picture - self.result

    @property
    def holds(self) -> bool:
        """Whether both goals are met."""
        return self.above <= MOST and self.left <= LEFT


@cache
def photograph(side: int) -> bytes:
    """A JPEG file of (side * 3 / 4, side) pixels in soft colours with fine grain."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    grain = rng.integers(-6, 7, (512, 512, 1))
    picture = coarse.resize((side, side * 3 // 4), Image.Resampling.BICUBIC)
    for top in range(0, picture.height, 512):
        for left in range(0, picture.width, 512):
            part = np.asarray(picture.crop((left, top, left + 512, top + 512)))
            noisy = np.clip(part.astype(np.int16) + grain, 0, 255).astype(np.uint8)
            picture.paste(Image.fromarray(noisy), (left, top))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def in_memory(pid: int, name: str) -> float:
    """MB of a process: "VmRSS" now, "VmHWM" at most since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / MB
    raise ValueError(name)


def forget_peak(pid: int) -> None:
    """Reset "VmHWM" to the current memory."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def settled(pid: int, seconds: float, aim: float = 0.0) -> tuple[float, float]:
    """The lowest "VmRSS" in that time, and after how many seconds; ends early at `aim` MB."""
    started = time.monotonic()
    best = (in_memory(pid, "VmRSS"), 0.0)
    while best[0] > aim and time.monotonic() - started < seconds:
        time.sleep(0.25)
        best = min(best, (in_memory(pid, "VmRSS"), time.monotonic() - started))
    return best


def measured(caller: Caller, pid: int, endpoint: str, side: int) -> Row:
    """Measure one endpoint: warm it up with a small picture, then send the large one."""
    values, times = ENDPOINTS[endpoint]
    side = int(side * SHARE.get(endpoint, 1))
    content = photograph(side)
    for _ in range(2):
        caller.ask_about(endpoint, values, photograph(SMALL))
    before, _ = settled(pid, allocator.IDLE + 5)
    forget_peak(pid)
    caller.ask_about(endpoint, values, content)
    rise = in_memory(pid, "VmHWM") - before
    after, seconds = settled(pid, MINUTE, before + 5)
    picture = side * (side * 3 // 4) * 3 / MB
    return Row(endpoint, picture, picture * times, rise, after - before, seconds)


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| Endpoint | Picture, MB | Result, MB | Most above both, MB | Left, MB | after, s | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        numbers = (row.picture, row.result, row.above, row.left, row.seconds)
        cells = " | ".join(f"{number:.0f}" for number in numbers)
        word = "holds" if row.holds else "**exceeded**"
        lines.append(f"| `/{row.endpoint}` | {cells} | {word} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", action="append", choices=ENDPOINTS)
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of the longer side")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md")
    options = parser.parse_args()
    port = free_port()
    rows = []
    with tempfile.TemporaryDirectory() as name, running(port, Path(name)) as process:
        caller = Caller(port, 0, seconds=900)
        for endpoint, (values, _) in ENDPOINTS.items():  # by then startup has loaded everything
            caller.ask_about(endpoint, values, photograph(SMALL))
        for endpoint in options.only or ENDPOINTS:
            rows.append(measured(caller, process.pid, endpoint, options.side))
            print(rows[-1], file=sys.stderr, flush=True)
    print(table(rows))
    if options.write:
        write_section(PAGE, "memory", table(rows))
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main())
