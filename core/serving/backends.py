"""Where the functions of the tasks run: in this process, or where a backend sends them.

A task marks its functions with `anywhere`. Without a backend that costs one comparison a call. With
one (`scale/page.py`), a call from the page runs the same function in another process; what that
process calls stays there, since it has no backend.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Function:
    """A marked function. `sticky`: what it computes for a picture is costly and kept, so that all
    calls for a picture should run in one place."""

    name: str
    run: Callable[..., Any]
    sticky: bool = False


class Backend(Protocol):
    """Runs a marked function somewhere else."""

    def call(self, function: Function, arguments: dict[str, Any]) -> Any:
        """The result of `function(**arguments)`, or its error."""

    def status(self) -> list[dict[str, Any]]:
        """The meter of every process that runs functions."""


_marked: dict[str, Function] = {}
_backend: Backend | None = None


def use(backend: Backend | None) -> None:
    """Send marked functions to a backend from now on; None runs them here."""
    global _backend  # noqa: PLW0603
    _backend = backend


def elsewhere() -> list[dict[str, Any]]:
    """The meters of the processes to which a backend sends calls; none without one."""
    return _backend.status() if _backend is not None else []


def anywhere(sticky: bool = False) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Mark a function of a task. Its arguments and its result must survive pickling, except for a
    picture named `image`, and `progress`, which is not called elsewhere."""

    def mark(fn: Callable[P, T]) -> Callable[P, T]:
        function = Function(f"{fn.__module__}.{fn.__name__}", fn, sticky)
        signature = inspect.signature(fn)
        _marked[function.name] = function

        @functools.wraps(fn)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            if _backend is None:
                return fn(*args, **kwargs)
            found: T = _backend.call(function, dict(signature.bind(*args, **kwargs).arguments))
            return found

        return call

    return mark


def marked(name: str) -> Function:
    """A marked function by its name; its module has to be imported.

    Raises:
        KeyError: there is none of that name.
    """
    return _marked[name]
