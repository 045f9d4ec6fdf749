"""Pictures and prompts sent from one tab to another, inside one visitor's page.

A tab that takes pictures says so with `accept`; one that gives them makes a `sender` or calls
`send`. `wire` joins them when every tab is built. What is sent travels as a file in the upload
folder and, for prompts, in the receiving tab's gr.State, so nobody else sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from demos.shell import ui
from demos.shell.image import ImageIn

Objects = Sequence[dict[str, Any]]
# Tabs are opened in the browser. Were they an output of an event, every later event, each click on
# a canvas too, would make the page copy the state of all that the tabs hold.
_OPEN = "document.getElementById(id + '-button')?.click()"
OPEN_LINKED = f"""() => {{
  const id = "tab-" + (new URLSearchParams(location.search).get("tab") || "");
  {_OPEN};
}}"""


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
    inner: str  # elem_id of a tab inside the tab


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
    inner: str = "",
) -> None:
    """Take pictures in the input `image` of the tab `key`.

    Args:
        title: what a person chooses by, such as "Restore: denoise". It names the target.
        prompts: gets {"digest", "objects"} before the picture comes.
        inner: elem_id of the tab inside the tab to open.
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


def wire() -> None:
    """Join senders and targets; call inside the Blocks when every tab is built."""
    page = _current[0]
    for button, make, inputs, wanted in page.sends:
        if isinstance(wanted, gr.Dropdown):
            but = wanted.elem_classes[0].removeprefix("but-")
            targets = [one for one in page.targets.values() if one.key != but]
            wanted.choices = [(one.title, one.title) for one in targets]
            wanted.value = targets[0].title if targets else None
            _wire(button, make, inputs, targets, wanted)
        elif wanted in page.targets:
            _wire(button, make, inputs, [page.targets[wanted]], None)


def _wire(
    button: gr.Button,
    make: Callable[..., Parcel],
    inputs: list[Any],
    targets: list[_Target],
    choice: gr.Dropdown | None,
) -> None:
    outputs: list[Any] = []
    for one in targets:
        outputs += [one.image, *([one.prompts] if one.prompts else [])]

    def deliver(*values: Any) -> list[Any]:
        chosen = values[-1] if choice else targets[0].title
        parcel = make(*(values[:-1] if choice else values))
        answers: list[Any] = []
        for one in targets:
            mine = one.title == chosen
            answers.append(str(parcel.path) if mine else gr.skip())
            if one.prompts:
                prompts = {"digest": parcel.digest, "objects": list(parcel.objects)}
                answers.append(prompts if mine else gr.skip())
        return answers

    chosen_inputs = [choice] if choice else []
    event = ui.on_device(
        [button.click], deliver, [*inputs, *chosen_inputs], outputs, show_progress="hidden"
    )
    event.success(None, chosen_inputs, None, js=_open(targets), api_visibility="private")


def _open(targets: list[_Target]) -> str:
    """JavaScript that opens the tab of the chosen target, or of the only one."""
    ids = {one.title: [f"tab-{one.key}", *([one.inner] if one.inner else [])] for one in targets}
    return f"""async (title) => {{
      const all = {json.dumps(ids)};
      for (const id of all[title] || Object.values(all)[0]) {{
        {_OPEN};
        await new Promise((done) => setTimeout(done, 150));  // for what is inside to be there
      }}
      window.scrollTo(0, 0);  // what was sent stands at the top
    }}"""
