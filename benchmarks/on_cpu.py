"""The app on a CPU, compared with the bare forward pass and naive demos; SAM's encoder.

Reports only ratios within one run and CPU seconds, because wall time depends on the machine.
"""

from __future__ import annotations

import io
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks import collage, driver, networks, servers
from benchmarks.goals import Goal, Section
from benchmarks.startup import ROOT

OVERHEAD_TASKS = ("classify", "detect", "reconstruct", "denoise")
PARTS = ("overhead", "demo", "encode")
SHARE, FLOOR_MS = 0.05, 10.0
PAUSE = 0.05
NETWORK = ("prepare", "estimate", "forward")  # stages of an answer
ENCODE_GOALS = {"fp32": 0.65, "bf16": 0.25}
EXTRA: dict[str, tuple[Any, ...]] = {
    "classify": (5, 1.0),
    "detect": (0.5,),
    "reconstruct": (0.75, 0),
    "denoise": (15,),
}


def data(task: str, key: str, paths: list[str], hub: bool) -> Any:
    """Request i of a task: a new picture, or for SAM another click on one of a few."""

    def inputs(i: int) -> list[Any]:
        x, y = 40 + 7 * (i % 60), 40 + 5 * (i % 50)
        if task == "segment":
            image = driver.picture(paths[i % 2])
            return [image, [[x, y, 1]], None, key, True] if hub else [image, x, y]
        image = driver.picture(paths[i])
        return [image, key, *EXTRA[task]] if hub else [image]

    return inputs


def keys(folder: Path) -> dict[str, str]:
    """The app's key for the file of each task."""
    from core.settings import get_settings
    from core.sources import resolver

    os.environ["VISION_HUB_CHECKPOINTS"] = str(folder)
    get_settings.cache_clear()
    tasks: Any = networks.TASKS
    return {t: next(c.key for c in resolver.of_task(t) if c.tier == "own") for t in tasks}


@contextmanager
def hub(folder: Path, device: str = "cpu") -> Iterator[servers.Server]:
    """The app with the files in `folder` as the owner's checkpoints."""
    settings = {"VISION_HUB_CHECKPOINTS": str(folder), "VISION_HUB_DEVICE": device}
    with servers.started("hub", VISION_HUB_STORE_MB="64", **settings) as server:
        yield server


def overhead(
    task: str, folder: Path, key: str, size: tuple[int, int], rounds: int, device: str = "cpu"
) -> tuple[Goal, Goal]:
    """Extra milliseconds of a request through the server over decoding and one forward pass.

    Both run in turns on the same pictures with one client; takes the median of the differences,
    because the machine's speed drifts by more than that. The limit is 5 % of the bare forward or
    10 ms.

    The second row has no limit: the time of an answer without the network and its input's
    preparation. It shows the server's cost even if the app's network is faster than the library's.
    """
    files = collage.jpegs(rounds + 1, *size)
    bare = networks.load(task, folder, device)
    with hub(folder, device) as server:
        paths = driver.upload(server.url, files)
        ask = driver.gradio_client(server.url, task, data(task, key, paths, True))()
        ask(rounds)
        bare(_open(files[rounds]))
        alone, more, rest = [], [], []
        for i in range(rounds):
            alone.append(_seconds(lambda i=i: bare(_open(files[i]))))  # type: ignore[misc]
            answers: list[Any] = []
            took = _seconds(lambda i=i, into=answers: into.extend(ask(i)))  # type: ignore[misc]
            more.append(took - alone[-1])
            stages = answers[-1]["seconds"]
            rest.append(took - sum(stages.get(stage, 0.0) for stage in NETWORK))
    limit = max(FLOOR_MS, SHARE * 1000 * statistics.median(alone))
    value, other = 1000 * statistics.median(more), 1000 * statistics.median(rest)
    return (
        Goal(f"{task}: server over bare forward", value, limit, False, " ms"),
        Goal(f"{task}: the answer without its input's preparation and forward", other, unit=" ms"),
    )


def overheads(
    tasks: Sequence[str],
    folder: Path,
    known: dict[str, str],
    size: tuple[int, int],
    rounds: int,
    device: str = "cpu",
) -> list[Goal]:
    """The rows of `overhead` for those of `tasks` that have a bare forward."""
    wanted = [task for task in OVERHEAD_TASKS if task in tasks]
    pairs = [overhead(task, folder, known[task], size, rounds, device) for task in wanted]
    return [row for rows in zip(*pairs, strict=True) for row in rows]


def _open(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB")


def _seconds(work: Callable[[], object]) -> float:
    """Time the call once the helper threads of earlier computations are asleep."""
    time.sleep(PAUSE)
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def loads(
    task: str,
    folder: Path,
    key: str,
    size: tuple[int, int],
    clients: int,
    budget: float,
    device: str = "cpu",
) -> tuple[driver.Load, driver.Load]:
    """Run naive demo and app with that many clients, for at most `budget` seconds each."""
    count = max(4, 2 * clients)
    files = collage.jpegs(count + 1, *size)
    found = []
    for kind in ("naive", "hub"):
        named = ("--task", task, "--folder", str(folder), "--device", device)
        naive = servers.started("naive", *named)
        with naive if kind == "naive" else hub(folder, device) as server:
            paths = driver.upload(server.url, files)
            endpoint = task if kind == "hub" else "predict"
            inputs = data(task, key, paths, kind == "hub")
            connect = driver.gradio_client(server.url, endpoint, inputs)
            connect()(count)
            found.append(driver.closed_loop(connect, clients, count, budget, server.pid))
    return found[0], found[1]


def against_naive(
    task: str, folder: Path, key: str, size: tuple[int, int], clients: int, budget: float
) -> list[str]:
    """One row: the app relative to the naive demo."""
    naive_load, hub_load = loads(task, folder, key, size, clients, budget)
    cpu = [f"{x.cpu_seconds:.2f}" if x.cpu_seconds else "?" for x in (naive_load, hub_load)]
    return [
        task,
        str(clients),
        f"{hub_load.rate / naive_load.rate:.2f}",
        f"{naive_load.p50 / hub_load.p50:.2f}",
        f"{cpu[0]} → {cpu[1]} s",
        str(len(naive_load.errors) + len(hub_load.errors)),
    ]


# --- SAM's encoder, each setting in its own process, because the allocator is process-wide ---

_ENCODER = """
import sys, time
if sys.argv[1] == "tuned":
    from core.cpu import allocator
    allocator.tune()
import torch
from segment_anything import sam_model_registry
torch.manual_seed(0)
torch.set_num_threads(1)
encoder = sam_model_registry["vit_b"]().image_encoder.eval()
encoder.blocks = encoder.blocks[:int(sys.argv[3])]
x = torch.randn(1, 3, 1024, 1024)
if sys.argv[1] == "tuned":
    from core.cpu import linear
    from core.sam import attention as sam_attention
    sam_attention.speed_up(encoder)
    linear.speed_up(encoder)
for _ in sys.stdin:
    started = time.process_time()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, sys.argv[2] == "bf16"):
        encoder(x)
    print(time.process_time() - started, flush=True)
"""


def encode(rounds: int, blocks: int) -> tuple[list[Goal], str]:
    """CPU seconds of SAM ViT-B's encoder as shares of stock fp32, by turns; and a note on bf16."""
    import torch

    from core.serving import precision

    settings = [("stock", "fp32"), ("tuned", "fp32")]
    bf16 = precision.is_supported(torch.device("cpu"))
    if bf16:
        settings.append(("tuned", "bf16"))
    running = [_encoder(allocator, kind, blocks) for allocator, kind in settings]
    seconds: list[list[float]] = [[] for _ in running]
    try:
        for i in range(rounds + 1):
            for process, times in zip(running, seconds, strict=True):
                used = _next(process)
                if i:  # the first pass of a process touches its memory for the first time
                    times.append(used)
    finally:
        for process in running:
            process.kill()
            process.wait(20)
    stock, *others = (statistics.median(times) for times in seconds)
    goals = [
        Goal(
            f"SAM ViT-B encode, {kind}, own allocator settings",
            s / stock,
            ENCODE_GOALS[kind],
            False,
        )
        for s, (_, kind) in zip(others, settings[1:], strict=True)
    ]
    note = "" if bf16 else "bf16 is not supported here: this processor has no such instructions."
    return goals, note


def _encoder(allocator: str, kind: str, blocks: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _ENCODER, allocator, kind, str(blocks)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)


def _next(process: subprocess.Popen[str]) -> float:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the encoder has no pipes")
    process.stdin.write("go\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def measure(
    folder: Path, quick: bool, load_seconds: float, parts: Sequence[str] = PARTS
) -> list[Section]:
    """The sections of docs/performance.md; `folder` is empty and takes the weight files.

    Args:
        load_seconds: maximum for each row of the comparison with the usual demo; every client gets
            at least one answer.
        parts: the members of `PARTS` to measure.
    """
    tasks = ("classify", "denoise") if quick else networks.TASKS
    networks.write(folder, small=quick)
    known = keys(folder)
    size = (320, 240) if quick else (480, 360)
    found = []
    if "overhead" in parts:
        found.append(_overhead_section(tasks, folder, known, size, quick))
    if "demo" in parts:
        found.append(
            _demo_section(tasks, folder, known, size, (4,) if quick else (1, 4, 16), load_seconds)
        )
    if "encode" in parts:
        section = Section("cpu-encode")
        goals, note = encode(1 if quick else 3, 2 if quick else 12)
        section.say("SAM's encoder on one core, CPU seconds as a share of stock PyTorch in fp32:")
        section.check(*goals)
        if note:
            section.say(note)
        found.append(section)
    return found


def _overhead_section(
    tasks: Sequence[str], folder: Path, known: dict[str, str], size: tuple[int, int], quick: bool
) -> Section:
    section = Section("cpu-overhead")
    section.say(
        ("Small networks, as a smoke test. " if quick else "Networks of the published sizes. ")
        + "Random weights; time does not depend on them. Every request has a new picture, except "
        "that SAM gets clicks on the same two."
    )
    rounds = 3 if quick else 15
    section.check(*overheads(tasks, folder, known, size, rounds))
    section.say(
        "Below zero, the app is faster than the libraries' own calls, thanks to its allocator "
        "settings and linear layers (`core/cpu/linear.py`). The rows without a goal show the "
        "server's cost: reading the picture, which the bare forward does too, Gradio, and drawing "
        "and writing the result."
    )
    return section


def _demo_section(
    tasks: Sequence[str],
    folder: Path,
    known: dict[str, str],
    size: tuple[int, int],
    counts: Sequence[int],
    load_seconds: float,
) -> Section:
    section = Section("cpu-demo")
    section.say("Compared with the usual demo, which loads its model in the function:")
    rows = [
        against_naive(task, folder, known[task], size, clients, load_seconds)
        for task in tasks
        for clients in counts
    ]
    head = ("task", "clients", "throughput, times", "latency, times", "server CPU", "errors")
    section.table(head, rows)
    return section
