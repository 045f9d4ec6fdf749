"""The components of lessons and their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from core import images
from core.checkpoints import Task, by_key
from core.errors import InputError
from core.sources import downloads, resolver
from demos.shell import picker, ui
from demos.shell.file_in import FileIn
from demos.shell.image import ImageIn
from demos.shell.lesson import Action, Check, Choice, Control, Show, Slider, Text, Upload


def control(one: Control, place: str) -> Any:
    """The component of a control; `place` is the elem_id of its lesson."""
    named: dict[str, Any] = {"label": one.label, "elem_id": f"{place}-{one.key}"}
    match one:
        case Slider():
            info = one.info or None
            return gr.Slider(one.low, one.high, one.value, step=one.step, info=info, **named)
        case Choice():
            return gr.Dropdown(list(one.choices), value=one.value, info=one.info or None, **named)
        case Check():
            return gr.Checkbox(one.value, info=one.info or None, **named)
        case Text():
            return gr.Textbox(one.value, max_lines=1, info=one.info or None, **named)
        case Upload() if one.files:
            return FileIn(one.files, **named)
        case Upload():
            return ImageIn(sources=("upload",), height=140, **named)
        case Action():
            return gr.Button(one.label, size="sm", elem_id=named["elem_id"])


def output(one: Show, place: str) -> Any:
    """The component of an output."""
    elem_id = f"{place}-{one.key}"
    match one.kind:
        case "html":
            return gr.HTML(elem_id=elem_id)
        case "picture" | "lossless":
            return ui.picture_output(one.label, elem_id, lossless=one.kind == "lossless")
        case "files":
            return gr.File(
                label=one.label, file_count="multiple", interactive=False, elem_id=elem_id
            )
        case "component":
            assert one.make is not None
            return one.make(elem_id)


def other_model(asked: str, used: str, task: Task, reason: str) -> str:
    """One sentence if a lesson used another checkpoint than its tab does for "auto", or ""."""
    if asked != "auto":
        return ""
    above = resolver.resolve(asked, task).checkpoint
    if above.key == used:
        return ""
    return (
        f"This lesson looks inside {title_of(used)}, since the model above, "
        f"{above.title or above.key}, {reason}; so the scores differ from those above."
    )


def fetched(key: str) -> str:
    """Start the download of a checkpoint for a lesson, or say how far it is.

    Raises:
        InputError: there is none of that key.
    """
    one = by_key(key)
    if one is None:
        raise InputError("There is no such checkpoint; choose one of the list.")
    if resolver.is_ready(one):
        return f"{one.title} is here; press Refresh to look inside it."
    job = downloads.of(key)
    if job is not None and not job.ended.is_set():
        return f"{job.sentence}. Press Refresh when it is done."
    job = downloads.start(one, "a lesson")
    job.ended.wait(2)
    if job.state == "failed":
        return job.sentence
    size = picker.megabytes(one.size_mb)
    return f"{one.title} ({size}) is being downloaded; press Refresh when it is done."


def compared(asked: str, used: Sequence[str], task: Task) -> str:
    """One sentence that tells which of several models is the one that the tab uses."""
    above = resolver.resolve(asked, task).checkpoint
    if above.key not in used:  # it could not be loaded, and the chip says so
        return ""
    others = [title_of(key) for key in used if key != above.key]
    named = " and ".join(filter(None, (", ".join(others[:-1]), others[-1])))
    verb = "is" if len(others) == 1 else "are"
    first = above.title or above.key
    return f"{first} is the model of the answer above; {named} {verb} here to compare."


def title_of(key: str) -> str:
    """The title of a checkpoint, or its key where it has none."""
    known = by_key(key)
    return (known.title if known else "") or key


def empty(one: Show) -> Any:
    """An output's value when there is no result; the browser sets it too."""
    return "" if one.kind == "html" else one.empty


def value(one: Show, value: Any) -> Any:
    """Convert a value from `run` for its component."""
    if value is None:
        return empty(one)
    if one.kind == "picture":
        path = ui.result_path(f"{one.key}.jpg")
        images.save_jpeg(value, path)
        return str(path)
    if one.kind == "lossless":
        path = ui.result_path(f"{one.key}.png")
        images.save_png(value, path)
        return str(path)
    return [str(path) for path in value] if one.kind == "files" else value
