"""On a processor: forward passes in one thread, for which alone PyTorch keeps helper threads.

OpenMP gives each thread that computes helpers of its own. Once a process has more of them than
cores, GNU's OpenMP, which is in PyTorch's wheels, lets all of them sleep between two operations
instead of waiting awake, and a network is hundreds of operations. A server answers each request in
another thread: there ViT-MAE took a seventh longer than alone. So a server calls `dedicate`; in a
script or notebook, which compute in one thread anyway, nothing changes.
"""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")
IDLE_SECONDS = 5.0  # after which a thread ends, and its helpers with it

_lock = threading.Lock()
_wanted = False
_threads = 0  # of a pass; up to 1, passes run where they are asked for


def dedicate() -> None:
    """Let passes on a processor run in threads of their own. Before PyTorch is imported."""
    global _wanted  # noqa: PLW0603
    _wanted = True


def settle() -> None:
    """Give what is no pass one thread; before any operation, since its helpers would stay."""
    global _threads  # noqa: PLW0603
    if not _wanted or _threads:
        return
    import torch  # not above: `dedicate` is called before there is time for that

    with _lock:
        if not _threads:
            _threads = torch.get_num_threads()
            if _threads > 1:
                torch.set_num_threads(1)


class ComputeThread:
    """Runs one action at a time, in the context of whoever asks, and ends when nobody does."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def is_current(self) -> bool:
        """Whether the caller runs in it."""
        return threading.current_thread() is self._thread

    def run(self, action: Callable[[], T]) -> T:
        """`action()` in the thread, or here where nothing is dedicated; it raises what that does.

        Not to be called from an action: that would wait for itself.
        """
        if _threads <= 1:  # nothing is dedicated, or there are no helpers to share
            return action()
        done: Future[T] = Future()
        context = contextvars.copy_context()
        with self._starting:
            started = self._thread is not None or self._start()
            if started:
                self._jobs.put((done, lambda: context.run(action)))
        return done.result() if started else action()

    def _start(self) -> bool:
        """Whether there is a thread now; the system may give no more of them."""
        thread = threading.Thread(target=self._work, name="forward", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return False
        self._thread = thread
        return True

    def _work(self) -> None:
        _take_all_threads()
        while True:
            try:
                done, action = self._jobs.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                with self._starting:
                    if self._jobs.empty():
                        self._thread = None
                        return
                continue
            try:
                done.set_result(action())
            except BaseException as error:  # it belongs to whoever asked
                done.set_exception(error)
            del done, action  # while this waits, they would keep a picture and its tensors


def _take_all_threads() -> None:
    """Let this thread compute with as many as there are, and new threads still with one."""
    import torch

    with _lock:
        torch.get_num_threads()  # a thread's first question sets it to what new threads have
        torch.set_num_threads(_threads)
        others = threading.Thread(target=torch.set_num_threads, args=(1,))
        with contextlib.suppress(RuntimeError):  # no more threads: there will be no others
            others.start()
            others.join()
