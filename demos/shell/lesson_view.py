"""Render the lessons of a tab as accordions that all behave alike.

A lesson runs when it is opened, and again when the picture or the checkpoint changes while it is
open and visible; a closed one never runs. When they change, the browser clears the old results at
once. Only the latest of several runs shows its results.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
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
    with gr.Column(elem_id=f"{tab_key}-lessons", elem_classes=["lessons"]):
        gr.HTML("<h2>Look inside</h2>")
        for one in lessons:
            _View(one, turn, given)


class _View:
    """One lesson on the page."""

    def __init__(self, lesson: Lesson, turn: Any, given: Mapping[str, Any]) -> None:
        missing = [name for name in lesson.needs if name not in given]
        if missing:
            raise KeyError(f"{lesson.key} needs {missing}, which its tab does not pass")
        self.lesson = lesson
        self.given = {name: given[name] for name in lesson.needs}
        place = f"lesson-{lesson.key}"
        self.tick = gr.Textbox("0", visible="hidden", elem_id=f"{place}-tick", container=False)
        self.runs = gr.State(lesson_run.Runs())
        # style.css: the title, and below it, while it is folded, what one will see.
        label = f"{lesson.title}\n{lesson.teaser}"
        with gr.Accordion(label, open=False, elem_id=place) as self.fold:
            gr.Markdown(lesson.about)
            self.controls = {one.key: lesson_parts.control(one, place) for one in lesson.controls}
            with gr.Row():
                small = functools.partial(gr.Button, size="sm", scale=0, min_width=110)
                self.refresh = small("Refresh", elem_id=f"{place}-refresh")
                self.cancel = small("Cancel", elem_id=f"{place}-cancel", visible=lesson.is_long)
            self.said = gr.HTML(ui.placeholder(lesson_run.WAITING), elem_id=f"{place}-said")
            self.outputs = [lesson_parts.output(one, place) for one in lesson.shows]
            self._folds(place)
        self._wire(turn)
        if lesson.endpoint is not None:
            _offer(lesson.endpoint, self._queue())

    def _queue(self) -> tuple[str, int]:
        return ui.LONG_QUEUE if self.lesson.is_long else ui.DEVICE_QUEUE

    def _values(self) -> dict[str, Any]:
        """The components that `run` may use, by name."""
        named = {one.key: one for one in self.lesson.controls if not isinstance(one, Action)}
        return {**self.given, **{key: self.controls[key] for key in named}}

    # ---- inner accordions
    def _folds(self, place: str) -> None:
        if self.lesson.code is not None:
            with gr.Accordion("Show the code", open=False, elem_id=f"{place}-code") as fold:
                text = gr.Code(language="python", interactive=False, max_lines=24, show_label=False)
            values = self._values()
            ui.on_device(
                [fold.expand],
                functools.partial(lesson_run.coded, self.lesson, list(values)),
                list(values.values()),
                [text],
                show_progress="hidden",
            )
        if self.lesson.page.is_file():
            with gr.Accordion("Learn more", open=False, elem_id=f"{place}-learn") as fold:
                page = gr.Markdown(elem_classes="card")
            fold.expand(
                functools.partial(self.lesson.page.read_text, "utf-8"),
                None,
                [page],
                api_visibility="private",
                show_progress="hidden",
            )

    # ---- events
    def _wire(self, turn: Any) -> None:
        shown = [self.said, *self.outputs]
        checkpoint = self.given.get("checkpoint", turn)  # without one, only the picture counts
        causes = {
            "expand": [self.fold.expand],
            "collapse": [self.fold.collapse],
            "change": [turn.change, *([checkpoint.change] if checkpoint is not turn else [])],
            "select": [tab.select for tab in _tabs_around(self.fold)],
        }
        for cause, triggers in causes.items():
            for trigger in triggers:
                trigger(
                    None,
                    [turn, checkpoint, self.tick],
                    [self.tick, *shown],
                    js=self._gate(cause),
                    api_visibility="private",
                    show_progress="hidden",
                )
        values = self._values()
        inputs = [self.runs, self.tick, *values.values()]
        run = lesson_run.running(self.lesson, list(values))
        if self.lesson.is_long:
            # First, since the browser sends one event after another; it ends the previous run.
            self.tick.change(
                ui.guarded(lesson_run.Runs.ask),
                [self.runs, self.tick],
                None,
                trigger_mode="multiple",
                api_visibility="private",
                show_progress="hidden",
            )
        moved = [trigger for one in self.lesson.controls for trigger in self._moves(one)]
        events = [
            ui.on_device([trigger], run, inputs, shown, mode, queue=self._queue())
            for trigger, mode in (
                (self.tick.change, "multiple"),  # do not wait for the old picture
                *((trigger, "always_last") for trigger in (self.refresh.click, *moved)),
            )
        ]
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

    def _gate(self, cause: str) -> str:
        nothing = [lesson_parts.empty(one) for one in self.lesson.shows]
        arguments = json.dumps([self.lesson.key, cause, nothing, _WORKING])
        # Nothing changes until the page's script (shared.js) has loaded.
        return (
            f"(...now) => window.visionHub ? window.visionHub.lesson({arguments}, ...now) "
            f": Array({2 + len(nothing)}).fill({{ __type__: 'update' }})"
        )


def _tabs_around(block: Any) -> Iterator[Any]:
    while (block := block.parent) is not None:
        if isinstance(block, gr.Tab):
            yield block


def _offer(endpoint: Endpoint, queue: tuple[str, int]) -> None:
    api.endpoint(endpoint.name, endpoint.fn, endpoint.inputs, endpoint.outputs, queue)
