"""The queue is fair, and short passes go before the steps of long jobs, though not for ever."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from core.serving.device_queue import COURTESY, DeviceQueue
from tests.conftest import PATIENCE, wait_for


def queue_up(queue, order, *arrivals):
    """Threads that enter the held queue one after the other, each with a name and its kind."""
    threads = []
    for count, (name, long) in enumerate(arrivals, start=1):

        def work(name=name, long=long):
            with queue.turn(long):
                order.append(name)

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        wait_for(lambda count=count: queue.waiting >= count)
    return threads


def finish(threads):
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_first_come_first_served():
    queue, order = DeviceQueue(), []
    with queue.turn():
        threads = queue_up(queue, order, *[(i, False) for i in range(8)])
    finish(threads)
    assert order == list(range(8))
    assert queue.waiting == 0


def test_who_comes_back_at_once_stands_at_the_end():
    """A job of many tiles takes turns with another, where a plain lock would keep it out."""
    queue, order, done = DeviceQueue(), [], []

    def job(name):
        for _ in range(20):
            with queue.turn(long=True):
                order.append(name)
                wait_for(lambda: queue.waiting or done)  # until the other has come back
        done.append(name)

    threads = [threading.Thread(target=job, args=(name,), daemon=True) for name in "ab"]
    for thread in threads:
        thread.start()
    finish(threads)
    assert sorted(order) == ["a"] * 20 + ["b"] * 20
    assert all(x != y for x, y in pairwise(order))


def test_short_passes_go_before_a_step_of_a_long_job():
    queue, order = DeviceQueue(), []
    with queue.turn():
        threads = queue_up(queue, order, ("tile", True), ("click", False), ("click", False))
    finish(threads)
    assert order == ["click", "click", "tile"]


def test_a_long_job_is_not_kept_out_for_ever():
    queue, order = DeviceQueue(), []
    with queue.turn():
        shorts = [("short", False)] * (COURTESY + 3)
        threads = queue_up(queue, order, ("tile", True), *shorts)
    finish(threads)
    assert order.index("tile") == COURTESY


def test_a_thread_may_enter_again():
    queue = DeviceQueue()
    with queue.turn(), queue.turn(long=True), queue.turn():
        pass
    with queue.turn():
        pass


def test_an_error_inside_gives_the_lane_back():
    queue, order = DeviceQueue(), []
    with pytest.raises(ZeroDivisionError), queue.turn():
        raise ZeroDivisionError
    with queue.turn():
        threads = queue_up(queue, order, ("next", False))
    finish(threads)
    assert order == ["next"]
