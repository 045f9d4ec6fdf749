"""The batcher: who shares a pass with whom, and what a fault or a lost waiter does to others."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from core import classify, detect, reconstruct
from core.errors import Busy, CheckpointError, OutOfMemory
from core.serving import batching, runtime
from core.serving.batching import Batcher
from tests import nets
from tests.conftest import PATIENCE, wait_for

RATIOS = (0.25, 0.5, 0.75)


class Gate:
    """A device that serves one at a time, and none before it is opened."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.open = threading.Event()
        self.sizes: list[int] = []

    def __call__(self, action):
        with self.lock:
            assert self.open.wait(PATIENCE)
            return action()

    def doubled(self, items):
        self.sizes.append(len(items))
        return [2 * item for item in items]


def waiting(batcher, group="g"):
    with batcher._lock:
        return len(batcher._queues.get(group, ()))


def crowd(batcher, gate, work, count):
    """`work(i)` in `count` threads that all wait before the device opens; (pool, futures)."""
    pool = ThreadPoolExecutor(count)
    futures = []
    for i in range(count):  # one after another, so that the order of the queue is known
        futures.append(pool.submit(work, i))
        wait_for(lambda i=i: waiting(batcher) == i + 1)
    gate.open.set()
    return pool, futures


def test_those_who_wait_share_a_pass():
    gate = Gate()
    batcher = Batcher(gate, 4)
    pool, futures = crowd(batcher, gate, lambda i: batcher.run("g", i, gate.doubled), 10)
    assert [f.result(PATIENCE) for f in futures] == [2 * i for i in range(10)]
    assert gate.sizes == [4, 4, 2]
    assert batcher.stats() == {"passes": 3, "items": 10, "mean": 3.33}
    assert batcher._queues == {}
    pool.shutdown()


def test_groups_are_never_mixed():
    gate, seen = Gate(), []
    batcher = Batcher(gate, 8)

    def work(i):
        def compute(items):
            seen.append({item % 3 for item in items})
            return items

        return batcher.run(i % 3, i, compute)

    with ThreadPoolExecutor(24) as pool:
        futures = [pool.submit(work, i) for i in range(24)]
        wait_for(lambda: sum(waiting(batcher, g) for g in range(3)) == 24)
        gate.open.set()
        assert [f.result(PATIENCE) for f in futures] == list(range(24))
    assert all(len(group) == 1 for group in seen)
    assert len(seen) == 3


def test_a_lone_request_waits_for_nobody():
    batcher, before = Batcher(lambda action: action(), 8), threading.active_count()
    for i in range(200):
        assert batcher.run("g", i, lambda items: [items[0] + 1]) == i + 1
    assert threading.active_count() <= before  # it has no threads of its own


@pytest.mark.perf
def test_a_lone_request_is_passed_on_within_a_millisecond():
    batcher, times = Batcher(lambda action: action(), 8), []
    for i in range(200):
        started = time.perf_counter()
        batcher.run("g", i, lambda items: items)
        times.append(time.perf_counter() - started)
    assert np.median(times) < 0.001


def test_size_one_is_no_batching():
    gate = Gate()
    gate.open.set()
    batcher = Batcher(gate, 1)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: batcher.run("g", i, gate.doubled), range(8))) == [
            2 * i for i in range(8)
        ]
    assert gate.sizes == [1] * 8


@pytest.mark.parametrize("bad", range(5))
def test_a_fault_reaches_only_who_made_it(bad):
    gate = Gate()
    batcher = Batcher(gate, 8)

    def compute(items):
        if bad in items:
            raise ValueError(f"{bad} cannot be computed")
        return items

    pool, futures = crowd(batcher, gate, lambda i: batcher.run("g", i, compute), 5)
    for i, future in enumerate(futures):
        if i == bad:
            with pytest.raises(ValueError, match=f"^{bad} cannot"):
                future.result(PATIENCE)
        else:
            assert future.result(PATIENCE) == i
    assert batcher._queues == {}
    pool.shutdown()


def test_a_batch_that_does_not_fit_is_halved():
    gate, sizes = Gate(), []
    batcher = Batcher(gate, 8)

    def compute(items):
        sizes.append(len(items))
        if len(items) > 2:
            raise OutOfMemory("too large")
        return items

    pool, futures = crowd(batcher, gate, lambda i: batcher.run("g", i, compute), 8)
    assert [f.result(PATIENCE) for f in futures] == list(range(8))
    assert sizes == [8, 4, 2, 2, 4, 2, 2]
    pool.shutdown()


def test_wrong_number_of_answers_is_an_error_and_no_mix_up():
    batcher = Batcher(lambda action: action(), 8)
    with pytest.raises(RuntimeError, match="2 answers to 1 items"):
        batcher.run("g", 1, lambda items: [1, 2])


def test_who_waits_too_long_leaves_nothing_behind():
    gate = Gate()
    batcher = Batcher(gate, 8, wait_seconds=0.05)
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(batcher.run, "g", 0, gate.doubled)
        wait_for(lambda: waiting(batcher) == 1)
        late = [pool.submit(batcher.run, "g", i, gate.doubled) for i in (1, 2)]
        for future in late:
            with pytest.raises(Busy, match="try again"):
                future.result(PATIENCE)
        assert waiting(batcher) == 1
        gate.open.set()
        assert leader.result(PATIENCE) == 0
    assert gate.sizes == [1]  # nobody computed for those who had gone
    assert batcher._queues == {}


def test_who_leaves_during_the_pass_harms_nobody():
    gate, inside, leave = Gate(), threading.Event(), threading.Event()
    batcher = Batcher(gate, 8)

    def slow(items):
        inside.set()
        assert leave.wait(PATIENCE)
        return items

    pool, futures = crowd(batcher, gate, lambda i: batcher.run("g", i, slow), 3)
    assert inside.wait(PATIENCE)
    batcher._wait_seconds = 0.02
    ticket = batching._Ticket("late")
    with batcher._lock:
        batcher._queues["g"].append(ticket)
    with pytest.raises(Busy):
        batcher._wait("g", ticket)
    leave.set()
    assert [f.result(PATIENCE) for f in futures] == [0, 1, 2]
    assert batcher._queues == {}
    pool.shutdown()


def test_leader_that_is_stopped_gives_its_mates_back():
    """KeyboardInterrupt in the thread that computes: the others begin again with a new leader."""
    gate, calls = Gate(), []
    batcher = Batcher(gate, 8)

    def compute(items):
        calls.append(list(items))
        if len(calls) == 1:
            raise KeyboardInterrupt
        return items

    pool, futures = crowd(batcher, gate, lambda i: batcher.run("g", i, compute), 4)
    with pytest.raises(KeyboardInterrupt):
        futures[0].result(PATIENCE)
    assert [f.result(PATIENCE) for f in futures[1:]] == [1, 2, 3]
    assert calls == [[0, 1, 2, 3], [1, 2, 3]]
    assert batcher._queues == {}
    pool.shutdown()


def test_many_threads_many_groups():
    """Random order, faults and sizes: every answer belongs to its question."""
    batcher = Batcher(Gate(), 5)
    batcher._device.open.set()

    def compute(items):
        time.sleep(0.0005)
        if any(item % 17 == 0 for item in items):
            raise ValueError
        return [item * 3 for item in items]

    def work(i):
        rng = np.random.default_rng(i)
        for _ in range(40):
            item = int(rng.integers(1, 10_000))
            try:
                answer = batcher.run(item % 2, item, compute)
            except ValueError:
                assert item % 17 == 0
            else:
                assert answer == item * 3
                assert item % 17
        return True

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(work, range(16)))
    assert batcher._queues == {}


# --- the tasks, with batching forced on ---


def all_at_once(calls):
    """Results of the calls, which all wait while another pass holds the device."""
    with ThreadPoolExecutor(len(calls)) as pool:

        def fill():
            found = [pool.submit(call) for call in calls]
            queues = runtime.batcher()._queues
            wait_for(lambda: sum(map(len, queues.values())) == len(calls))
            return found

        return [future.result(60) for future in runtime.forward(fill)]


@pytest.fixture
def batched(shelf, settings, monkeypatch):
    """Turn batching on and forget what was kept, so that every request needs its pass."""

    def switch():
        settings(VISION_HUB_BATCH="8")
        return runtime.batcher()

    return switch


def test_classify_alone_and_together(shelf, batched, picture):
    shelf.starter("classify", *nets.vit())
    pictures = [picture(30 + 5 * i, 40, seed=i) for i in range(7)]
    alone = [classify.predict(image, top_k=4) for image in pictures]
    batcher = batched()
    together = all_at_once([lambda p=p: classify.predict(p, top_k=4) for p in pictures])
    for one, other in zip(alone, together, strict=True):
        assert one.labels == other.labels
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    assert batcher.stats() == {"passes": 1, "items": 7, "mean": 7.0}


def test_detect_together_with_pictures_of_two_sizes(shelf, batched, picture):
    shelf.starter("detect", *nets.detr())
    pictures = [picture(*((100, 90) if i % 2 else (90, 120)), seed=i) for i in range(8)]
    alone = [detect.predict(image, threshold=0.0) for image in pictures]
    batcher = batched()
    together = all_at_once([lambda p=p: detect.predict(p, threshold=0.0) for p in pictures])
    for one, other in zip(alone, together, strict=True):
        assert one.labels == other.labels
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-4 * 120)
    assert batcher.stats() == {"passes": 2, "items": 8, "mean": 4.0}


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_reconstruct_together_with_several_ratios(shelf, batched, picture, norm_pix_loss):
    shelf.starter("reconstruct", *nets.mae(norm_pix_loss))
    asked = [(picture(40, 40, seed=i), RATIOS[i % 3], i) for i in range(9)]
    alone = [reconstruct.predict(p, mask_ratio=ratio, seed=seed) for p, ratio, seed in asked]
    batcher = batched()
    together = all_at_once(
        [lambda a=a: reconstruct.predict(a[0], mask_ratio=a[1], seed=a[2]) for a in asked]
    )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.patch_mask, other.patch_mask)
        assert np.abs(one.image.astype(int) - other.image).max() <= 1  # rounding to 8 bits
        assert one.hidden_mse == pytest.approx(other.hidden_mse, abs=1e-4)
    assert batcher.stats() == {"passes": 3, "items": 9, "mean": 3.0}


def test_picture_that_the_model_cannot_answer_leaves_its_mates_alone(shelf, batched, monkeypatch):
    """One picture gives NaN, and one breaks the pass: the others get what they get alone."""
    shelf.starter("classify", *nets.vit())
    good = [np.full((40, 40, 3), 40 + 20 * i, np.uint8) for i in range(5)]
    alone = [classify.predict(image, top_k=4) for image in good]
    batcher = batched()
    with runtime.run("classify", "auto", classify._build) as run:
        module = run.lease.built.module

    def odd(_, inputs, logits):
        (batch,) = inputs
        if (batch.amax((1, 2, 3)) > 2.3).any():  # the white picture
            raise ValueError("this breaks the pass")
        black = batch.amax((1, 2, 3)) < -1.5
        return torch.where(black[:, None], torch.nan, logits)

    module.register_forward_hook(odd)
    black, white = (np.full((40, 40, 3), value, np.uint8) for value in (0, 255))
    calls = [lambda p=p: classify.predict(p, top_k=4) for p in good]

    def error_of(image):
        try:
            classify.predict(image)
        except Exception as error:
            return error

    found = all_at_once([*calls, lambda: error_of(black), lambda: error_of(white)])
    assert isinstance(found[-2], CheckpointError)
    assert isinstance(found[-1], ValueError)
    for one, other in zip(alone, found[:5], strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
    assert batcher._queues == {}
    assert runtime.models().stats()["models"][0]["in_use"] == 0


def test_batching_is_off_on_the_processor(shelf):
    assert runtime.batcher().size == 1


def test_kept_answers_do_not_keep_the_batch(shelf):
    together = batching.stacked(lambda x: (x * 2,), torch.device("cpu"))
    answers = together([(torch.ones(1, 100),) for _ in range(8)])
    assert answers[0][0].untyped_storage().nbytes() == 400
