"""The page's one picture, shared by all tabs.

A visitor chooses a picture once. Each picture has a number, its turn, and each tab has a hidden
text with the turn of its last picture. The browser (shared.js) updates the text of the open tab
when the picture changes, and of a tab when it is opened; a tab runs when its text changes. So each
tab runs once per picture, keeps its results, and computes nothing unless opened.
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
_START = '<p class="start">Pick an example or your own picture. Every tab works on it.</p>'
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
    """Prompts for the picture with this digest, as returned by `canvas_object`."""

    digest: str
    objects: Objects


class SharedPicture:
    """The picture, the turns of the tabs, and transfers between tabs; create it inside the Blocks.

    Args:
        tabs: the key of each tab, with the keys of its inner tabs.
    """

    def __init__(self, tabs: Mapping[str, Sequence[str]]) -> None:
        self._tabs = {key: list(inner) for key, inner in tabs.items()}
        keys = [one for key, inner in tabs.items() for one in inner or (key,)]
        self.picture = PictureIn(elem_id="picture", height=None, value=examples.first())
        gr.HTML(_START, padding=False)
        examples.place(self.picture)
        gr.HTML(_ADDRESS, padding=False)
        self.turns = {
            key: gr.Textbox(visible="hidden", elem_id=f"{key}-turn", container=False)
            for key in keys
        }
        self._prompts: dict[str, tuple[gr.State, gr.Textbox]] = {}
        self._states: dict[str, gr.State] = {}
        self._back = gr.Button(visible="hidden", elem_id="tray-take")

    def wire(self, page: gr.Blocks) -> None:
        """Connect the picture and the turns; call it inside the Blocks after building every tab."""
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
            [*turns, self.picture],
            js=f"(value) => {{ ({_SCRIPT})({json.dumps(list(self.turns))}, "
            f"{json.dumps(self._tabs)}, {json.dumps(examples.BY_TAB)}); "
            "return window.visionHub.arrived(value); }",
            api_visibility="private",
        )

    def opens(self, tab: gr.Tab, key: str) -> None:
        """Run `tab` on the picture when it is opened; `key` is its own key or an inner tab's."""
        turns = list(self.turns.values())
        self._in_browser(tab.select, [], turns, f"opened({json.dumps(key)})")

    def _in_browser(self, event: Any, inputs: list[Any], turns: list[Any], call: str) -> None:
        # Nothing changes until the script has loaded.
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
        """Let `button` make the file written by `make` the page's picture."""
        ui.on_device([button.click], make, inputs, [self.picture], show_progress="hidden")

    def use_shown(self, button: gr.Button, shown: Any, js: str = "(value) => value") -> None:
        """Let `button` make a `shown` picture the page's picture; `js` maps value to picture."""
        button.click(
            None, [shown], [self.picture], js=js, api_visibility="private", show_progress="hidden"
        )

    def state(self, key: str) -> gr.State:
        """What a visitor has done on the tab `key`, which fills it; other tabs may read it."""
        if key not in self._states:
            self._states[key] = gr.State(None)
        return self._states[key]

    def prompts(self, key: str) -> tuple[gr.State, gr.Textbox]:
        """The state with prompts for the tab `key`, and a text that changes when prompts arrive for
        the picture already on that tab."""
        if key not in self._prompts:
            came = gr.Textbox(visible="hidden", elem_id=f"{key}-came", container=False)
            self._prompts[key] = gr.State(None), came
        return self._prompts[key]

    def send(
        self,
        button: gr.Button,
        make: Callable[..., Prompts],
        inputs: Sequence[Any],
        key: str,
        js: str | None = None,
    ) -> None:
        """Let `button` pass the prompts from `make` to the tab `key`, and open that tab; `js` may
        change the inputs in the browser."""
        handed, came = self.prompts(key)

        def deliver(*values: Any) -> dict[str, Any]:
            made = make(*values)
            return {"digest": made.digest, "objects": list(made.objects)}

        event = ui.on_device(
            [button.click], deliver, inputs, [handed], show_progress="hidden", js=js
        )
        event.success(
            None,
            [came],
            [came],
            js=f"(came) => window.visionHub.delivered({json.dumps(key)}, came)",
            api_visibility="private",
        )


def about(text: str) -> str:
    """The line that describes a tab, as HTML."""
    return f'<p class="does">{html.escape(text)}</p>'
