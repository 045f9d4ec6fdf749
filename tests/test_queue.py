"""Events begin when they can, in their order, without anybody looking all the time."""

from __future__ import annotations

import asyncio
import threading
import time

import gradio as gr
import pytest
from gradio_client import Client

from demos import _page, _queue
from tests.conftest import wait_for

SECONDS = 20


@pytest.fixture
def served(monkeypatch):
    """A page with one handler that waits for its turn to end; looks after a while are off."""
    monkeypatch.setattr(_queue, "SAFETY_SECONDS", 600.0)
    begun, go_on = [], threading.Semaphore(0)

    def work(name):
        begun.append(name)
        assert go_on.acquire(timeout=SECONDS)
        if name == "bad":
            raise ValueError(name)
        return name

    with _page.Page() as page:
        box, out = gr.Textbox(), gr.Textbox()
        box.submit(work, box, out, api_name="work", concurrency_id="one", concurrency_limit=1)
    page.queue(api_open=False)
    page.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1", show_error=False)
    try:
        yield page, begun, go_on
    finally:
        go_on.release(50)
        page.close()


def asked(page, name):
    """A request that is in the queue or begun."""
    before = page._queue.events_recorded
    job = Client(page.local_url, verbose=False).submit(name, api_name="/work")
    wait_for(lambda: page._queue.events_recorded > before)
    return job


def test_they_begin_in_their_order_each_when_the_one_before_it_ends(served):
    page, begun, go_on = served
    jobs = [asked(page, name) for name in "abc"]
    for count, job in enumerate(jobs, start=1):
        wait_for(lambda count=count: len(begun) == count)
        time.sleep(0.1)
        assert len(begun) == count, "two at once where one may run"
        go_on.release()
        assert job.result(SECONDS) == "abc"[count - 1]
    assert begun == ["a", "b", "c"]


def test_one_that_fails_makes_room_too(served):
    page, begun, go_on = served
    bad, good = asked(page, "bad"), asked(page, "good")
    go_on.release(2)
    with pytest.raises(Exception, match=r".+"):
        bad.result(SECONDS)
    assert good.result(SECONDS) == "good"
    assert begun == ["bad", "good"]


def test_one_taken_back_while_it_waits_does_not_begin(served):
    page, begun, go_on = served
    first, second, third = (asked(page, name) for name in "abc")
    second.cancel()
    wait_for(lambda: len(page._queue) == 1)
    go_on.release(2)
    assert first.result(SECONDS) == "a"
    assert third.result(SECONDS) == "c"
    assert begun == ["a", "c"]


def test_nobody_looks_while_nothing_happens(served, monkeypatch):
    """Gradio's own way sleeps a millisecond at a time, a thousand times a second."""
    page, begun, go_on = served
    naps, sleep = [], asyncio.sleep

    def counted(delay, *args):
        naps.append(delay)
        return sleep(delay, *args)

    monkeypatch.setattr(asyncio, "sleep", counted)
    job = asked(page, "a")
    wait_for(lambda: begun == ["a"])
    naps.clear()
    time.sleep(0.5)  # one works, nobody waits
    assert naps.count(page._queue.sleep_when_free) == 0
    assert len(naps) < 40
    go_on.release()
    assert job.result(SECONDS) == "a"
