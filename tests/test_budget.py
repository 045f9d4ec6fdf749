"""All tasks at once on a budget of two models: never over it, never another picture's answer."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core import classify, detect, reconstruct, restore, segment
from core.serving import runtime
from tests import nets
from tests.conftest import make_picture

STATM = Path("/proc/self/statm")


@pytest.fixture
def every_task(shelf, settings):
    """One small net for each task, and calls that give each task's answer as one array."""
    shelf.starter("classify", *nets.vit(), name="vit")
    shelf.starter("detect", *nets.detr(), name="detr")
    shelf.starter("segment", *nets.own_sam(), name="sam")
    shelf.starter("reconstruct", *nets.mae(), name="mae")
    shelf.starter("denoise", nets.nafnet(), {}, name="clean")
    shelf.starter("super_resolve", nets.compact(2), {}, name="enlarge", scale=2)
    shelf.starter("deblur", nets.nafnet(), {}, name="sharp")
    return {
        "classify": lambda p: classify.predict(p).scores,
        "detect": lambda p: detect.predict(p, threshold=0).boxes,
        "segment": lambda p: segment.predict(p, [[20, 20, 1]]).masks,
        "reconstruct": lambda p: reconstruct.predict(p).image,
        "denoise": lambda p: restore.denoise(p, sigma=20).image,
        "super_resolve": lambda p: restore.super_resolve(p).image,
        "deblur": lambda p: restore.deblur(p).image,
    }


@pytest.mark.slow
def test_sixteen_threads_mix_all_tasks_with_room_for_two_models(every_task, picture):
    pictures = [picture(48, 40, seed) for seed in range(3)]
    alone = {(name, i): run(p) for name, run in every_task.items() for i, p in enumerate(pictures)}
    sizes = model_bytes()
    runtime.outputs().clear()
    cache = runtime.models()
    cache.drop_idle()
    before = cache.meter.evictions
    cache.budget = sum(sorted(sizes)[-2:])
    excess, done = [], threading.Event()

    def watch():
        while not done.wait(0.0005):
            if (used := cache.used) > cache.budget:
                excess.append(used)

    def visitor(seed):
        rng = np.random.default_rng(seed)
        names = list(every_task)
        for _ in range(12):
            name, i = names[rng.integers(len(names))], int(rng.integers(3))
            answer = every_task[name](pictures[i])
            assert np.allclose(answer, alone[name, i], atol=1e-4), (name, i)
        return True

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(visitor, range(16)))
    finally:
        done.set()
        watcher.join()
    stats = cache.stats()
    assert not excess
    assert stats["evictions"] - before > 7, "the budget was never short"
    assert stats["hits"] + stats["misses"] >= 16 * 12
    assert all(model["in_use"] == 0 for model in stats["models"])


def model_bytes():
    """Bytes of each model in memory."""
    return [entry.nbytes for entry in runtime.models()._entries.values()]


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads Linux's /proc")
def test_after_fifty_switches_memory_is_back_within_five_per_cent():
    """In a process of its own: other tests' threads would change the memory of this one."""
    code = "from tests import test_budget; test_budget.fifty_switches()"
    calm = {"VISION_HUB_DEVICE": "cpu", "VISION_HUB_PRECISION": "fp32", "VISION_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent.parent, env={**os.environ, **calm},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after, evictions = map(float, done.stdout.split()[-3:])
    assert evictions > 50 / 2, "the budget was never short"  # how many depends on the models' sizes
    assert after <= 1.05 * before


def fifty_switches():
    """With the starters, on a budget of the two largest; prints memory before and after in MB, and
    how many models were evicted."""
    grey = make_picture(64, 64)
    tasks = (
        lambda: classify.predict(grey),
        lambda: detect.predict(grey),
        lambda: segment.predict(grey, [[9, 9, 1]]),
        lambda: reconstruct.predict(grey),
        lambda: restore.denoise(grey),
        lambda: restore.super_resolve(grey),
        lambda: restore.deblur(grey),
    )
    for task in tasks:
        task()
    budget = sum(sorted(model_bytes())[-2:])
    runtime.models().drop_idle()
    runtime.models().budget = budget
    for switch in range(2 * len(tasks)):
        tasks[switch % len(tasks)]()
    before, evicted = resident_mb(), runtime.models().meter.evictions
    for switch in range(50):
        tasks[switch % len(tasks)]()
    print(before, resident_mb(), runtime.models().meter.evictions - evicted)


def resident_mb():
    """Memory of this process once the outputs are forgotten and the allocator gives back."""
    runtime.outputs().clear()
    gc.collect()
    with contextlib.suppress(AttributeError):  # a libc other than glibc
        ctypes.CDLL(None).malloc_trim(0)
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
