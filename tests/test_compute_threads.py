"""Passes on a processor run in a thread of their own, once a server has asked for it."""

from __future__ import annotations

import contextvars
import threading
import weakref

import pytest
import torch

from core.cpu import compute_threads
from core.cpu.compute_threads import ComputeThread
from core.errors import OutOfMemory
from core.serving import runtime
from core.serving.device_queue import DeviceQueue
from tests.conftest import PATIENCE, wait_for


@pytest.fixture
def dedicated(monkeypatch):
    """As after the start of the hub; afterwards as before."""
    before = torch.get_num_threads()
    monkeypatch.setattr(compute_threads, "_wanted", False)
    monkeypatch.setattr(compute_threads, "_threads", 0)
    monkeypatch.setattr(compute_threads, "IDLE_SECONDS", 0.2)
    torch.set_num_threads(3)
    compute_threads.dedicate()
    compute_threads.settle()
    yield
    wait_for(lambda: not any(t.name == "forward" for t in threading.enumerate()))
    torch.set_num_threads(before)


def elsewhere(action):
    """What `action` gives in a new thread."""
    found = []
    thread = threading.Thread(target=lambda: found.append(action()), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert found, "the thread did not come to its end"
    return found[0]


def place():
    return threading.current_thread().name, torch.get_num_threads()


def test_only_passes_compute_with_several_threads(dedicated):
    assert runtime.forward(place) == ("forward", 3)
    assert elsewhere(lambda: runtime.forward(place)) == ("forward", 3)
    assert elsewhere(torch.get_num_threads) == 1
    assert torch.get_num_threads() == 1
    assert runtime.forward(place, long=True) == ("forward", 3)


def test_every_pass_of_a_lane_is_in_the_same_thread(dedicated):
    """Each thread that computes would get helpers of its own."""
    idents = {elsewhere(lambda: runtime.forward(threading.get_ident)) for _ in range(5)}
    assert len(idents) == 1
    assert runtime.forward(threading.get_ident, long=True) not in idents


def test_in_a_script_passes_run_where_they_are_asked_for(monkeypatch):
    monkeypatch.setattr(compute_threads, "_threads", 0)  # another test may have served a page
    monkeypatch.setattr(compute_threads, "_wanted", False)
    compute_threads.settle()
    assert compute_threads._threads == 0
    assert runtime.forward(threading.get_ident) == threading.get_ident()


def test_errors_reach_whoever_asked(dedicated):
    def fail():
        raise ZeroDivisionError("here")

    def no_room():
        raise MemoryError

    with pytest.raises(ZeroDivisionError, match="here"):
        runtime.forward(fail)
    with pytest.raises(OutOfMemory):
        runtime.forward(no_room)
    assert runtime.forward(lambda: 5) == 5


def test_the_caller_s_context_is_seen_inside(dedicated):
    """Gradio finds by it whose progress bar moves."""
    who = contextvars.ContextVar("who", default="nobody")
    who.set("me")
    assert runtime.forward(who.get) == "me"
    assert elsewhere(lambda: runtime.forward(who.get)) == "nobody"


def test_a_pass_inside_a_pass_does_not_wait_for_itself(dedicated):
    assert elsewhere(lambda: runtime.forward(lambda: runtime.forward(place))) == ("forward", 3)


def test_passes_are_without_gradients_and_in_the_wanted_precision(dedicated):
    assert runtime.forward(torch.is_inference_mode_enabled)


def test_the_thread_ends_when_nobody_asks_and_comes_again(dedicated, monkeypatch):
    monkeypatch.setattr(compute_threads, "IDLE_SECONDS", 0.05)
    thread = ComputeThread()
    assert thread.run(place) == ("forward", 3)
    wait_for(lambda: thread._thread is None)
    assert thread.run(place) == ("forward", 3)


def test_nothing_is_kept_of_a_pass_that_is_over(dedicated):
    class Picture:
        pass

    gone = threading.Event()
    picture = Picture()
    weakref.finalize(picture, gone.set)
    queue = DeviceQueue()
    queue.run(lambda held=picture: held, in_thread=True)
    del picture
    assert gone.wait(PATIENCE), "the thread still holds it"


def test_an_own_file_is_looked_at_with_one_thread(dedicated, tmp_path, monkeypatch):
    """It may be looked at before any pass, and helpers that reading it makes would stay."""
    from core.sources import own_files

    path = tmp_path / "net.pth"
    torch.save({"w": torch.zeros(4, 4)}, path)
    seen, read = [], torch.load

    def load(*args, **options):
        seen.append(torch.get_num_threads())
        return read(*args, **options)

    monkeypatch.setattr(compute_threads, "_threads", 0)
    torch.set_num_threads(3)
    monkeypatch.setattr(torch, "load", load)
    own_files._contents(path)
    assert seen == [1]


def test_many_ask_at_once(dedicated):
    queue, answers = DeviceQueue(), []

    def ask(i):
        answers.append(queue.run(lambda: i * i, in_thread=True))

    threads = [threading.Thread(target=ask, args=(i,), daemon=True) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert sorted(answers) == [i * i for i in range(40)]
