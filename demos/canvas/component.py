"""The point-prompt canvas: a picture to click on, with the masks of several objects over it.

The browser keeps the prompts and their undo history (`*.js`). It sends all prompts with every
gesture, and Python answers with masks and a sentence. The picture is sent only once, in a separate
prop, so an answer takes only a few kilobytes.
"""

from __future__ import annotations

import functools
import html
from pathlib import Path
from typing import Any, Literal

import gradio as gr

from demos.shell import ui

_HERE = Path(__file__).resolve().parent
# Concatenated, so they share one scope; the last one runs what the others define.
_SCRIPTS = (
    "state.js",
    "kept.js",
    "view.js",
    "masks.js",
    "paint.js",
    "panel.js",
    "pointer.js",
    "keys.js",
    "canvas.js",
)
EVENTS = ("prompt", "hover", "detail", "pick", "everything", "stop")


class PointPrompter(gr.HTML):
    """A canvas with include and exclude points and a box for each of several objects.

    Events; each handler takes an `evt: gr.EventData`. Its `_data` is plain JSON that anyone can
    send, so parse it with `demos.canvas.gestures`:

    - `prompt`: a gesture (`parse_gesture`). Listen with `trigger_mode="multiple"`: otherwise
      Gradio drops clicks made while it waits for an answer. Return `canvas_answer(…)`.
    - `hover`: the mouse is on `point` [x, y, label] of the active `object`. The page
      waits for each answer, so listen with `trigger_mode="multiple"` (others drop some). Return
      `PointPrompter(preview={"picture", "seq", "mask"})`, with the mask as `mask_url` or None.
    - `detail`: the page needs `rect` [x1, y1, x2, y2] at a higher resolution, `size` [w, h].
      Return `PointPrompter(detail={"picture", "rect", "src"})`.
    - `everything`: the user wants all masks. Answer with values whose `everything` is True during
      the run and False at its end, and with `segments`.
    - `stop`: the user cancels that run.
    - `pick`: a click at `x`, `y` while segments are shown. Return
      `PointPrompter(command=canvas_command(…))`.

    Show another picture with `PointPrompter(picture=canvas_picture(…))`, and coloured masks to
    pick from with `PointPrompter(segments={"picture", "src", "count"})`.
    """

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        picture: dict[str, Any] | None = None,
        preview: dict[str, Any] | None = None,
        detail: dict[str, Any] | None = None,
        segments: dict[str, Any] | None = None,
        command: dict[str, Any] | None = None,
        label: str | None = "Picture",
        hint: str = "Choose a picture above.",
        elem_id: str | None = None,
        elem_classes: list[str] | None = None,
        visible: bool | Literal["hidden"] = True,
        scale: int | None = None,
        min_width: int | None = None,
        render: bool = True,
    ) -> None:
        """
        Args:
            value: what `canvas_answer` or `canvas_message` gives.
            picture: a value from `canvas_picture`; None shows the hint.
            preview, detail, segments, command: answers to the events above.
            label: name of the canvas for screen readers, before the alt text.
            hint: sentence shown while there is no picture.
        """
        super().__init__(
            value=value,
            label=label,
            html_template=_template(hint),
            css_template=_text("canvas.css"),
            js_on_load="".join([*(_text(name) for name in _SCRIPTS), ui.COMMON_JS]),
            apply_default_css=False,
            elem_id=elem_id,
            elem_classes=elem_classes,
            visible=visible,
            scale=scale,
            min_width=min_width,
            render=render,
            picture=picture,
            preview=preview,
            detail=detail,
            segments=segments,
            command=command,
        )

    def __getattr__(self, name: str) -> Any:
        # gr.HTML treats every quoted word of the script as an event, such as "picture".
        if name not in EVENTS:
            raise AttributeError(f"PointPrompter has no attribute {name!r}")
        return super().__getattr__(name)

    def emptied(self) -> PointPrompter:
        """The update that removes the picture and everything on it."""
        return PointPrompter(picture=None, segments=None)

    def api_info(self) -> dict[str, Any]:
        """The value is JSON, not the text of gr.HTML."""
        return {"type": "object"}


@functools.cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _template(hint: str) -> str:
    """Escape a part of the page for Handlebars and a JavaScript template string."""
    escaped = html.escape(hint)
    plain = "".join(f"&#{ord(c)};" if c in "{}$`\\" else c for c in escaped)
    return _text("canvas.html").replace("@hint@", plain)
