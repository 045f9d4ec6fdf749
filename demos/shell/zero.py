"""ZeroGPU: a Space that has a GPU only while a function of its `spaces` package runs.

Such a function runs in a process forked from this one: its arguments and results are pickled, and
what it changes in memory stays there. So the border is not at the page's handlers, which share
state, but at the functions of `core` that run a model (`core.serving.backends`). All of them run
behind one function of `spaces`, for answers, or another, for jobs of many steps. Elsewhere nothing
is imported or changed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from typing import Any

from core.checkpoints import by_key
from core.serving import backends
from core.serving.backends import Call, Outcome
from core.settings import get_settings
from core.sources import resolver
from demos.shell import elsewhere

#: Seconds of GPU that a call asks for, by module or function: the time after which it would be
#: stopped. Asking for less puts a visitor earlier in the queue. The first call of a process also
#: moves all models to the GPU.
SECONDS = {
    "classify": 15,
    "detect": 15,
    "segment": 20,
    "segment.everything_stream": 90,
    "segment.everything_steps": 90,
    "semantic": 15,
    "reconstruct": 15,
    "restore": 90,
    "lessons": 30,
}

Gpu = Callable[..., Callable[..., Any]]


def seconds(call: Call) -> int:
    """How long the GPU may be needed for a call."""
    name = call.name.removeprefix("core.")
    return SECONDS.get(name) or SECONDS[name.partition(".")[0]]


def install() -> None:
    """On ZeroGPU, let the functions of `core` that run a model run on its GPU; before launch."""
    if get_settings().zero_gpu:
        backends.use(ZeroGpu(importlib.import_module("spaces").GPU), elsewhere.modules())


class ZeroGpu:
    """A backend behind `gpu`, which is `spaces.GPU` or stands in for it."""

    def __init__(self, gpu: Gpu) -> None:
        self._answer, self._steps = gpu(_answer, duration=seconds), gpu(_steps, duration=seconds)

    def answer(self, call: Call) -> Any:
        """See `Backend`."""
        outcome: Outcome = self._answer(_ready(call))
        return outcome.value()

    def steps(self, call: Call) -> Generator[Any, None, Any]:
        """See `Backend`."""
        return (yield from backends.values(self._steps(_ready(call))))

    def status(self) -> list[dict[str, Any]]:
        """None: the process of a call ends with it."""
        return []


def _ready(call: Call) -> Call:
    """The call, once its checkpoint is on the disk: no GPU waits for a download."""
    arguments = dict(call.arguments)
    progress = arguments.pop("progress", None)
    for key in (arguments.get("checkpoint"), *arguments.get("checkpoints", ())):
        known = by_key(key) if isinstance(key, str) else None
        if known is not None and known.tier == "full":
            resolver.resolve(known.key, known.task, progress)
    return replace(call, arguments=arguments)


# ---- in the forked process
def _answer(call: Call) -> Outcome:
    return backends.answer(call)


def _steps(call: Call) -> Iterator[Outcome]:
    yield from backends.steps(call)
