"""What runs on each GPU: the functions of `core`, with a batcher and stores of their own."""

from __future__ import annotations

import importlib
import os
import threading
from dataclasses import dataclass
from typing import Any

from core import images
from core.checkpoints import TASK_SPECS
from core.errors import HubError


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


class Replica:
    """One process with its own models. Calls come in several threads, as they do on the page."""

    def __init__(self, setup: str = "") -> None:
        """`setup` is a function to call first, as in "benchmarks.standin.install"."""
        from core.cpu import allocator, compute_threads
        from core.settings import get_settings
        from core.start import warm

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

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[bool, Any]:
        """(True, the result) of a marked function, or (False, its error if that is for the user).

        Ray would turn an error into one with the traceback as its text.
        """
        from core.serving import backends

        given = {key: v.picture() if isinstance(v, Sent) else v for key, v in arguments.items()}
        try:
            return True, backends.marked(name).run(**given)
        except HubError as error:
            return False, error

    def status(self) -> dict[str, object]:
        """The meter of this process."""
        from core.serving import runtime

        return runtime.status()

    def pid(self) -> int:
        """The number of this process."""
        return os.getpid()
