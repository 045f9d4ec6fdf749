"""What runs on each GPU: the functions of `core`, with a batcher and stores of their own."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from core import images
from core.checkpoints import TASK_SPECS
from core.serving import backends
from core.serving.backends import Call, Outcome


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture on its way: its digest and size (H, W), and the pixels, which are fetched only if
    no result for that digest is kept."""

    digest: str
    size: tuple[int, int]
    pixels: tuple[Any]  # a reference to the object; Ray would fetch one that is an argument itself
    name: str = ""

    def picture(self) -> images.Picture:
        """The picture as tasks take it."""

        def load() -> images.RGB:
            import ray

            found: images.RGB = ray.get(self.pixels[0])
            return found

        return images.Picture(self.digest, self.size, load, self.name)


def _received(call: Call) -> Call:
    given = call.arguments
    return replace(
        call, arguments={k: v.picture() if isinstance(v, Sent) else v for k, v in given.items()}
    )


class Replica:
    """One process with its own models. Calls come in several threads, as they do on the page."""

    def __init__(self, setup: str = "") -> None:
        """`setup` is a function to call first, as in "benchmarks.standin.install"."""
        from core.cpu import allocator, compute_threads
        from core.settings import get_settings
        from core.start import warm

        self._jobs: set[str] = set()
        allocator.tune()  # as the page does without replicas
        if not get_settings().expects_gpu:
            compute_threads.dedicate()
        warm.libraries()
        for spec in TASK_SPECS.values():
            importlib.import_module(f"core.{spec.module}")
        if setup:
            module, _, name = setup.rpartition(".")
            getattr(importlib.import_module(module), name)()
        else:
            threading.Thread(target=warm.everything, name="warm-up", daemon=True).start()

    def answer(self, call: Call) -> Outcome:
        """Run the function of a call. Its error comes back as a value: Ray would turn it into one
        with the traceback as its text."""
        return backends.answer(_received(call))

    def steps(self, call: Call, job: str) -> Iterator[Outcome]:
        """Run the function of a call step by step, until `stop` ends the job."""
        self._jobs.add(job)
        try:
            with contextlib.closing(backends.steps(_received(call))) as outcomes:
                for outcome in outcomes:
                    yield outcome
                    if job not in self._jobs:
                        return
        finally:
            self._jobs.discard(job)

    def stop(self, job: str) -> None:
        """End a job after its step; nobody waits for the rest."""
        self._jobs.discard(job)

    def status(self) -> dict[str, object]:
        """The meter of this process, with the number of jobs that run."""
        from core.serving import runtime

        return {**runtime.status(), "jobs": len(self._jobs)}

    def pid(self) -> int:
        """The number of this process."""
        return os.getpid()
