"""The serving layer on the stand-in device: in process, and through Gradio beside a naive demo."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

from benchmarks import collage, driver, servers, standin
from benchmarks.goals import Goal, Section

EFFICIENCY, PENALTY_MS, GAIN, BESIDE_LONG = 0.95, 1.0, 3.5, 3.0
# Picture sizes. Reading a camera picture takes more CPU time than the device takes for it.
SMALL, LARGE = (640, 480), (1024, 768)
HEAD = (
    *("task", "picture", "demo's model", "clients", "demo/s", "hub/s", "times"),
    *("demo p50 ms", "hub p50 ms", "server CPU"),
)
ENDPOINTS: dict[str, tuple[Any, ...]] = {
    "detect": ("auto", 0.5),
    "classify": ("classify-starter", 5, 1.0),
    "reconstruct": ("auto", 0.75, 0),
}


def efficiency(clients: int = 16, requests: int = 400) -> float:
    """Pictures per second in process, relative to the device alone with full batches.

    The device alone is timed in the same run, before and after: on a busy machine, its sleeps take
    longer than requested.
    """
    from core.serving import runtime
    from core.serving.batching import Batcher

    batcher: Batcher[int, int] = Batcher(runtime.forward, standin.BATCH)

    def compute(items: Sequence[int]) -> Sequence[int]:
        standin.busy(len(items))
        return items

    def connect() -> driver.Ask:
        return lambda number: batcher.run("sim", number, compute)

    alone = _full_batches()
    rate = driver.closed_loop(connect, clients, requests, 30).rate
    return rate / ((alone + _full_batches()) / 2)


def _full_batches(count: int = 15) -> float:
    """Pictures a second of full batches one after another, with nothing between them."""
    started = time.perf_counter()
    for _ in range(count):
        standin.busy(standin.BATCH)
    return count * standin.BATCH / (time.perf_counter() - started)


def penalty(requests: int = 40) -> float:
    """Milliseconds by which a lone request is slower than the device alone; medians, by turns."""
    from core.serving import runtime
    from core.serving.batching import Batcher

    batcher: Batcher[int, int] = Batcher(runtime.forward, standin.BATCH)

    def compute(items: Sequence[int]) -> Sequence[int]:
        standin.busy(len(items))
        return items

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    direct, batched = [], []
    for i in range(requests):
        direct.append(timed(lambda: standin.busy(1)))
        batched.append(timed(lambda i=i: batcher.run("sim", i, compute)))  # type: ignore[misc]
    return 1000 * (statistics.median(batched) - statistics.median(direct))


def beside_long(requests: int = 40, jobs: int = 4) -> float:
    """p95 of short requests while `jobs` long ones keep the device busy, relative to no long jobs.

    A step of a long job takes as long as a short request. Both use the one queue of a GPU; a CPU
    has two.
    """
    from core.serving import runtime

    def load() -> driver.Load:
        def connect() -> driver.Ask:
            return lambda number: runtime.forward(lambda: standin.busy(1))

        return driver.closed_loop(connect, 1, requests, 30)

    alone, done = load(), threading.Event()
    one_queue = mock.patch.object(runtime, "_side_queue", runtime._device_queue)

    def job() -> None:
        while not done.is_set():
            runtime.forward(lambda: standin.busy(1), long=True)

    threads = [threading.Thread(target=job) for _ in range(jobs)]
    with one_queue:
        for thread in threads:
            thread.start()
        try:
            return load().p95 / alone.p95
        finally:
            done.set()
            for thread in threads:
                thread.join()


def through_gradio(
    task: str,
    clients: int = 16,
    requests: tuple[int, int] = (48, 160),
    limit: float = 30,
    keep: bool = False,
    size: tuple[int, int] = SMALL,
) -> tuple[driver.Load, driver.Load]:
    """(naive demo, hub), `requests` each at most; every picture is new.

    `keep` makes the demo keep its model in memory, as better ones do.
    """
    files = collage.jpegs(max(requests) + 1, *size)
    settings = {"VISION_HUB_BATCH": str(standin.BATCH), "VISION_HUB_DEVICE": "cpu"}
    loads = []
    for kind, endpoint, more, count in (
        ("naive", "predict", (), requests[0]),
        ("hub", task, ENDPOINTS[task], requests[1]),
    ):
        demo = ("--task", task, *(("--keep",) if keep else ()))
        arguments = ("--sim",) if kind == "hub" else demo
        with servers.started(kind, *arguments, OMP_NUM_THREADS="1", **settings) as server:
            paths = driver.upload(server.url, files)

            def data(i: int, paths: list[str] = paths, more: Any = more) -> list[Any]:
                return [driver.picture(paths[i]), *more]

            connect = driver.gradio_client(server.url, endpoint, data)
            connect()(count)  # first use imports the libraries
            loads.append(driver.closed_loop(connect, clients, count, limit, server.pid))
    return loads[0], loads[1]


def measure(quick: bool) -> Section:
    """The section of docs/performance.md."""
    section = Section("sim")
    section.say(
        f"A device that takes {1000 * standin.PASS_SECONDS:.0f} ms and "
        f"{1000 * standin.PICTURE_SECONDS:g} ms more per picture, one batch at a time: at best "
        f"{standin.IDEAL:.0f} pictures a second in batches of {standin.BATCH}. It shows how well "
        "the serving layer uses a GPU, independent of the machine."
    )
    section.check(
        Goal("in process, 16 clients, of the ideal", efficiency(), EFFICIENCY),
        Goal("a lone request, slower by", penalty(), PENALTY_MS, False, " ms"),
        Goal("short requests beside 4 long jobs, p95", beside_long(), BESIDE_LONG, False, " times"),
    )
    section.say(
        "Through Gradio, compared with the usual demo, which loads its model (here a starter) in "
        "the function, and with one that keeps it in memory; both send pictures as WebP and make "
        "no batches. Clients, demo and app share this machine's cores: with few cores, reading the "
        "pictures and Gradio itself are the bottleneck rather than the device, especially for "
        "large pictures. For Reconstruct the app sends three lossless pictures, the demo a single "
        "lossy one."
    )
    rows, goals = [], []
    some = (16,) if quick else (1, 4, 16)
    for task, size, keep, counts in (
        ("detect", SMALL, False, some),
        ("classify", SMALL, False, some),
        ("reconstruct", SMALL, False, some),
        ("detect", LARGE, False, (16,)),
        ("classify", LARGE, False, (16,)),
        ("reconstruct", LARGE, False, (16,)),
        ("detect", SMALL, True, some),
        ("classify", SMALL, True, some),
        ("reconstruct", SMALL, True, some),
    ):
        shown = f"{size[0]} x {size[1]}"
        for clients in counts:
            naive, hub = through_gradio(task, clients, keep=keep, size=size)
            rows.append([task, shown, "kept" if keep else "loaded", *_row(clients, naive, hub)])
            if clients == 16 and not keep:
                gain = hub.rate / naive.rate
                what = f"hub over demo, {task}, {shown}, 16 clients"
                goals.append(Goal(what, gain, GAIN, True, " times"))
    section.table(HEAD, rows)
    section.check(*goals)
    return section


def _row(clients: int, naive: driver.Load, hub: driver.Load) -> list[str]:
    cpu = [f"{1000 * x.cpu_seconds:.0f}" if x.cpu_seconds else "?" for x in (naive, hub)]
    return [
        str(clients),
        f"{naive.rate:.1f}",
        f"{hub.rate:.1f}",
        f"{hub.rate / naive.rate:.2f}",
        f"{1000 * naive.p50:.0f}",
        f"{1000 * hub.p50:.0f}",
        f"{cpu[0]} → {cpu[1]} ms",
    ]
