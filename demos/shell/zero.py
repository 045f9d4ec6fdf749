"""ZeroGPU: a Space that has a GPU only while a function of its `spaces` package runs.

Such a function runs in a process forked from this one: its arguments and results are pickled, and
what it changes in memory stays there. So the border is not at the page's handlers, which share
state, but at the functions of `core` that run a model: they are pure, take a picture and plain
values, and return values. `install` puts every one of them behind one function of `spaces`, for
answers, or another, for jobs of many steps. Elsewhere nothing is imported or changed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from core.checkpoints import TASK_SPECS, by_key
from core.settings import get_settings
from core.sources import resolver

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
#: A function of `core` with one of these parameters runs a model.
RUNS = {("image", "images.ImageLike"), ("checkpoint", "str")}

_functions: dict[str, Callable[..., Any]] = {}  # as they were, by name
Gpu = Callable[..., Callable[..., Any]]


@dataclass(frozen=True, slots=True)
class Call:
    """A call that can be pickled: the function's name below `core`, and its arguments by name."""

    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call, or of one of its steps: a value, or the error to raise."""

    value: Any = None
    error: Exception | None = None
    last: bool = True


def seconds(call: Call) -> int:
    """How long the GPU may be needed for a call."""
    room = "lessons" if call.name.startswith("lessons.") else call.name.partition(".")[0]
    return SECONDS.get(call.name, SECONDS[room])


def install() -> None:
    """On ZeroGPU, let the functions of `core` that run a model run on its GPU; before launch."""
    if not get_settings().zero_gpu:
        return
    wrap(importlib.import_module("spaces").GPU)


def wrap(gpu: Gpu) -> None:
    """Put the functions behind `gpu`, which is `spaces.GPU` or stands in for it."""
    answer, steps = gpu(_answer, duration=seconds), gpu(_steps, duration=seconds)
    for module in _modules():
        for name, function in vars(module).copy().items():
            if not _runs_a_model(name, function):
                continue
            full = f"{module.__name__.removeprefix('core.')}.{name}"
            _functions[full] = function
            border = _stepping if inspect.isgeneratorfunction(function) else _answering
            setattr(module, name, border(full, function, answer, steps))


def unwrap() -> None:
    """Undo `wrap`; for tests."""
    for full, function in _functions.items():
        module, _, name = full.rpartition(".")
        setattr(importlib.import_module(f"core.{module}"), name, function)
    _functions.clear()


def _modules() -> Iterator[ModuleType]:
    import core.lessons

    for name in dict.fromkeys(spec.module for spec in TASK_SPECS.values()):
        yield importlib.import_module(f"core.{name}")
    for found in pkgutil.iter_modules(core.lessons.__path__):
        yield importlib.import_module(f"core.lessons.{found.name}")


def _runs_a_model(name: str, function: Any) -> bool:
    """Public functions of plain values; those that take functions are for lessons to build on."""
    if name.startswith("_") or not inspect.isfunction(function):
        return False
    given = {(p.name, p.annotation) for p in inspect.signature(function).parameters.values()}
    takes_functions = any(str(annotation).startswith("Callable") for _, annotation in given)
    return not RUNS.isdisjoint(given) and not takes_functions


def _answering(
    name: str, function: Callable[..., Any], answer: Callable[[Call], Outcome], _: Any
) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return _value(answer(_call(name, function, args, kwargs)))

    return call


def _stepping(
    name: str, function: Callable[..., Any], _: Any, steps: Callable[[Call], Iterator[Outcome]]
) -> Callable[..., Any]:
    @functools.wraps(function)
    def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for outcome in steps(_call(name, function, args, kwargs)):
            value = _value(outcome)
            if outcome.last:
                return value
            yield value

    return generate


def _value(outcome: Outcome) -> Any:
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


def _call(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Call:
    """The call, once its checkpoint is on the disk: no GPU waits for a download.

    What shows the progress of a download stays here; it cannot be pickled.
    """
    arguments = inspect.signature(function).bind(*args, **kwargs).arguments
    progress = arguments.pop("progress", None)
    for key in (arguments.get("checkpoint"), *arguments.get("checkpoints", ())):
        known = by_key(key) if isinstance(key, str) else None
        if known is not None and known.tier == "full":
            resolver.resolve(known.key, known.task, progress)
    return Call(name, arguments)


# ---- in the forked process
def _answer(call: Call) -> Outcome:
    try:
        return Outcome(_functions[call.name](**call.arguments))
    except Exception as error:  # `spaces` would pass on nothing but its name
        return Outcome(error=error)


def _steps(call: Call) -> Iterator[Outcome]:
    steps = _functions[call.name](**call.arguments)
    while True:
        try:
            outcome = Outcome(next(steps), last=False)
        except StopIteration as stop:
            outcome = Outcome(stop.value)
        except Exception as error:
            outcome = Outcome(error=error)
        yield outcome
        if outcome.last:
            return
