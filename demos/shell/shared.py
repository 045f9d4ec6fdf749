"""The page's one picture, and what the tabs do with it.

A visitor chooses a picture once. Each picture has a number, its turn, and each tab a hidden text
with the turn of the picture that it has seen last. The browser (shared.js) sets the text of the tab
that is open when the picture changes, and that of a tab when it is opened; a tab runs when its text
changes. So a tab runs once for each picture, a tab that is never opened computes nothing, and a tab
keeps its answer.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos.shell import examples, ui
from demos.shell.picture import PictureIn

Objects = Sequence[dict[str, Any]]
_SCRIPT = Path(__file__).with_name("shared.js").read_text(encoding="utf-8")
_ADDRESS = (
    '<details class="address"><summary>From an address</summary>'
    '<form id="address"><input type="url" required aria-label="Address of a picture" '
    'placeholder="https://…/picture.jpg">'
    '<button type="submit" aria-label="Fetch the picture">Fetch</button></form>'
    '<p class="about" id="address-said" role="status"></p></details>'
    '<nav id="tray" aria-label="Your last pictures" hidden></nav>'
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts for the picture with this digest, as `canvas_object` gives them."""

    digest: str
    objects: Objects


class SharedPicture:
    """The picture, the turns of the tabs, and the ways between them; make it inside the Blocks.

    Args:
        tabs: the key of each tab, with those of the tabs inside it.
    """

    def __init__(self, tabs: Mapping[str, Sequence[str]]) -> None:
        self._tabs = {key: list(inner) for key, inner in tabs.items()}
        keys = [one for key, inner in tabs.items() for one in inner or (key,)]
        self.picture = PictureIn(elem_id="picture", height=None, value=examples.first())
        examples.place(self.picture)
        gr.HTML(_ADDRESS, padding=False)
        self.turns = {
            key: gr.Textbox(visible="hidden", elem_id=f"{key}-turn", container=False)
            for key in keys
        }
        self._prompts: dict[str, tuple[gr.State, gr.Textbox]] = {}
        self._back = gr.Button(visible="hidden", elem_id="tray-take")

    def wire(self, page: gr.Blocks) -> None:
        """Join the picture and the turns; call inside the Blocks when every tab is built."""
        turns = list(self.turns.values())
        self._in_browser(self.picture.change, [self.picture], turns, "picked(value)")
        self._back.click(
            None,
            None,
            [self.picture],
            js="() => window.visionHub.taken()",
            api_visibility="private",
        )
        page.load(
            None,
            [self.picture],
            turns,
            js=f"(value) => {{ ({_SCRIPT})({json.dumps(list(self.turns))}, "
            f"{json.dumps(self._tabs)}, {json.dumps(examples.BY_TAB)}); "
            "return window.visionHub.arrived(value); }",
            api_visibility="private",
        )

    def opens(self, tab: gr.Tab, key: str) -> None:
        """Let `tab` work on the picture when it is opened; `key` is its own or of an inner one."""
        turns = list(self.turns.values())
        self._in_browser(tab.select, [], turns, f"opened({json.dumps(key)})")

    def _in_browser(self, event: Any, inputs: list[Any], turns: list[Any], call: str) -> None:
        # Before the script is there nothing changes.
        value = "value, " if inputs else ""
        event(
            None,
            [*inputs, *turns],
            turns,
            js=f"({value}...turns) => window.visionHub ? window.visionHub.{call} : turns",
            api_visibility="private",
            show_progress="hidden",
        )

    def use(self, button: gr.Button, make: Callable[..., str], inputs: Sequence[Any]) -> None:
        """Let `button` make the file that `make` writes the picture."""
        ui.on_device([button.click], make, inputs, [self.picture], show_progress="hidden")

    def use_shown(self, button: gr.Button, shown: Any, js: str = "(value) => value") -> None:
        """Let `button` make a picture that is `shown` the picture; `js` takes it from the value."""
        button.click(
            None, [shown], [self.picture], js=js, api_visibility="private", show_progress="hidden"
        )

    def prompts(self, key: str) -> tuple[gr.State, gr.Textbox]:
        """Where prompts for the tab `key` lie, and a text that changes when some come for the
        picture that the tab has already."""
        if key not in self._prompts:
            came = gr.Textbox(visible="hidden", elem_id=f"{key}-came", container=False)
            self._prompts[key] = gr.State(None), came
        return self._prompts[key]

    def send(
        self, button: gr.Button, make: Callable[..., Prompts], inputs: Sequence[Any], key: str
    ) -> None:
        """Let `button` hand the prompts that `make` gives to the tab `key`, and open that tab."""
        handed, came = self.prompts(key)

        def deliver(*values: Any) -> dict[str, Any]:
            made = make(*values)
            return {"digest": made.digest, "objects": list(made.objects)}

        event = ui.on_device([button.click], deliver, inputs, [handed], show_progress="hidden")
        event.success(
            None,
            [came],
            [came],
            js=f"(came) => window.visionHub.delivered({json.dumps(key)}, came)",
            api_visibility="private",
        )


def about(text: str) -> str:
    """The line that says what a tab does, as HTML."""
    return f'<p class="does">{html.escape(text)}</p>'
