"""What a lesson is: data that one renderer (`demos.shell.lesson_view`) turns into a place on a tab.

A lesson shows what a model does inside, on the picture and the checkpoint that are there. Its work
is a pure function in `core/lessons/`; its view is a module in `demos/lessons/` with a `LESSON`.
Everything else (opening, refreshing, queueing, cancelling, emptying, refusing, the code, the page
to read) is the same for all lessons and is done by the renderer.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.checkpoints import TASKS, Checkpoint, Task
from core.errors import InputError
from demos.shell.api import Kind

LEARN = Path(__file__).resolve().parents[2] / "docs" / "learn"
#: What a lesson can ask for without its tab handing it over.
COMMON = ("picture", "checkpoint")


class NotYet(InputError):
    """Raised by `run` where something is still to be done first; its sentence is no alarm."""


# ---- controls: each is handed to `run` under its key
@dataclass(frozen=True, slots=True)
class Slider:
    """A number; the lesson runs again when it is let go."""

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
class Upload:
    """Another picture, (H, W, 3) uint8, or None while there is none."""

    key: str
    label: str


@dataclass(frozen=True, slots=True)
class Action:
    """A button with work of its own; `run` gives a sentence and takes arguments by name as the
    lesson's. The uploads named in `clears` are emptied afterwards."""

    key: str
    label: str
    run: Callable[..., str]
    clears: tuple[str, ...] = ()


Control = Slider | Choice | Check | Upload | Action


# ---- outputs
@dataclass(frozen=True, slots=True)
class Show:
    """One output of a lesson. `run` gives, by kind:

    html: a string. picture, lossless: (H, W, 3) uint8, shown as JPEG or as PNG, for pixels that are
    compared. files: a list of paths. component: what the component that `make(elem_id)` returns
    takes as its value, for drawing in the browser; `empty` is its value without an answer.
    """

    kind: Literal["html", "picture", "lossless", "files", "component"]
    key: str
    label: str = ""
    make: Callable[[str], Any] | None = None
    empty: Any = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A public function of the lesson, as `demos.shell.api.endpoint` takes it."""

    name: str
    fn: Callable[..., Any]
    inputs: tuple[Kind, ...]
    outputs: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """One lesson.

    Args:
        key: names the page to read, `docs/learn/<key>.md`, and the lesson's place.
        title: on the fold.
        tab: key of the tab below which it stands.
        about: what one sees, in a sentence or two.
        run: gets by name what it asks for among `needs` and the controls, and gives one value for
            each of `shows`. A generator may yield shares done (0 to 1) and answers so far.
        shows: the outputs.
        needs: "picture" (`images.Picture`), "checkpoint" (its key, or "auto"), and what the tab
            hands over besides. With "picture" the lesson runs only where there is one.
        controls: above the outputs.
        order: its place among the lessons of the tab.
        accepts: "" for a checkpoint that the lesson can look into, else one sentence why not.
        task: whose checkpoints the tab picks from; the tab's key where that is a task.
        is_long: many passes: `run` is a generator, has its own queue and a Cancel button.
        code: the same arguments by name; Python text that does the same.
        endpoint: where the lesson has one.

    Raises:
        TypeError: a function asks for what it cannot get.
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
                raise TypeError(f"{self.key}: a function asks for {names}, which nothing gives")
        if self.accepts is not None and self.checkpoints_of is None:
            raise TypeError(f"{self.key}: accepts needs a task")
        if self.is_long and not inspect.isgeneratorfunction(self.run):
            raise TypeError(f"{self.key}: a long lesson is a generator, or Cancel does not work")

    @property
    def checkpoints_of(self) -> Task | None:
        """The task whose checkpoints the lesson looks into."""
        return self.task or next((task for task in TASKS if task == self.tab), None)

    @property
    def page(self) -> Path:
        """The page to read."""
        return LEARN / f"{self.key}.md"


def asked(fn: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that `fn` asks for by name."""
    return {name: values[name] for name in inspect.signature(fn).parameters}


def code_of(fn: Callable[..., Any], picture: str, /, **arguments: Any) -> str:
    """Python text that calls a function of `core.lessons` on a picture's file and prints the
    result."""
    module = fn.__module__.rpartition(".")[2]
    rows = "".join(f"    {name}={value!r},\n" for name, value in arguments.items())
    return (
        "# Needs Vision Hub's core package: `pip install .` in a copy of its repository.\n"
        f"from core.lessons import {module}\n\n"
        f"found = {module}.{fn.__name__}(\n    {picture!r},  # your picture\n{rows})\n"
        "print(found)\n"
    )
