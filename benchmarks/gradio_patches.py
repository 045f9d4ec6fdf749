"""What each patch of Gradio's private names gains, measured in turns.

    python -m benchmarks.gradio_patches [--write]

The app runs on the stand-in device, once complete and once without each patch, and 16 clients call
`/classify`, every time with a new picture. The table in docs/performance.md also has the number of
private names that each patch needs. Exits with 1 if a patch saves less than a twentieth of the
server's CPU time, or for the queue's interval of that while idle.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

from benchmarks import collage, driver, servers, standin
from benchmarks.goals import Section, machine, with_part

CLIENTS, REQUESTS, ROUNDS, IDLE_SECONDS = 16, 160, 3, 10.0
LEAST = 1.05
PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
FILES = {"light": "light.py", "sessions": "sessions.py", "look": "queue.py"}
WHAT = {
    "light": "small values are converted in place",
    "sessions": "no copy of the page's settings for each API call",
    "look": "the queue looks every 10 ms instead of every 1 ms",
}


def one(without: str | None, pictures: list[bytes]) -> tuple[float, float, float]:
    """CPU milliseconds per request, requests per second, and the share of a core while idle."""
    left_out = ("--without", without) if without else ()
    settings = {"VISION_HUB_BATCH": str(standin.BATCH), "VISION_HUB_DEVICE": "cpu"}
    with servers.started("hub", "--sim", *left_out, OMP_NUM_THREADS="1", **settings) as server:
        paths = driver.upload(server.url, pictures)
        connect = driver.gradio_client(
            server.url,
            "classify",
            lambda i: [driver.picture(paths[i]), "classify-starter", 5, 1.0],
        )
        connect()(REQUESTS)  # first use imports the libraries
        load = driver.closed_loop(connect, CLIENTS, REQUESTS, 60, server.pid)
        if load.errors:
            raise RuntimeError(load.errors[0])
        time.sleep(2)
        before = driver.cpu_seconds(server.pid) or 0.0
        time.sleep(IDLE_SECONDS)
        idle = ((driver.cpu_seconds(server.pid) or 0.0) - before) / IDLE_SECONDS
        return 1000 * (load.cpu_seconds or 0.0), load.rate, idle


def measure() -> tuple[Section, list[str]]:
    """The section, and the patches that gain too little."""
    from demos.gradio_patches.check import USED

    pictures = collage.jpegs(REQUESTS + 1, 640, 480)
    found: dict[str | None, list[tuple[float, float, float]]] = {}
    for _ in range(ROUNDS):
        for without in (None, *servers.PATCHES):
            found.setdefault(without, []).append(one(without, pictures))
    medians = {
        key: [statistics.median(column) for column in zip(*rows, strict=True)]
        for key, rows in found.items()
    }
    cpu, rate, idle = medians.pop(None)
    section, rows, weak = Section("patches"), [], []
    for name, (their_cpu, their_rate, their_idle) in medians.items():
        assert name is not None
        names = len(USED[f"demos/gradio_patches/{FILES[name]}"])
        rows.append(
            [
                *(WHAT[name], f"`{FILES[name]}`, {names} names"),
                *(f"{their_cpu:.1f} → {cpu:.1f} ms", f"{their_rate:.1f} → {rate:.1f}"),
                f"{100 * their_idle:.1f} → {100 * idle:.1f} %",
            ]
        )
        gain = their_idle / max(idle, 1e-3) if name == "look" else their_cpu / cpu
        if gain < LEAST:
            weak.append(name)
    section.table(("patch", "file", "CPU a request", "requests/s", "a core while idle"), rows)
    section.say(
        f"Without the patch → with it. Medians of {ROUNDS} runs by turns; {CLIENTS} clients, "
        f"{REQUESTS} requests to `/classify`, each with a new picture of 640 x 480."
    )
    return section, weak


def main() -> int:
    """Print the table, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    write, where = parser.parse_args().write, machine()
    section, weak = measure()
    section.say(f"`python -m benchmarks.gradio_patches`, on {where} at the start.")
    text = "\n".join(section.lines).rstrip()
    print(text)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_part(page, section.name, text), encoding="utf-8")
    if weak:
        print("gains too little:", ", ".join(weak))
    return int(bool(weak))


if __name__ == "__main__":
    sys.exit(main())
