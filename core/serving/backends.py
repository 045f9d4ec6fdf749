"""Where the functions of `core` that run a model run: here, in a process forked for each call
(ZeroGPU), or on other machines (Ray).

Such functions are pure: they take a picture and plain values, and return values. `use` puts those
of some modules behind a backend, which sends a `Call` to where `answer` or `steps` of this module
carry it out. Without a backend nothing is wrapped.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import logging
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from core.errors import HubError

#: A function with one of these parameters runs a model.
RUNS = {("image", "images.ImageLike"), ("checkpoint", "str")}
#: What these modules compute for a picture is costly and kept, so that all calls for a picture
#: should run in one place.
STICKY = {
    "core.segment",
    "core.lessons.encoder_features",
    "core.lessons.prompt_to_mask",
    "core.lessons.which_click_helped",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that can be pickled: the function's name with its module, and arguments by name."""

    name: str
    arguments: dict[str, Any]

    @property
    def sticky(self) -> bool:
        """Whether it should run where other calls for its picture run."""
        return self.name.rpartition(".")[0] in STICKY


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call, or of one of its steps: a value, or the error to raise."""

    result: Any = None
    error: Exception | None = None
    last: bool = True

    def value(self) -> Any:
        """The value.

        Raises:
            Exception: the error, if it is one.
        """
        if self.error is not None:
            raise self.error
        return self.result


class Backend(Protocol):
    """Carries calls out somewhere else, without `progress`, which cannot be pickled."""

    def answer(self, call: Call) -> Any:
        """The result of a call, or its error."""

    def steps(self, call: Call) -> Generator[Any, None, Any]:
        """The steps of a job, and its result; closing it cancels the rest."""

    def status(self) -> list[dict[str, Any]]:
        """The meter of every process that carries out calls."""


_originals: dict[str, tuple[ModuleType, Callable[..., Any]]] = {}
_backend: Backend | None = None


def use(backend: Backend, modules: Iterable[ModuleType]) -> None:
    """Put the functions of these modules that run a model behind a backend."""
    global _backend  # noqa: PLW0603
    stop()
    _backend = backend
    for module in modules:
        for name, function in vars(module).copy().items():
            if _runs_a_model(name, function):
                full = f"{module.__name__}.{name}"
                _originals[full] = module, function
                setattr(module, name, _sent(full, function, backend))


def stop() -> None:
    """Run all functions here again."""
    global _backend  # noqa: PLW0603
    _backend = None
    for name, (module, function) in _originals.items():
        setattr(module, name.rpartition(".")[2], function)
    _originals.clear()


def values(outcomes: Iterable[Outcome]) -> Generator[Any, None, Any]:
    """The steps of a job, and its result, of what `steps` gave where it was carried out."""
    for outcome in outcomes:
        value = outcome.value()
        if outcome.last:
            return value
        yield value


def sent() -> set[str]:
    """The names of the functions that a backend carries out."""
    return set(_originals)


def elsewhere() -> list[dict[str, Any]]:
    """The meters of the processes to which a backend sends calls; none without one."""
    return _backend.status() if _backend is not None else []


def _runs_a_model(name: str, function: Any) -> bool:
    """Public functions of plain values; those that take functions are for others to build on."""
    if name.startswith("_") or not inspect.isfunction(function):
        return False
    given = {(p.name, p.annotation) for p in inspect.signature(function).parameters.values()}
    takes_functions = any(str(annotation).startswith("Callable") for _, annotation in given)
    return not RUNS.isdisjoint(given) and not takes_functions


def _sent(name: str, function: Callable[..., Any], backend: Backend) -> Callable[..., Any]:
    signature, job = inspect.signature(function), inspect.isgeneratorfunction(function)

    @functools.wraps(function)
    def send(*args: Any, **kwargs: Any) -> Any:
        call = Call(name, dict(signature.bind(*args, **kwargs).arguments))
        return backend.steps(call) if job else backend.answer(call)

    return send


# ---- where a call is carried out
def answer(call: Call) -> Outcome:
    """Run the function of a call."""
    try:
        return Outcome(_function(call.name)(**call.arguments))
    except Exception as error:
        return _failed(call, error)


def steps(call: Call) -> Generator[Outcome, None, None]:
    """Run the function of a call step by step; the last outcome is its result or its error."""
    running = None
    try:
        running = _function(call.name)(**call.arguments)
        while True:
            yield Outcome(next(running), last=False)
    except StopIteration as end:
        yield Outcome(end.value)
    except Exception as error:
        yield _failed(call, error)
    finally:
        if running is not None:
            running.close()


def _failed(call: Call, error: Exception) -> Outcome:
    if not isinstance(error, HubError):
        _log.error("%s failed", call.name, exc_info=error)
    return Outcome(error=error)


def _function(name: str) -> Callable[..., Any]:
    if name in _originals:
        return _originals[name][1]
    module, _, own = name.rpartition(".")
    function: Callable[..., Any] = getattr(importlib.import_module(module), own)
    if not _runs_a_model(own, function):
        raise LookupError(f"{name} is not carried out for others.")
    return function
