"""Replicas behind the page: how throughput grows, what a death costs, and where pictures go.

    python -m benchmarks.scale [--quick] [--write]

It needs Ray (requirements-scale.txt). `--write` puts the result into docs/scaling.md.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks import collage, driver, standin
from benchmarks.goals import Goal, Section, machine, with_part
from benchmarks.startup import ROOT
from core.serving import backends
from demos.shell import elsewhere

PAGE = ROOT / "docs" / "scaling.md"
STAND_IN = "benchmarks.standin.install"
CLIENTS, PICTURES, USERS_CLICKS = 16, 12, 15
ALONE = 1 / (standin.PASS_SECONDS + standin.PICTURE_SECONDS)  # pictures a second, one by one


@dataclass(frozen=True, slots=True)
class Death:
    """Load on replicas of which one is killed: calls, those lost, the longest time without any
    answer and the longest call, in seconds."""

    calls: int
    lost: int
    gap: float
    slowest: float


def fresh(number: int) -> Any:
    """(64, 64, 3) uint8 that no replica has seen."""
    return np.random.default_rng([os.getpid(), time.monotonic_ns(), number]).integers(
        0, 256, (64, 64, 3), np.uint8
    )


def throughput(requests: int) -> driver.Load:
    """Calls that take the stand-in device, each with a new picture, `CLIENTS` at a time."""

    def connect() -> driver.Ask:
        return lambda number: standin.occupy(fresh(number))

    return driver.closed_loop(connect, CLIENTS, requests, 60)


def growth(counts: tuple[int, ...], rounds: int, requests: int) -> dict[int, list[float]]:
    """Pictures a second for each number of replicas; the numbers take turns."""
    from scale import cluster

    rates: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            cluster.scale_to(count, cpus=0.1, setup=STAND_IN)
            settled()
            rates[count].append(throughput(requests * count).rate)
    return rates


def settled() -> None:
    """Wait until this process knows the replicas, and each has loaded its model."""
    import ray

    from scale import cluster, page

    backends.use(page.Ray(), [*elsewhere.modules(), standin])
    given = {"image": fresh(0), "checkpoint": "classify-starter"}
    call = backends.Call("core.classify.predict", given)
    ray.get([ray.get_actor(name).answer.remote(call) for name in cluster.names()])


def death(replicas: int, seconds: float) -> Death:
    """Kill one replica (SIGKILL) in the middle of a load of `CLIENTS`."""
    import ray

    from core import classify
    from scale import cluster

    cluster.scale_to(replicas, cpus=0.1, setup=STAND_IN)
    settled()
    victim = ray.get(ray.get_actor(cluster.names()[0]).pid.remote())
    lock, began = threading.Lock(), time.perf_counter()
    ends: list[float] = []
    spent: list[float] = []
    lost: list[str] = []

    def client(number: int) -> None:
        while time.perf_counter() - began < seconds:
            asked = time.perf_counter()
            try:
                classify.predict(fresh(number), "classify-starter")
            except Exception as error:  # count any failure
                lost.append(repr(error))
            with lock:
                ends.append(time.perf_counter())
                spent.append(ends[-1] - asked)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 2)
    os.kill(victim, signal.SIGKILL)
    for thread in threads:
        thread.join()
    ends.sort()
    gap = max(after - before for before, after in pairwise(ends))
    return Death(len(ends), len(lost), gap, max(spent))


def clicks(replicas: int) -> tuple[int, int]:
    """(clicks, encodes): `PICTURES` people click on a picture each, at the same time, with the real
    starter of Segment."""
    from core import images, segment
    from scale import cluster, page

    cluster.scale_to(0)
    cluster.scale_to(replicas, cpus=0.1)
    backends.use(page.Ray(), elsewhere.modules())
    files = collage.jpegs(PICTURES, 320, 240)
    found: Counter[str] = Counter()

    def person(content: bytes) -> None:
        picture = images.picture(images.decode(content))
        for number in range(USERS_CLICKS):
            at = [20 + 18 * number, 20 + 13 * number, 1]
            masks = segment.predict(picture, [at], checkpoint="segment-starter")
            found[masks.info.cache["embedding"]] += 1

    threads = [threading.Thread(target=person, args=(content,)) for content in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found.total(), found["miss"]


def hop(requests: int = 60) -> tuple[float, float]:
    """Median milliseconds of a kept answer: here, and on a replica; by turns."""
    from core import classify
    from scale import page

    there = page.Ray()
    picture = fresh(0)

    def timed(backend: Any) -> float:
        backends.stop()
        if backend is not None:
            backends.use(backend, elsewhere.modules())
        started = time.perf_counter()
        classify.predict(picture, "classify-starter")
        return 1000 * (time.perf_counter() - started)

    for backend in (None, there):
        timed(backend)
    pairs = [(timed(None), timed(there)) for _ in range(requests)]
    here, remote = zip(*pairs, strict=True)
    return statistics.median(here), statistics.median(remote)


def measure(quick: bool) -> Section:
    """The section of docs/scaling.md."""
    section = Section("measured")
    counts = (1, 2, 4)
    rates = growth(counts, 1 if quick else 3, 60 if quick else 150)
    middle = {count: statistics.median(found) for count, found in rates.items()}
    rows = [
        [
            str(count),
            f"{middle[count]:.1f}",
            f"{min(found):.1f} to {max(found):.1f}",
            f"{count * ALONE:.1f}",
            f"{middle[count] / middle[1]:.2f}",
        ]
        for count, found in rates.items()
    ]
    section.say(
        f"Calls that only take the stand-in device for {1000 / ALONE:.1f} ms, each with a new "
        f"picture, without batches; {CLIENTS} clients, and all processes on the cores of one "
        "machine. The numbers of replicas take turns; medians of three rounds."
    )
    section.table(("replicas", "pictures/s", "range", "device's limit", "times"), rows)
    section.check(
        Goal("2 replicas over 1", middle[2] / middle[1], 1.9, True, " times"),
        Goal("4 replicas over 1", middle[4] / middle[1], 3.3, True, " times"),
    )
    deaths = {count: death(count, 6 if quick else 16) for count in (2, 1)}
    section.say(
        f"Classify on the stand-in device for {CLIENTS} clients, one replica killed with SIGKILL:"
    )
    section.table(
        ("replicas", "calls", "lost", "longest pause", "slowest call"),
        [
            [str(count), str(one.calls), str(one.lost), f"{one.gap:.2f} s", f"{one.slowest:.2f} s"]
            for count, one in deaths.items()
        ],
    )
    made, encodes = clicks(3)
    here, there = hop()
    section.check(
        Goal("calls lost when one of 2 dies", deaths[2].lost, 0, False),
        Goal("calls lost when the only one dies", deaths[1].lost, 0, False),
        Goal(f"encodes, {PICTURES} pictures, {made} clicks, 3 replicas", encodes, PICTURES, False),
        Goal("a kept answer, on a replica over here", there - here, 10, False, " ms"),
    )
    return section


def main() -> int:
    """Measure, print, write; 1 if a goal was missed, 2 without Ray."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="shorter, one round")
    parser.add_argument("--write", action="store_true", help="into docs/scaling.md")
    args = parser.parse_args()
    os.environ.update(VISION_HUB_OFFLINE="1", VISION_HUB_DEVICE="cpu", VISION_HUB_BATCH="1")
    os.environ.pop("RAY_ADDRESS", None)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    before, started = machine(), time.perf_counter()
    return _with_cluster(lambda: _tell(measure(args.quick), before, started, args.write))


def _tell(section: Section, before: str, started: float, write: bool) -> int:
    seconds = time.perf_counter() - started
    section.say(f"`python -m benchmarks.scale`: {seconds:.0f} s on {before} at the start.")
    content = "\n".join(section.lines).strip()
    print(content)
    if write:
        PAGE.write_text(with_part(PAGE.read_text("utf-8"), section.name, content), "utf-8")
    return 1 if section.missed else 0


def _with_cluster(work: Callable[[], int]) -> int:
    from scale import cluster, environment

    try:
        ray = cluster.connect(start=True)
    except ImportError:
        print(environment.MISSING)
        return 2
    try:
        return work()
    finally:
        ray.shutdown()


if __name__ == "__main__":
    sys.exit(main())
