"""Run CPU forward passes on one dedicated thread.

OpenMP gives every thread that computes its own helper threads. Once a process has more helpers than
cores, GNU's OpenMP (shipped in PyTorch's wheels) puts them to sleep between operations instead of
spinning, and a network is hundreds of operations. A server answers each request on a different
thread: ViT-MAE took a seventh longer there than alone. So servers call `dedicate`. Scripts and
notebooks already compute on one thread, so nothing changes for them.
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
IDLE_SECONDS = 5.0  # an idle thread ends after this, with its helpers

_lock = threading.Lock()
_wanted = False
_threads = 0  # per pass; with 1 or fewer, passes run in the caller


def dedicate() -> None:
    """Run CPU forward passes on their own threads. Call this before PyTorch is imported."""
    global _wanted  # noqa: PLW0603
    _wanted = True


def settle() -> None:
    """Give all other threads one compute thread; before any operation, as helpers never leave."""
    global _threads  # noqa: PLW0603
    if not _wanted or _threads:
        return
    import torch  # deferred: `dedicate` runs early

    with _lock:
        if not _threads:
            _threads = torch.get_num_threads()
            if _threads > 1:
                torch.set_num_threads(1)


class ComputeThread:
    """Runs one action at a time, in the caller's context, and ends when idle."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = queue.SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def is_current(self) -> bool:
        """Whether the caller is running on this thread."""
        return threading.current_thread() is self._thread

    def run(self, action: Callable[[], T]) -> T:
        """Run `action()` on the thread, or here if none is dedicated; exceptions propagate.

        Do not call this from an action: it would wait for itself.
        """
        if _threads <= 1:  # not dedicated, or no helpers to share
            return action()
        done: Future[T] = Future()
        context = contextvars.copy_context()
        with self._starting:
            started = self._thread is not None or self._start()
            if started:
                self._jobs.put((done, lambda: context.run(action)))
        return done.result() if started else action()

    def _start(self) -> bool:
        """Whether a thread is running now; the system may refuse to start one."""
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
            except BaseException as error:  # raised again in the caller
                done.set_exception(error)
            del done, action  # otherwise they keep a picture alive while idle


def _take_all_threads() -> None:
    """Let this thread use all compute threads, and new threads still one."""
    import torch

    with _lock:
        torch.get_num_threads()  # the first call sets the default
        torch.set_num_threads(_threads)
        others = threading.Thread(target=torch.set_num_threads, args=(1,))
        with contextlib.suppress(RuntimeError):  # set before; it cannot change later
            others.start()
            others.join()
