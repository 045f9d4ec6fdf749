"""Pictures and prompts sent from one tab to another, inside one visitor's page.

A tab that takes pictures says so with `accept`; one that gives them makes a `sender` or calls
`send`. `wire` joins them when every tab is built. What is sent travels as a file in the upload
folder and, for prompts, in the receiving tab's gr.State, so nobody else sees it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from demos import _ui
from demos._image import ImageIn

Objects = Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Parcel:
    """A picture's file under `_ui.result_path`, and prompts for it as `canvas_object` gives them.

    `digest` is that of the pixels, so that the prompts reach no other picture.
    """

    path: Path
    digest: str = ""
    objects: Objects = ()


@dataclass(frozen=True, slots=True)
class _Target:
    key: str  # of the tab
    title: str
    image: ImageIn
    prompts: gr.State | None
    inner: tuple[gr.Tabs, str] | None  # a tab inside the tab, and its id


@dataclass(slots=True)
class _Page:
    targets: dict[str, _Target] = field(default_factory=dict)
    sends: list[tuple[gr.Button, Callable[..., Parcel], list[Any], str | gr.Dropdown]] = field(
        default_factory=list
    )


_current: list[_Page] = [_Page()]  # of the page that is being built


def begin_page() -> None:
    """Forget the tabs of an earlier page; call before any tab is built."""
    _current[:] = [_Page()]


def accept(
    key: str,
    title: str,
    image: ImageIn,
    prompts: gr.State | None = None,
    inner: tuple[gr.Tabs, str] | None = None,
) -> None:
    """Take pictures in the input `image` of the tab `key`.

    Args:
        title: what a person chooses by, such as "Restore: denoise". It names the target.
        prompts: gets {"digest", "objects"} before the picture comes.
        inner: tabs inside the tab, and which of them to open.
    """
    _current[0].targets[title] = _Target(key, title, image, prompts, inner)


def sender(
    label: str, make: Callable[..., Parcel], inputs: Sequence[Any], elem_id: str, but: str
) -> None:
    """A choice among the tabs that take pictures, except the tab `but`, and a button that sends."""
    with gr.Row(equal_height=True):
        target = gr.Dropdown([], label=label, elem_id=f"{elem_id}-target")
        button = gr.Button("Send", elem_id=elem_id, min_width=90, scale=0)
    target.elem_classes = [f"but-{but}"]
    _current[0].sends.append((button, make, list(inputs), target))


def send(button: gr.Button, make: Callable[..., Parcel], inputs: Sequence[Any], title: str) -> None:
    """Let `button` send what `make` gives to the target of that title."""
    _current[0].sends.append((button, make, list(inputs), title))


def wire(tabs: gr.Tabs) -> None:
    """Join senders and targets; call inside the Blocks when every tab is built."""
    page = _current[0]
    for button, make, inputs, wanted in page.sends:
        if isinstance(wanted, gr.Dropdown):
            but = wanted.elem_classes[0].removeprefix("but-")
            targets = [one for one in page.targets.values() if one.key != but]
            wanted.choices = [(one.title, one.title) for one in targets]
            wanted.value = targets[0].title if targets else None
            _wire(button, make, [*inputs, wanted], targets, tabs, None)
        elif wanted in page.targets:
            _wire(button, make, inputs, [page.targets[wanted]], tabs, wanted)


def _wire(
    button: gr.Button,
    make: Callable[..., Parcel],
    inputs: list[Any],
    targets: list[_Target],
    tabs: gr.Tabs,
    fixed: str | None,
) -> None:
    outputs: list[Any] = [tabs]
    for one in targets:
        outputs += [one.image, *([one.prompts] if one.prompts else [])]
    inner = list({id(one.inner[0]): one.inner[0] for one in targets if one.inner}.values())
    outputs += inner

    def deliver(*values: Any) -> list[Any]:
        chosen = fixed or values[-1]
        parcel = make(*(values if fixed else values[:-1]))
        answers: list[Any] = [gr.skip()]
        opened: dict[int, Any] = {}
        for one in targets:
            mine = one.title == chosen
            answers.append(str(parcel.path) if mine else gr.skip())
            if one.prompts:
                prompts = {"digest": parcel.digest, "objects": list(parcel.objects)}
                answers.append(prompts if mine else gr.skip())
            if mine:
                answers[0] = gr.Tabs(selected=one.key)
            if mine and one.inner:
                opened[id(one.inner[0])] = gr.Tabs(selected=one.inner[1])
        return [*answers, *(opened.get(id(one), gr.skip()) for one in inner)]

    _ui.on_device([button.click], deliver, inputs, outputs, show_progress="hidden")
