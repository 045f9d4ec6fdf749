"""Render the lessons of a tab as accordions that all behave alike.

A lesson runs when it is opened, and again when the picture or the checkpoint changes while it is
open and visible; a closed one never runs. When they change, the browser clears the old results at
once. Only the latest of several runs shows its results.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from demos import lessons_of
from demos.shell import api, lesson_parts, lesson_run, ui
from demos.shell.lesson import (
    Action,
    Check,
    Choice,
    Control,
    Endpoint,
    Lesson,
    Slider,
    Text,
    Upload,
)

_WORKING = '<p class="placeholder" role="status">Working on it.</p>'


def render(
    tab_key: str,
    image: Any,
    turn: Any,
    checkpoint: Any = None,
    extra_state: Mapping[str, Any] | None = None,
) -> None:
    """Add the lessons of a tab to the page at this point, if it has any.

    Args:
        image: the picture's component; its value is an `images.Picture`, an array, or None.
        turn: a component whose value changes once for each picture on the tab. Call this before
            adding slow listeners: the browser sends the events of one change one after another.
        checkpoint: the picker, or None for a tab without one.
        extra_state: the tab's components by their names in a lesson's `needs`.
    """
    lessons = lessons_of(tab_key)
    if not lessons:
        return
    given = {"picture": image, **(extra_state or {})}
    if checkpoint is not None:
        given["checkpoint"] = checkpoint
    runs = gr.State({})
    with gr.Column(elem_id=f"{tab_key}-lessons", elem_classes=["lessons"]) as place:
        gr.HTML("<h2>Look inside</h2>")
        views = [_View(one, given, runs) for one in lessons]
    _follow(views, turn, checkpoint, list(_tabs_around(place)))
    _learn({one.lesson.page: one.learn for one in views if one.learn is not None})
    for view in views:
        if view.lesson.endpoint is not None:
            _offer(view.lesson.endpoint, view.queue)


class _View:
    """One lesson on the page; `runs` holds a visitor's `lesson_run.Runs` by lesson."""

    def __init__(self, lesson: Lesson, given: Mapping[str, Any], runs: gr.State) -> None:
        missing = [name for name in lesson.needs if name not in given]
        if missing:
            raise KeyError(f"{lesson.key} needs {missing}, which its tab does not pass")
        self.lesson = lesson
        self.given = {name: given[name] for name in lesson.needs}
        self.runs = runs
        self.queue = ui.LONG_QUEUE if lesson.is_long else ui.DEVICE_QUEUE
        place = f"lesson-{lesson.key}"
        # style.css: the title, and below it, while it is folded, what one will see.
        label = f"{lesson.title}\n{lesson.teaser}"
        with gr.Accordion(label, open=False, elem_id=place) as self.fold:
            gr.Markdown(lesson.about)
            self.controls = {one.key: lesson_parts.control(one, place) for one in lesson.controls}
            with gr.Row():
                small = functools.partial(gr.Button, size="sm", scale=0, min_width=110)
                self.refresh = small("Refresh", elem_id=f"{place}-refresh")
                if lesson.is_long:
                    # lesson.css hides it while nothing runs.
                    self.cancel = small("Cancel", elem_id=f"{place}-cancel", elem_classes="cancel")
            self.said = gr.HTML(ui.placeholder(lesson_run.WAITING), elem_id=f"{place}-said")
            self.outputs = [lesson_parts.output(one, place) for one in lesson.shows]
            self.code = _code(place) if lesson.code is not None else None
            self.learn = _page(place) if lesson.page.is_file() else None
        self._wire()

    def _values(self) -> dict[str, Any]:
        """The components that `run` may use, by name."""
        named = {one.key: one for one in self.lesson.controls if not isinstance(one, Action)}
        return {**self.given, **{key: self.controls[key] for key in named}}

    # ---- events
    def _wire(self) -> None:
        values = self._values()
        # shared.js puts the number of the request in place of the button's text.
        inputs = [self.runs, self.refresh, *values.values()]
        named = json.dumps([self.lesson.key, len(inputs)])
        numbered = f"(...now) => window.visionHub.numbered({named}, now)"
        shown = [self.said, *self.outputs, *([] if self.code is None else [self.code])]
        run = lesson_run.running(self.lesson, list(values))
        if self.lesson.is_long:
            # First, since the browser sends one event after another; it ends the previous run.
            self.refresh.click(
                ui.guarded(functools.partial(lesson_run.ask, self.lesson)),
                [self.runs, self.refresh],
                None,
                js=numbered,
                trigger_mode="multiple",
                api_visibility="private",
                show_progress="hidden",
            )
        wired = functools.partial(
            ui.on_device, fn=run, inputs=inputs, outputs=shown, queue=self.queue
        )
        # Without waiting for the run on the old picture.
        events = [wired([self.refresh.click], trigger_mode="multiple", js=numbered)]
        moved = [trigger for one in self.lesson.controls for trigger in self._moves(one)]
        if moved:
            events.append(wired(moved))
        self._buttons(values, events)

    def _buttons(self, values: dict[str, Any], events: list[Any]) -> None:
        if self.lesson.is_long:
            self.cancel.click(None, cancels=events, api_visibility="private")
            self.cancel.click(
                ui.guarded(functools.partial(lesson_run.cancelled, self.lesson)),
                [self.runs],
                [self.said, *self.outputs],
                api_visibility="private",
                show_progress="hidden",
            )
        for one in self.lesson.controls:
            if isinstance(one, Action):
                cleared = [self.controls[key] for key in one.clears]
                ui.on_device(
                    [self.controls[one.key].click],
                    functools.partial(lesson_run.acted, one, list(values)),
                    list(values.values()),
                    [self.said, *cleared],
                )

    def _moves(self, one: Control) -> list[Any]:
        """The events of a control that run the lesson again."""
        made = self.controls[one.key]
        match one:
            case Slider():
                return [made.release]
            case Choice() | Check():
                return [made.input]
            case Text():
                return [made.submit]
            case Upload():
                return [made.upload, made.clear]
        return []


def _code(place: str) -> gr.Code:
    with gr.Accordion("Show the code", open=False, elem_id=f"{place}-code"):
        return gr.Code(language="python", interactive=False, max_lines=24, show_label=False)


def _page(place: str) -> tuple[gr.Accordion, gr.Markdown]:
    with gr.Accordion("Learn more", open=False, elem_id=f"{place}-learn") as fold:
        return fold, gr.Markdown(elem_classes="card")


def _follow(views: Sequence[_View], turn: Any, checkpoint: Any, tabs: Sequence[gr.Tab]) -> None:
    """One event for all lessons of a tab, since a page costs the browser about its components times
    its events: shared.js finds out which lessons have been opened, and which have to run again."""
    folds = [event for view in views for event in (view.fold.expand, view.fold.collapse)]
    picked = [] if checkpoint is None else [checkpoint]
    changes = [turn.change, *(one.change for one in picked), *(tab.select for tab in tabs)]
    lessons = [
        [
            view.lesson.key,
            "checkpoint" in view.given,
            [lesson_parts.empty(one) for one in view.lesson.shows],
        ]
        for view in views
    ]
    outputs = [one for view in views for one in (view.said, *view.outputs)]
    # Nothing changes until the page's script (shared.js) has loaded.
    gr.on(
        [*changes, *folds],
        None,
        [turn, *picked],
        outputs,
        js=(
            f"(...now) => window.visionHub ? window.visionHub.lessons({json.dumps(lessons)}, "
            f"{json.dumps(_WORKING)}, ...now) "
            f": Array({len(outputs)}).fill({{ __type__: 'update' }})"
        ),
        trigger_mode="multiple",
        api_visibility="private",
        show_progress="hidden",
    )


def _learn(places: Mapping[Path, tuple[gr.Accordion, gr.Markdown]]) -> None:
    """One event that fills the pages to read of all lessons of a tab."""

    def read() -> Any:
        texts = [path.read_text("utf-8") for path in places]
        return texts if len(texts) > 1 else texts[0]

    if places:
        gr.on(
            [fold.expand for fold, _ in places.values()],
            read,
            None,
            [page for _, page in places.values()],
            api_visibility="private",
            show_progress="hidden",
        )


def _tabs_around(block: Any) -> Iterator[Any]:
    while (block := block.parent) is not None:
        if isinstance(block, gr.Tab):
            yield block


def _offer(endpoint: Endpoint, queue: tuple[str, int]) -> None:
    api.endpoint(endpoint.name, endpoint.fn, endpoint.inputs, endpoint.outputs, queue)
