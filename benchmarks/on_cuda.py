"""Absolute figures on a GPU: latency, pictures a second, memory, reloads, all five at once."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import networks, on_cpu
from benchmarks.collage import collage
from benchmarks.goals import Goal, Section
from core.serving import precision

# FLOP of one picture (multiply and add count as two) of the published sizes; DETR at 800 x 1066,
# SAM's encoder at 1024 x 1024, NAFNet-32 on 256 x 256.
GFLOP = {"classify": 35.1, "detect": 162.3, "segment": 972.0, "reconstruct": 19.6, "denoise": 32.0}
# Dense TFLOP/s by the makers' data sheets: (name contains, fp32 without TF32, bf16).
PEAKS = (("H200", 67.0, 989.0), ("H100", 67.0, 989.0), ("A100", 19.5, 312.0), ("L4", 30.3, 121.0))
SHAPES = {
    "classify": (3, 224, 224),
    "detect": (3, 800, 1066),
    "segment": (3, 1024, 1024),
    "reconstruct": (3, 224, 224),
    "denoise": (3, 256, 256),
}
RELOAD_GOAL_MS = 20.0


def sync(where: torch.device) -> None:
    """Wait until the device has finished all its work."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def timed(work: Callable[[], object], where: torch.device, rounds: int) -> float:
    """Median milliseconds of `work`, including the device's work, after two warm-up calls."""
    times = []
    for i in range(rounds + 2):
        sync(where)
        started = time.perf_counter()
        work()
        sync(where)
        if i > 1:
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def module_of(task: str, key: str) -> torch.nn.Module:
    """The app's module of a checkpoint, from its model cache; SAM's without the decoder."""
    import importlib

    from core.serving import runtime

    name: Any = task
    build = importlib.import_module(f"core.{'restore' if task == 'denoise' else task}")._build
    with runtime.run(name, key, build) as run:
        module = run.lease.built.module
    encoder = getattr(module, "image_encoder", module)
    return encoder if isinstance(encoder, torch.nn.Module) else module


def throughput(
    module: torch.nn.Module, task: str, batch: int, bf16: bool, where: torch.device, rounds: int
) -> float:
    """Median milliseconds of one pass of `batch` pictures."""
    x = torch.randn(batch, *SHAPES[task], device=where)

    def work() -> None:
        with torch.inference_mode(), torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            module(x)

    return timed(work, where, rounds)


def share_of_limit(task: str, batch: int, ms: float, bf16: bool, name: str) -> str:
    """Measured arithmetic over the data sheet's; "?" for a card that is not listed."""
    for part, fp32, half in PEAKS:
        if part in name:
            done = GFLOP[task] * batch / ms  # GFLOP per ms are TFLOP per s
            return f"{100 * done / (half if bf16 else fp32):.1f} %"
    return "?"


def request_ms(task: str, key: str, where: torch.device, rounds: int) -> float:
    """Median milliseconds of one call of `core`, a new picture each time."""
    import numpy as np

    from core import classify, detect, reconstruct, restore, segment

    pixels = np.asarray(collage(640, 480))
    calls: dict[str, Callable[[Any], object]] = {
        "classify": lambda rgb: classify.predict(rgb, key),
        "detect": lambda rgb: detect.predict(rgb, key),
        "segment": lambda rgb: segment.predict(rgb, [[100, 100, 1]], checkpoint=key),
        "reconstruct": lambda rgb: reconstruct.predict(rgb, key),
        "denoise": lambda rgb: restore.denoise(rgb, key, sigma=15),
    }
    numbers = iter(range(1, 10_000))
    return timed(lambda: calls[task](np.roll(pixels, next(numbers), 1)), where, rounds)


def reload_ms(task: str, key: str, where: torch.device, rounds: int) -> tuple[float, float]:
    """(from pinned RAM, from the disk): median milliseconds until the weights are on the device."""
    from core.serving import runtime

    module = module_of(task, key)
    pin = where.type == "cuda"
    kept = [t.detach().cpu() for t in module.state_dict().values()]
    kept = [t.pin_memory() for t in kept] if pin else kept

    def from_ram() -> None:
        for tensor in kept:
            tensor.to(where, non_blocking=True, copy=True)

    def from_disk() -> None:
        runtime.models().drop_idle()
        module_of(task, key)

    return timed(from_ram, where, rounds), timed(from_disk, where, max(1, rounds // 3))


def measure(folder: Path, quick: bool, device: str = "cuda") -> Section:
    """The section of docs/performance.md. `device` "cpu" is only for testing the script."""
    from core.serving import runtime

    where, rounds = torch.device(device), 2 if quick else 20
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "no GPU"
    networks.write(folder, small=quick)
    known = on_cpu.keys(folder)
    section = Section("cuda")
    section.say(f"On {name}, PyTorch {torch.__version__}. Random weights of the published sizes.")
    tasks = [task for task in networks.TASKS if not (quick and task == "segment")]
    rows = []
    for task in tasks:
        for bf16 in (False, True):
            rows.append(_row(task, known[task], bf16, where, rounds, name))
        runtime.models().drop_idle()
    head = ("task", "precision", "request ms", "pass of 1, ms", "pictures/s by 16", "of the limit")
    section.table((*head, "peak MB"), rows)
    reloads = {task: reload_ms(task, known[task], where, rounds) for task in tasks}
    section.check(
        *(
            Goal(f"{task}: reload from pinned RAM", ram, RELOAD_GOAL_MS, False, " ms")
            for task, (ram, _) in reloads.items()
        ),
        *(
            Goal(f"{task}: reload from disk", disk, unit=" ms")
            for task, (_, disk) in reloads.items()
        ),
    )
    for task in tasks:
        request_ms(task, known[task], where, 1)
    status: Any = runtime.status()
    section.say(
        f"All {len(tasks)} in memory at once: {len(status['models'])} models, "
        f"{status['used_mb']} MB of weights, {_allocated(where):.0f} MB allocated."
    )
    runtime.models().drop_idle()  # the servers are separate processes and need the memory
    _served(section, folder, known, quick, device)
    return section


def _served(
    section: Section, folder: Path, known: dict[str, str], quick: bool, device: str
) -> None:
    """The app compared with the bare forward pass and the usual demo, in absolute values."""
    size = (320, 240) if quick else (480, 360)
    tasks = ("classify",) if quick else networks.TASKS
    rounds = 3 if quick else 30
    section.check(*on_cpu.overheads(tasks, folder, known, size, rounds, device))
    section.say("Compared with the usual demo, which loads its model in the function:")
    rows = []
    for task in tasks:
        for clients in (4,) if quick else (1, 4, 16):
            seconds = 2.0 if quick else 15.0
            demo, hub = on_cpu.loads(task, folder, known[task], size, clients, seconds, device)
            cells = [f"{demo.rate:.2f}", f"{hub.rate:.2f}", f"{hub.rate / demo.rate:.2f}"]
            cells += [f"{1000 * load.p50:.0f}" for load in (demo, hub)]
            cells.append(str(len(demo.errors) + len(hub.errors)))
            rows.append([task, str(clients), *cells])
    head = ("task", "clients", "demo/s", "hub/s", "times", "demo p50 ms", "hub p50 ms", "errors")
    section.table(head, rows)


def _row(task: str, key: str, bf16: bool, where: torch.device, rounds: int, name: str) -> list[str]:
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    module = module_of(task, key)
    batch = 2 if where.type == "cpu" else 16
    one = throughput(module, task, 1, bf16, where, rounds)
    many = throughput(module, task, batch, bf16, where, rounds)
    with precision.forced("bf16" if bf16 else "fp32"):
        asked = f"{request_ms(task, key, where, rounds):.1f}"
    peak = torch.cuda.max_memory_allocated(where) / 1e6 if where.type == "cuda" else 0.0
    return [
        task,
        "bf16" if bf16 else "fp32",
        asked,
        f"{one:.2f}",
        f"{1000 * batch / many:.0f}",
        share_of_limit(task, batch, many, bf16, name),
        f"{peak:.0f}",
    ]


def _allocated(where: torch.device) -> float:
    return torch.cuda.memory_allocated(where) / 1e6 if where.type == "cuda" else 0.0
