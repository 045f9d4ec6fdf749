"""The lane is fair, and short passes go before the steps of long jobs, though not for ever."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from core.serving.device_queue import COURTESY, Lane
from tests.conftest import PATIENCE, wait_for


def queue_up(lane, order, *arrivals):
    """Threads that enter the held lane one after the other, each with a name and its kind."""
    threads = []
    for count, (name, long) in enumerate(arrivals, start=1):

        def work(name=name, long=long):
            with lane.turn(long):
                order.append(name)

        threads.append(threading.Thread(target=work, daemon=True))
        threads[-1].start()
        wait_for(lambda count=count: lane.waiting >= count)
    return threads


def finish(threads):
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_first_come_first_served():
    lane, order = Lane(), []
    with lane.turn():
        threads = queue_up(lane, order, *[(i, False) for i in range(8)])
    finish(threads)
    assert order == list(range(8))
    assert lane.waiting == 0


def test_who_comes_back_at_once_stands_at_the_end():
    """A job of many tiles takes turns with another, where a plain lock would keep it out."""
    lane, order, done = Lane(), [], []

    def job(name):
        for _ in range(20):
            with lane.turn(long=True):
                order.append(name)
                wait_for(lambda: lane.waiting or done)  # until the other has come back
        done.append(name)

    threads = [threading.Thread(target=job, args=(name,), daemon=True) for name in "ab"]
    for thread in threads:
        thread.start()
    finish(threads)
    assert sorted(order) == ["a"] * 20 + ["b"] * 20
    assert all(x != y for x, y in pairwise(order))


def test_short_passes_go_before_a_step_of_a_long_job():
    lane, order = Lane(), []
    with lane.turn():
        threads = queue_up(lane, order, ("tile", True), ("click", False), ("click", False))
    finish(threads)
    assert order == ["click", "click", "tile"]


def test_a_long_job_is_not_kept_out_for_ever():
    lane, order = Lane(), []
    with lane.turn():
        shorts = [("short", False)] * (COURTESY + 3)
        threads = queue_up(lane, order, ("tile", True), *shorts)
    finish(threads)
    assert order.index("tile") == COURTESY


def test_a_thread_may_enter_again():
    lane = Lane()
    with lane.turn(), lane.turn(long=True), lane.turn():
        pass
    with lane.turn():
        pass


def test_an_error_inside_gives_the_lane_back():
    lane, order = Lane(), []
    with pytest.raises(ZeroDivisionError), lane.turn():
        raise ZeroDivisionError
    with lane.turn():
        threads = queue_up(lane, order, ("next", False))
    finish(threads)
    assert order == ["next"]
