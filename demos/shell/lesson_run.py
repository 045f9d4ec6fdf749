"""Running a lesson: its values by name, its answers or why there are none."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from core import images
from core.checkpoints import Checkpoint
from core.sources import resolver
from demos.shell import lesson_parts, result, ui
from demos.shell.lesson import Action, Lesson, NotYet, asked

WAITING = "Choose a picture first."
_CANCELLED = '<p class="placeholder" role="status">Cancelled. Refresh to run it again.</p>'


class Runs:
    """The runs of one lesson in one visitor's page: which of them was begun last.

    It lies in gr.State and is changed in place. `tick` rises with each picture and checkpoint, so a
    run ends as soon as another is asked for, even while that one still waits in the queue.
    """

    def __init__(self) -> None:
        self.tick, self.count = 0, 0

    def begin(self, tick: object) -> tuple[int, int]:
        """Name a run."""
        self.count += 1
        self.ask(tick)
        return self.tick, self.count

    def ask(self, tick: object) -> None:
        """Another run is coming; those of a smaller tick are not wanted any more."""
        if isinstance(tick, str) and tick.isascii() and tick.isdecimal():
            self.tick = max(self.tick, int(tick[:9]))

    def wants(self, run: tuple[int, int]) -> bool:
        """Whether no other run was asked for since."""
        return run == (self.tick, self.count)


def running(lesson: Lesson, names: Sequence[str]) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """The lesson's `run` as a handler: its values, or why there are none."""

    def run(runs: Any, tick: Any, *given: Any) -> Iterator[tuple[Any, ...]]:
        nothing = [lesson_parts.empty(one) for one in lesson.shows]
        if isinstance(runs, result.Refused):
            yield result.refusal(runs.sentence), *nothing
            return
        mine = runs.begin(tick)
        try:
            for values in _answers(lesson, dict(zip(names, given, strict=True))):
                if not runs.wants(mine):
                    return
                yield values
        except NotYet as error:
            said = ui.placeholder(str(error))
        except Exception as error:
            said = result.refusal(ui.as_gradio_error(error).message)
        else:
            return
        if runs.wants(mine):
            yield said, *nothing

    run.takes_refusals = True  # type: ignore[attr-defined]
    return run


def _answers(lesson: Lesson, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """What stands in the line and in the outputs, one or several times.

    Raises:
        NotYet: there is no picture, or the lesson cannot look into the checkpoint.
    """
    values = check(lesson, values)
    found = lesson.run(**asked(lesson.run, values))
    for step in found if inspect.isgenerator(found) else [found]:
        if isinstance(step, float):
            said = f'<p class="about" role="status">{step:.0%} done.</p>'
            yield said, *(gr.skip() for _ in lesson.shows)
            continue
        parts = step if isinstance(step, tuple) else (step,)
        pairs = zip(lesson.shows, parts, strict=True)
        yield "", *(lesson_parts.value(show, part) for show, part in pairs)


def check(lesson: Lesson, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with which a lesson can run; its picture is an `images.Picture`.

    Raises:
        NotYet: there is no picture, or the lesson cannot look into the checkpoint.
        HubError: the checkpoint is not known, or the picture was refused.
    """
    ready = dict(values)
    if "picture" in values:
        ready["picture"] = _picture(values["picture"])
    if lesson.accepts is not None and (refused := lesson.accepts(_picked(lesson, values))):
        raise NotYet(refused)
    return ready


def _picture(value: images.Picture | images.RGB | None) -> images.Picture:
    if value is None:
        raise NotYet(WAITING)
    if not isinstance(value, images.Picture):
        return images.picture(value)
    if not value.digest:
        value.load()  # raises why it was refused
    return value


def _picked(lesson: Lesson, values: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that answers now."""
    task, key = lesson.checkpoints_of, values.get("checkpoint", "auto")
    assert task is not None
    if key == "auto":
        return resolver.resolve(key, task).checkpoint
    return resolver.find(key, task)


def cancelled(lesson: Lesson, runs: Runs) -> tuple[Any, ...]:
    """What stands there after Cancel."""
    runs.begin("")  # what still comes is no longer wanted
    return _CANCELLED, *(lesson_parts.empty(one) for one in lesson.shows)


def coded(lesson: Lesson, names: Sequence[str], *given: Any) -> str:
    """The code of the lesson for these values, or a comment why there is none yet."""
    values = dict(zip(names, given, strict=True))
    assert lesson.code is not None
    try:
        values = check(lesson, values)
        return lesson.code(**asked(lesson.code, values))
    except NotYet as error:
        return f"# {error}\n"


def acted(action: Action, names: Sequence[str], *given: Any) -> tuple[Any, ...]:
    """What a button of the lesson says, and its uploads, emptied where it did its work."""
    kept = [gr.skip() for _ in action.clears]
    values = dict(zip(names, given, strict=True))
    try:
        if "picture" in values:
            values["picture"] = _picture(values["picture"])
        said = action.run(**asked(action.run, values))
    except NotYet as error:
        return ui.placeholder(str(error)), *kept
    except Exception as error:
        return result.refusal(ui.as_gradio_error(error).message), *kept
    return f'<p class="about" role="status">{html.escape(said)}</p>', *(None for _ in kept)
