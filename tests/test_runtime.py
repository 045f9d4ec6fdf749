"""The model cache, the output store and the device queue, under threads and when memory ends."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import threading
import time
import types
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from core.checkpoints import Checkpoint
from core.errors import CheckpointError, DamagedFile, DeviceLost, InputError, OutOfMemory
from core.serving import model_cache, precision, runtime
from core.serving.model_cache import Built, ModelCache, module_bytes
from core.serving.output_store import OutputStore, value_bytes
from core.sources import resolver
from core.sources.resolver import Resolved
from tests.conftest import PATIENCE

SIDE = 64
NBYTES = SIDE * SIDE * 4  # of one linear layer without bias


def linear(_: Resolved | None = None) -> Built:
    return Built(torch.nn.Linear(SIDE, SIDE, bias=False), None)


@pytest.fixture
def file(tmp_path):
    """Resolved weight files that are as large as the models which `linear` builds."""

    def make(name, nbytes=NBYTES):
        path = tmp_path / f"{name}.pth"
        path.write_bytes(b"\0" * nbytes)
        return Resolved(Checkpoint(name, "classify", "timm", str(path), "MIT"), "own", path)

    return make


def together(work, count=16):
    """Run `work(i)` in `count` threads that start at once; their results in order."""
    start = threading.Barrier(count)

    def one(i):
        start.wait()
        return work(i)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# --- models ---


def test_sixteen_threads_load_once(file):
    cache, builds, resolved = ModelCache(10 * NBYTES), [], file("a")

    def build(r):
        builds.append(r)
        time.sleep(0.05)
        return linear()

    def work(_):
        with cache.lease("a", resolved, build) as lease:
            return lease.built.module, lease.hit

    results = together(work)
    assert len(builds) == 1
    assert len({id(module) for module, _ in results}) == 1
    assert sorted(hit for _, hit in results) == [False] + [True] * 15
    stats = cache.stats()
    assert (stats["hits"], stats["misses"], stats["evictions"]) == (15, 1, 0)
    assert stats["load_seconds"] >= 0.05
    assert stats["models"][0]["in_use"] == 0


def test_keys_load_side_by_side(file):
    """A slow load of one model does not hold up another."""
    cache = ModelCache(10 * NBYTES)
    meet = threading.Barrier(2, timeout=PATIENCE)

    def build(_):
        meet.wait()  # breaks unless both builds run at the same time
        return linear()

    def work(i):
        with cache.lease(i, file(f"m{i}"), build):
            return True

    assert together(work, 2) == [True, True]


def test_least_recently_used_goes_first(file):
    cache = ModelCache(2 * NBYTES)
    for name in ("a", "b", "a", "c"):
        with cache.lease(name, file(name), linear):
            pass
    assert [m["checkpoint"] for m in cache.stats()["models"]] == ["a", "c"]
    assert cache.meter.evictions == 1


@pytest.fixture
def after(monkeypatch):
    """Builders that take so many seconds by the clock of the cache, whatever the machine does."""
    now = [0.0]
    clock = types.SimpleNamespace(monotonic=time.monotonic, perf_counter=lambda: now[0])
    monkeypatch.setattr(model_cache, "time", clock)

    def taking(seconds):
        def build(_):
            now[0] += seconds
            return linear()

        return build

    return taking


def test_what_is_cheap_to_load_again_goes_first(file, after, monkeypatch):
    """Of two models of one size, the one whose load took four times as long stays, though older."""
    monkeypatch.setattr(model_cache, "MIN_RELOAD", 0.01)
    cache = ModelCache(2 * NBYTES)
    for name, seconds in (("dear", 0.08), ("cheap", 0.02), ("new", 0.02)):
        with cache.lease(name, file(name), after(seconds)):
            pass
    assert [m["checkpoint"] for m in cache.stats()["models"]] == ["dear", "new"]


def test_of_two_loads_of_one_cost_the_larger_model_goes_first(file, monkeypatch):
    """It frees more bytes for the same seconds."""
    monkeypatch.setattr(model_cache, "MIN_RELOAD", 100)  # all cost the same
    cache = ModelCache(4 * NBYTES)
    large = lambda _: Built(torch.nn.Linear(SIDE, 2 * SIDE, bias=False), None)  # noqa: E731
    for name, build in (("small", linear), ("large", large), ("other", linear), ("new", linear)):
        with cache.lease(name, file(name), build):
            pass
    assert [m["checkpoint"] for m in cache.stats()["models"]] == ["small", "other", "new"]


def test_a_dear_model_that_nobody_uses_goes_in_the_end(file, after, monkeypatch):
    monkeypatch.setattr(model_cache, "MIN_RELOAD", 0.01)
    cache = ModelCache(2 * NBYTES)
    with cache.lease("dear", file("dear"), after(0.05)):
        pass
    for i in range(30):
        with cache.lease(i % 3, file(f"m{i % 3}"), after(0.01)):
            pass
    assert "dear" not in [m["checkpoint"] for m in cache.stats()["models"]]


def test_a_pinned_model_stays_until_it_is_unpinned(file):
    cache = ModelCache(2 * NBYTES, wait_seconds=0.05)
    for name in ("a", "b"):
        with cache.lease(name, file(name), linear):
            pass
    cache.pin("a")
    with pytest.raises(InputError, match="half of the memory"):
        cache.pin("b")
    for name in ("c", "d", "c"):
        with cache.lease(name, file(name), linear):
            pass
    assert [m["checkpoint"] for m in cache.stats()["models"] if m["pinned"]] == ["a"]
    cache.drop_idle()
    assert cache.used == NBYTES
    big = file("big", 2 * NBYTES)  # it says at once that waiting would not help
    refusal = "Pinned models leave 0 MB, too little for big"
    with pytest.raises(OutOfMemory, match=refusal), cache.lease("big", big, linear):
        pass
    cache.pin("a", pinned=False)
    with cache.lease("big", big, linear):
        assert [m["checkpoint"] for m in cache.stats()["models"]] == ["big"]


def test_unload(file):
    cache = ModelCache(2 * NBYTES)
    with cache.lease("a", file("a"), linear), pytest.raises(InputError, match="in use"):
        cache.unload("a")
    cache.pin("a")
    assert cache.unload("a") == NBYTES
    assert cache.used == 0
    for act in (cache.unload, cache.pin):
        with pytest.raises(InputError, match="not in memory"):
            act("a")


def test_model_in_use_is_never_evicted(file):
    cache = ModelCache(2 * NBYTES, wait_seconds=0.05)
    with cache.lease("a", file("a"), linear) as first, cache.lease("b", file("b"), linear):
        refusal = "no room for c while other models are in use"
        with pytest.raises(OutOfMemory, match=refusal), cache.lease("c", file("c"), linear):
            pass
        assert cache.drop_idle() == 0
        with cache.lease("a", file("a"), linear) as again:
            assert again.hit
            assert again.built.module is first.built.module
    with cache.lease("c", file("c"), linear):
        pass


def test_idle_model_stays_where_its_eviction_would_not_help(file):
    cache = ModelCache(3 * NBYTES, wait_seconds=0.05)
    with cache.lease("idle", file("idle"), linear):
        pass
    with (
        cache.lease("busy", file("busy"), linear),
        pytest.raises(OutOfMemory),
        cache.lease("big", file("big", 3 * NBYTES), linear),
    ):
        pass
    assert [m["checkpoint"] for m in cache.stats()["models"]] == ["idle", "busy"]


def test_request_without_room_waits_for_a_lease_to_end(file):
    cache, order = ModelCache(NBYTES, wait_seconds=30), []
    held, leave = threading.Event(), threading.Event()

    def first():
        with cache.lease("a", file("a"), linear):
            held.set()
            leave.wait(PATIENCE)
            order.append("a ends")

    def second():
        with cache.lease("b", file("b"), linear):
            order.append("b begins")

    threads = [threading.Thread(target=first)]
    threads[0].start()
    held.wait(PATIENCE)
    threads.append(threading.Thread(target=second))
    threads[1].start()
    time.sleep(0.05)
    assert order == []
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == ["a ends", "b begins"]


def test_budget_holds_under_threads(file):
    """Room for two of five models, twelve threads: never a third, and nobody starves."""
    cache = ModelCache(2 * NBYTES, wait_seconds=60)
    files = [file(f"m{i}") for i in range(5)]
    held, most, lock, excess, modules = Counter(), 0, threading.Lock(), [], weakref.WeakSet()

    def build(_):
        built = linear()
        modules.add(built.module)
        return built

    def work(i):
        nonlocal most
        for which in np.random.default_rng(i).integers(0, 5, 25):
            with cache.lease(int(which), files[which], build):
                with lock:
                    held[which] += 1
                    most = max(most, sum(count > 0 for count in held.values()))
                if (used := cache.used) > cache.budget:
                    excess.append(used)
                time.sleep(0.001)
                with lock:
                    held[which] -= 1
        return True

    assert all(together(work, 12))
    assert not excess
    assert most == 2
    gc.collect()
    assert len(modules) <= 2  # evicted models are really gone
    stats = cache.stats()
    assert stats["hits"] + stats["misses"] == 12 * 25
    assert stats["evictions"] == stats["misses"] - len(stats["models"]) >= 3


def test_model_larger_than_the_budget(file):
    cache, builds = ModelCache(2 * NBYTES), []
    refusal = r"huge needs about \d+ MB and the memory for models is \d+ MB; choose a smaller"
    with (
        pytest.raises(OutOfMemory, match=refusal),
        cache.lease("huge", file("huge", 2 * NBYTES + 1), lambda r: builds.append(r) or linear()),
    ):
        pass
    assert builds == []
    assert cache.used == 0


@pytest.mark.parametrize("size_of_file", [1, NBYTES // 2])
def test_file_that_says_too_little_of_its_model(file, size_of_file):
    """Once built, the model makes room for what it really takes, or is refused."""
    cache = ModelCache(2 * NBYTES)
    for name in ("a", "b", "c"):
        with cache.lease(name, file(name, size_of_file), linear):
            assert cache.used <= cache.budget
    assert cache.used == 2 * NBYTES
    small = ModelCache(NBYTES - 1)
    with pytest.raises(OutOfMemory), small.lease("a", file("a", size_of_file), linear):
        pass
    assert small.used == 0
    assert small.stats()["models"] == []


def test_file_that_says_too_much_gives_the_rest_back(file):
    cache = ModelCache(4 * NBYTES)
    with cache.lease("a", file("a", 3 * NBYTES), linear):
        assert cache.used == NBYTES


def test_failed_build_gives_its_room_back(file):
    cache, resolved, tries = ModelCache(NBYTES), file("a"), []

    def build(_):
        tries.append(1)
        if len(tries) == 1:
            raise DamagedFile("cut off")
        return linear()

    with pytest.raises(DamagedFile), cache.lease("a", resolved, build):
        pass
    assert cache.used == 0
    with cache.lease("b", file("b"), linear):
        pass
    with cache.lease("a", resolved, build) as lease:
        assert not lease.hit
    assert cache.stats()["misses"] == 2


def test_error_inside_a_lease_ends_it(file):
    cache = ModelCache(NBYTES)
    with pytest.raises(ZeroDivisionError), cache.lease("a", file("a"), linear):
        raise ZeroDivisionError
    assert cache.stats()["models"][0]["in_use"] == 0
    assert cache.drop_idle() == NBYTES


def test_bytes_of_parameters_and_buffers():
    assert module_bytes(torch.nn.BatchNorm1d(8)) == 4 * 8 * 4 + 8
    assert module_bytes(torch.nn.Linear(4, 2).half()) == 2 * (8 + 2)
    shared = torch.nn.Linear(4, 4, bias=False)
    assert module_bytes(torch.nn.Sequential(shared, shared)) == 64


# --- outputs ---


def test_store_computes_once_under_threads():
    store, computed = OutputStore(10**6), []

    def compute():
        computed.append(1)
        time.sleep(0.05)
        return np.ones(10)

    results = together(lambda _: store.get_or_compute("k", compute))
    assert len(computed) == 1
    assert len({id(value) for value, _ in results}) == 1
    assert sorted(hit for _, hit in results) == [False] + [True] * 15
    assert store._key_locks == {}


def test_store_is_bounded_and_forgets_the_oldest():
    store = OutputStore(1000)
    for key in ("a", "b", "a", "c"):  # 400 bytes each: two fit
        store.get_or_compute(key, lambda: np.zeros(100, np.float32))
    assert store.stats()["values"] == 2
    assert store.get_or_compute("a", lambda: None)[1]
    assert store.get_or_compute("c", lambda: None)[1]
    assert not store.get_or_compute("b", lambda: np.zeros(100, np.float32))[1]

    def work(i):
        for j in range(200):
            key = (i * j) % 23
            value, _ = store.get_or_compute(key, lambda key=key: np.full(100, key, np.float32))
            assert np.all(value == key)
            assert store._cache.currsize <= 1000

    together(work, 8)


def test_value_larger_than_the_store_is_not_kept():
    store = OutputStore(1000)
    store.get_or_compute("small", lambda: np.zeros(100, np.uint8))
    value, hit = store.get_or_compute("large", lambda: np.zeros(1001, np.uint8))
    assert value.shape == (1001,)
    assert not hit
    assert store.stats()["values"] == 1
    assert store.get_or_compute("small", lambda: None)[1]  # it was not pushed out


def test_failed_computation_leaves_nothing_behind():
    store = OutputStore(1000)
    with pytest.raises(ZeroDivisionError):
        store.get_or_compute("k", lambda: 1 // 0)
    assert store._key_locks == {}
    assert store.get_or_compute("k", lambda: 5) == (5, False)
    store.clear()
    assert store.get_or_compute("k", lambda: 6) == (6, False)


def test_bytes_of_values():
    assert value_bytes(np.zeros((2, 3), np.float32)) == 24
    assert value_bytes(torch.zeros(2, 3)) == 24
    assert value_bytes((np.zeros(2, np.uint8), (torch.zeros(1),))) == 6
    assert value_bytes("a string") > 0


# --- one request ---


@pytest.fixture
def net(shelf):
    path = shelf.folder / "net.pth"
    path.write_bytes(b"\0" * NBYTES)
    shelf.add("classify", path, trained_on="nothing", metric="1 %")
    return path


def test_run_tells_what_happened(net):
    infos = []
    for _ in range(2):
        with runtime.run("classify", "net", linear) as run:
            value = run.output(("twice", 2), lambda: 4)
            with run.watch.stage("decode"), run.watch.stage("inner"):
                pass
            infos.append(run.info())
            assert value == 4
            assert not run.lease.built.module.training
            assert not run.lease.built.module.weight.requires_grad
    assert infos[0].cache == {"model": "miss", "output": "miss"}
    assert infos[1].cache == {"model": "hit", "output": "hit"}
    assert set(infos[0].seconds) == {"resolve", "load", "decode", "inner"}
    assert (infos[0].checkpoint, infos[0].tier, infos[0].device) == ("net", "own", "cpu")
    assert (infos[0].trained_on, infos[0].metric, infos[0].note) == ("nothing", "1 %", "")


def test_note_belongs_to_the_request(net, monkeypatch):
    """The starter that stood in for another answers without that note when asked by name."""
    resolve = resolver.resolve

    def with_note(key, *args, **options):
        found = resolve("net", *args, **options)
        note = "It stands in." if key == "other" else ""
        return Resolved(found.checkpoint, found.tier, found.path, note)

    monkeypatch.setattr(resolver, "resolve", with_note)
    notes = []
    for key in ("other", "net", "other"):
        with runtime.run("classify", key, linear) as run:
            notes.append(run.info().note)
    assert notes == ["It stands in.", "", "It stands in."]
    assert runtime.models().stats()["misses"] == 1


def test_file_written_anew_is_another_model(net):
    def value():
        with runtime.run("classify", "net", linear) as run:
            return run.output(("v",), lambda: net.stat().st_mtime_ns), run.lease.hit

    first, hit = value()
    assert (value(), hit) == ((first, True), False)
    os.utime(net, ns=(1, 1))
    assert value() == (1, False)


def test_outputs_of_precisions_and_models_are_kept_apart(net):
    seen = []
    for wanted in ("fp32", "bf16", "fp32"):
        with precision.forced(wanted), runtime.run("classify", "net", linear) as run:
            seen.append(run.output(("k",), lambda wanted=wanted: wanted))
            assert run.info().precision == wanted
    assert seen == ["fp32", "bf16", "fp32"]
    assert runtime.outputs().stats()["misses"] == 2


def test_unknown_checkpoint(net):
    with (
        pytest.raises(InputError, match="choose auto, net"),
        runtime.run("classify", "nothing", linear),
    ):
        pass


def test_what_a_library_raises_becomes_one_sentence(net, caplog):
    def build(_):
        raise IndexError("tuple index out of range")

    with (
        pytest.raises(CheckpointError, match=r"^net\.pth cannot be loaded as a model"),
        runtime.run("classify", "net", build),
    ):
        pass
    assert "IndexError" in caplog.text  # the log keeps what the person need not read


# --- memory ---


def fails(times, error):
    """A function that raises `error` so many times and then answers 42."""
    calls = []

    def compute():
        calls.append(1)
        if len(calls) <= times:
            raise error
        return 42

    return compute, calls


OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("MPS backend out of memory"),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[:12])
def test_out_of_memory_once(net, error):
    with runtime.run("classify", "net", linear) as run:
        run.output(("kept",), lambda: np.zeros(9))
    compute, calls = fails(1, error)
    assert runtime.forward(compute) == 42
    assert len(calls) == 2
    assert runtime.models().stats()["models"] == []  # what was idle made room
    assert runtime.outputs().stats()["values"] == 0


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda e: str(e)[:12])
def test_out_of_memory_twice(settings, error):
    compute, calls = fails(2, error)
    with pytest.raises(OutOfMemory, match="too little memory"):
        runtime.forward(compute)
    assert len(calls) == 2
    assert runtime.forward(lambda: 1) == 1  # the app goes on


def test_out_of_memory_keeps_the_model_at_work(net):
    with runtime.run("classify", "net", linear) as run:
        compute, _ = fails(1, MemoryError())
        runtime.forward(compute)
        assert runtime.models().stats()["models"][0]["in_use"] == 1
        assert run.lease.built.module.weight.shape == (SIDE, SIDE)


def test_out_of_memory_while_loading(net):
    builds = []

    def build(resolved):
        builds.append(1)
        if len(builds) in (1, 3, 4):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return linear()

    with runtime.run("classify", "net", build):
        pass
    runtime.models().drop_idle()
    with (
        pytest.raises(OutOfMemory, match="too little memory for Net net"),
        runtime.run("classify", "net", build),
    ):
        pass
    assert runtime.models().used == 0


CUDA_ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported later"


def test_after_a_cuda_assert_the_processor_takes_over(settings, net, monkeypatch, caplog):
    """What PyTorch raises then; afterwards the context answers every call with the same error."""
    real_device = runtime.device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: pytest.fail("the context is gone"))
    settings(VISION_HUB_DEVICE="auto")
    assert real_device().type == "cuda"
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cpu"))
    compute, calls = fails(9, RuntimeError(CUDA_ASSERT))
    with pytest.raises(DeviceLost, match="graphics card failed"):
        runtime.forward(compute)
    assert len(calls) == 1
    assert "restart Vision Hub" in caplog.text
    assert real_device().type == "cpu"
    assert runtime.status()["device_lost"]
    monkeypatch.setattr(runtime, "device", real_device)
    with runtime.run("classify", "net", linear) as run:
        assert runtime.forward(lambda: run.lease.built.module(torch.zeros(1, SIDE))).shape
        assert run.info().device == "cpu"
    compute, calls = fails(1, MemoryError())
    assert runtime.forward(compute) == 42


def test_other_errors_are_not_tried_again(settings):
    compute, calls = fails(9, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        runtime.forward(compute)
    assert len(calls) == 1


def test_forward_runs_alone_and_without_gradients(settings):
    inside, most = 0, 0

    def compute():
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.005)
        inside -= 1
        return torch.is_inference_mode_enabled()

    assert all(together(lambda _: runtime.forward(compute), 8))
    assert most == 1


def test_precision_of_a_pass(settings):
    layer, x = torch.nn.Linear(4, 4), torch.randn(1, 4)
    assert runtime.forward(lambda: layer(x)).dtype == torch.float32
    settings(VISION_HUB_PRECISION="bf16")
    assert runtime.forward(lambda: layer(x)).dtype == torch.bfloat16
    assert runtime.forward(lambda: layer(x), full_precision=True).dtype == torch.float32


# --- settings and meter ---


def test_budgets_of_the_settings(settings):
    settings(VISION_HUB_CACHE_MB="7", VISION_HUB_STORE_MB="3")
    assert runtime.models().budget == 7_000_000
    assert runtime.status()["budget_mb"] == 7
    assert runtime.status()["outputs"]["budget_mb"] == 3
    assert runtime.models() is runtime.models()
    assert runtime.outputs() is runtime.outputs()


def test_budget_is_half_of_the_memory_else(settings, monkeypatch):
    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1000}
    monkeypatch.setattr("os.sysconf", pages.__getitem__)
    assert runtime.models().budget == 2_048_000


def test_status(net):
    with runtime.run("classify", "net", linear):
        status = runtime.status()
    (model,) = status["models"]
    assert 0 <= model.pop("load_seconds") < 5
    assert model == {
        "checkpoint": "net",
        "tier": "own",
        "mb": round(NBYTES / 1e6, 1),
        "in_use": 1,
        "pinned": False,
    }
    assert (status["device_lost"], status["waiting"]) == (False, 0)
    assert (status["device"], status["precision"]) == ("cpu", "fp32")
    assert (status["hits"], status["misses"], status["evictions"]) == (0, 1, 0)
    json.dumps(status)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_evicted_model_gives_gpu_memory_back(net, settings):
    settings(VISION_HUB_DEVICE="cuda")
    before = torch.cuda.memory_allocated()
    with runtime.run("classify", "net", lambda _: Built(torch.nn.Linear(2000, 2000), None)) as run:
        assert run.lease.built.module.weight.is_cuda
    assert torch.cuda.memory_allocated() - before >= 16_000_000
    del run
    runtime.models().drop_idle()
    assert torch.cuda.memory_allocated() == before


def test_paths_are_no_part_of_the_meter(net):
    """The meter is public at /status; where files lie on the server is not."""
    with runtime.run("classify", "net", linear):
        assert str(Path(net).parent) not in str(runtime.status())


def test_on_a_processor_a_short_pass_does_not_wait_for_a_step_of_a_long_job(settings):
    inside, leave = threading.Event(), threading.Event()

    def step():
        inside.set()
        assert leave.wait(PATIENCE)

    job = threading.Thread(target=lambda: runtime.forward(step, long=True))
    job.start()
    try:
        assert inside.wait(PATIENCE)
        assert runtime.forward(lambda: 42) == 42
        waiting = threading.Thread(target=lambda: runtime.forward(lambda: None, long=True))
        waiting.start()  # steps of long jobs go one at a time there as well
        while not runtime.status()["waiting"]:
            assert waiting.is_alive()
    finally:
        leave.set()
        job.join(PATIENCE)
    waiting.join(PATIENCE)


def test_on_a_gpu_everything_goes_one_at_a_time(settings, monkeypatch):
    monkeypatch.setattr(runtime, "device", lambda: torch.device("mps"))
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    order, inside = [], threading.Event()

    def step():
        inside.set()
        time.sleep(0.1)
        order.append("step")

    job = threading.Thread(target=lambda: runtime.forward(step, long=True))
    job.start()
    assert inside.wait(PATIENCE)
    runtime.forward(lambda: order.append("short"))
    job.join(PATIENCE)
    assert order == ["step", "short"]
