"""Lessons as data; one renderer (`demos.shell.lesson_view`) puts them on their tabs.

A lesson shows what happens inside a model, for the current picture and checkpoint. A pure function
in `core/lessons/` computes it; a module in `demos/lessons/` describes the view in its `LESSON`. The
renderer handles the rest for all lessons: opening, refreshing, queueing, cancelling, clearing,
errors, the code, and the page to read.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.checkpoints import TASKS, Checkpoint, Task
from core.errors import InputError
from demos.shell.api import Kind

LEARN = Path(__file__).resolve().parents[2] / "docs" / "learn"
#: Available to every lesson without its tab passing it.
COMMON = ("picture", "checkpoint")


class NotYet(InputError):
    """Raised by `run` if the user has to do something first; shown as a hint, not as an error."""


# ---- controls: `run` gets the value of each under its key
@dataclass(frozen=True, slots=True)
class Slider:
    """A number; releasing the slider runs the lesson again."""

    key: str
    label: str
    low: float
    high: float
    value: float
    step: float = 1
    info: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of `choices`, (label, value) each or plain values."""

    key: str
    label: str
    choices: Sequence[Any]
    value: Any
    info: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """Yes or no."""

    key: str
    label: str
    value: bool = False
    info: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; Enter runs the lesson again."""

    key: str
    label: str
    value: str = ""
    info: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """Another picture, (H, W, 3) uint8, or None if there is none. With `files`, endings such as
    ".gif", it is any file with one of these, and `run` gets its path."""

    key: str
    label: str
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """A button with its own function: `run` returns a sentence and takes arguments by name, like
    the lesson's `run`. The uploads named in `clears` are emptied afterwards."""

    key: str
    label: str
    run: Callable[..., str]
    clears: tuple[str, ...] = ()


Control = Slider | Choice | Check | Text | Upload | Action


# ---- outputs
@dataclass(frozen=True, slots=True)
class Show:
    """One output of a lesson. `run` returns, by kind:

    html: a string. picture: (H, W, 3) uint8, shown as JPEG. lossless: the same as PNG, for
    comparing pixels. files: a list of paths. component: a value for the component that
    `make(elem_id)` creates, which draws in the browser; `empty` is its value without a result.
    """

    kind: Literal["html", "picture", "lossless", "files", "component"]
    key: str
    label: str = ""
    make: Callable[[str], Any] | None = None
    empty: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A public function of the lesson, with the arguments of `demos.shell.api.endpoint`."""

    name: str
    fn: Callable[..., Any]
    inputs: tuple[Kind, ...]
    outputs: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson.

    Args:
        key: used for the page to read, `docs/learn/<key>.md`, and for element ids.
        title: title of the accordion.
        tab: key of the tab that shows the lesson.
        about: one or two sentences on the outputs.
        run: takes any of `needs` and the controls by name, and returns one value for each of
            `shows`. A generator may yield progress (0 to 1) and partial results.
        shows: the outputs.
        needs: "picture" (`images.Picture`), "checkpoint" (its key, or "auto"), and other values
            from the tab. With "picture" the lesson runs only if there is one.
        controls: above the outputs.
        order: sort order among the lessons of the tab.
        accepts: returns "" for a supported checkpoint, otherwise one sentence with the reason.
        task: the task of the tab's checkpoints; defaults to the tab's key if that is a task.
        is_long: many forward passes: `run` is a generator with its own queue and a Cancel button.
        code: takes the same arguments by name; returns Python code that does the same.
        endpoint: a public endpoint, if there is one.

    Raises:
        TypeError: a function has a parameter that is not available.
    """

    key: str
    title: str
    tab: str
    about: str
    run: Callable[..., Any]
    shows: tuple[Show, ...]
    needs: tuple[str, ...] = COMMON
    controls: tuple[Control, ...] = ()
    order: int = 50
    accepts: Callable[[Checkpoint], str] | None = None
    task: Task | None = None
    is_long: bool = False
    code: Callable[..., str] | None = None
    endpoint: Endpoint | None = None

    def __post_init__(self) -> None:
        known = {*self.needs, *(one.key for one in self.controls if not isinstance(one, Action))}
        actions = [one.run for one in self.controls if isinstance(one, Action)]
        for fn in (self.run, self.code, *actions):
            unknown = set() if fn is None else set(inspect.signature(fn).parameters) - known
            if unknown:
                names = ", ".join(sorted(unknown))
                raise TypeError(f"{self.key}: a function asks for {names}, which nothing provides")
        if self.accepts is not None and self.checkpoints_of is None:
            raise TypeError(f"{self.key}: accepts needs a task")
        if self.is_long and not inspect.isgeneratorfunction(self.run):
            raise TypeError(f"{self.key}: a long lesson is a generator, or Cancel does not work")

    @property
    def checkpoints_of(self) -> Task | None:
        """The task whose checkpoints the lesson uses."""
        return self.task or next((task for task in TASKS if task == self.tab), None)

    @property
    def teaser(self) -> str:
        """The first sentence of `about`."""
        return re.split(r"(?<=[.?!:]) ", self.about, maxsplit=1)[0].rstrip(":")

    @property
    def page(self) -> Path:
        """The page to read."""
        return LEARN / f"{self.key}.md"


def asked(fn: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """The `values` that are parameters of `fn`."""
    return {name: values[name] for name in inspect.signature(fn).parameters}


def code_of(fn: Callable[..., Any], picture: str, /, **arguments: Any) -> str:
    """Python code that calls a function of `core.lessons` on a picture file and prints the
    result."""
    module = fn.__module__.rpartition(".")[2]
    rows = "".join(f"    {name}={value!r},\n" for name, value in arguments.items())
    return (
        "# Needs Vision Hub's core package: `pip install .` in a copy of its repository.\n"
        f"from core.lessons import {module}\n\n"
        f"found = {module}.{fn.__name__}(\n    {picture!r},  # your picture\n{rows})\n"
        "print(found)\n"
    )
