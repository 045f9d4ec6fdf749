"""Run a lesson: its values by name, and its results or the reason there are none."""

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
    """The runs of one lesson on one visitor's page, to find the latest.

    Stored in gr.State, by lesson, and modified in place. `tick` rises with each request, so a run
    ends as soon as another is requested, even while that one is still queued.
    """

    def __init__(self) -> None:
        self.tick, self.count = 0, 0

    def begin(self, tick: object) -> tuple[int, int]:
        """Start a run and return its id."""
        self.count += 1
        self.ask(tick)
        return self.tick, self.count

    def ask(self, tick: object) -> None:
        """Announce another run, which makes those with a smaller tick obsolete."""
        if isinstance(tick, str) and tick.isascii() and tick.isdecimal():
            self.tick = max(self.tick, int(tick[:9]))

    def wants(self, run: tuple[int, int]) -> bool:
        """Whether no other run has been requested since."""
        return run == (self.tick, self.count)


def ask(lesson: Lesson, runs: dict[str, Runs], tick: object) -> None:
    """Announce a run of the lesson."""
    runs.setdefault(lesson.key, Runs()).ask(tick)


def running(lesson: Lesson, names: Sequence[str]) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """The lesson's `run` as a handler that yields its values, or the reason there are none; and
    last, if it has some, the code for these values."""

    def run(runs: Any, tick: Any, *given: Any) -> Iterator[tuple[Any, ...]]:
        nothing = [lesson_parts.empty(one) for one in lesson.shows]
        if lesson.code is not None:
            nothing.append("")
        if isinstance(runs, result.Refused):
            yield result.refusal(runs.sentence), *nothing
            return
        own = runs.setdefault(lesson.key, Runs())
        mine = own.begin(tick)
        try:
            for values in _answers(lesson, dict(zip(names, given, strict=True))):
                if not own.wants(mine):
                    return
                yield values
        except NotYet as error:
            said = ui.placeholder(str(error))
            nothing[len(lesson.shows) :] = [f"# {error}\n"] if lesson.code is not None else []
        except Exception as error:
            said = result.refusal(ui.as_gradio_error(error).message)
        else:
            return
        if own.wants(mine):
            yield said, *nothing

    run.takes_refusals = True  # type: ignore[attr-defined]
    return run


def _answers(lesson: Lesson, values: dict[str, Any]) -> Iterator[tuple[Any, ...]]:
    """Values for the status line, the outputs and the code, once or several times.

    Raises:
        NotYet: there is no picture, or the lesson does not support the checkpoint.
    """
    values = check(lesson, values)
    code = () if lesson.code is None else (lesson.code(**asked(lesson.code, values)),)
    found = lesson.run(**asked(lesson.run, values))
    for step in found if inspect.isgenerator(found) else [found]:
        if isinstance(step, float):
            said = f'<p class="about" role="status">{step:.0%} done.</p>'
            yield said, *(gr.skip() for _ in lesson.shows), *code
            continue
        parts = step if isinstance(step, tuple) else (step,)
        pairs = zip(lesson.shows, parts, strict=True)
        yield "", *(lesson_parts.value(show, part) for show, part in pairs), *code


def check(lesson: Lesson, values: Mapping[str, Any]) -> dict[str, Any]:
    """Check and convert a lesson's values; the picture becomes an `images.Picture`.

    Raises:
        NotYet: there is no picture, or the lesson does not support the checkpoint.
        HubError: the checkpoint is unknown, or the picture was refused.
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
        value.load()  # raises the reason for the refusal
    return value


def _picked(lesson: Lesson, values: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that would be used now."""
    task, key = lesson.checkpoints_of, values.get("checkpoint", "auto")
    assert task is not None
    if key == "auto":
        return resolver.resolve(key, task).checkpoint
    return resolver.find(key, task)


def cancelled(lesson: Lesson, runs: dict[str, Runs]) -> tuple[Any, ...]:
    """Values for the status line and the outputs after Cancel."""
    runs.setdefault(lesson.key, Runs()).begin("")  # later results are dropped
    return _CANCELLED, *(lesson_parts.empty(one) for one in lesson.shows)


def acted(action: Action, names: Sequence[str], *given: Any) -> tuple[Any, ...]:
    """The sentence of a lesson's button, and its uploads, emptied if it succeeded."""
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
