"""The point-prompt canvas: a picture to click on, with the mask painted over it.

The browser keeps the prompts and their undo history (`_canvas.js`); Python gets all of them with
every gesture and answers with a mask and a sentence. The picture travels once, in a prop of its
own, so that an answer is only a few kilobytes.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from core.errors import InputError

MOST_POINTS = 200  # as in _canvas.js
SHOWN_SIDE = 1024  # pixels of the longer side that travel to the page
_HERE = Path(__file__).resolve().parent
_BROKEN = "These prompts cannot be read; please reload the page and click again."


class PointPrompter(gr.HTML):
    """A canvas that takes include and exclude points and one box, in pixels of the picture.

    Listen with `canvas.prompt(fn, inputs, outputs, trigger_mode="multiple")`: without that mode
    Gradio drops the clicks made while an answer is under way. `fn` takes an `evt: gr.EventData`;
    `parse_prompt(evt._data)` reads it. Return `canvas_answer(…)` to this component after a gesture,
    and `PointPrompter(picture=canvas_picture(…))` to show another picture.
    """

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        picture: dict[str, Any] | None = None,
        label: str | None = "Picture",
        hint: str = "Choose a picture above.",
        color: str = "#1e90ff",
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
            picture: what `canvas_picture` gives; None shows the hint.
            label: name of the canvas for screen readers, before the alt text.
            hint: sentence shown while there is no picture.
            color: CSS colour of the mask, unless an answer names one.
        """
        super().__init__(
            value=value,
            label=label,
            html_template=_template(hint, color),
            css_template=_text("_canvas.css"),
            js_on_load=_text("_canvas.js") + _text("_canvas_paint.js"),
            apply_default_css=False,
            elem_id=elem_id,
            elem_classes=elem_classes,
            visible=visible,
            scale=scale,
            min_width=min_width,
            render=render,
            picture=picture,
        )

    def __getattr__(self, name: str) -> Any:
        # gr.HTML takes every quoted word of the script for an event, "picture" among them.
        if name != "prompt":
            raise AttributeError(f"PointPrompter has no attribute {name!r}")
        return super().__getattr__(name)

    def api_info(self) -> dict[str, Any]:
        """The value is JSON, not the text of gr.HTML."""
        return {"type": "object"}


def canvas_picture(
    rgb: images.RGB,
    *,
    alt: str = "",
    points: Sequence[Sequence[float]] = (),
    box: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A picture to click on, for the `picture` argument of `PointPrompter`.

    Args:
        rgb: (H, W, 3) uint8, upright. A JPEG of at most 1024 pixels a side travels to the page;
            coordinates stay those of `rgb`.
        alt: what the picture shows, for those who do not see it.
        points: prompts to begin with, as [[x, y, label], …]; they raise `prompt` at once.
        box: box to begin with, as [x1, y1, x2, y2].

    Raises:
        InputError: points or box are not what `parse_prompt` accepts.
    """
    height, width = rgb.shape[:2]
    return {
        "id": secrets.token_hex(8),
        "src": images.to_data_url(rgb, SHOWN_SIDE),
        "w": width,
        "h": height,
        "alt": alt,
        "points": [_point(point) for point in points],
        "box": _box(box),
    }


def canvas_answer(
    data: Mapping[str, Any],
    mask: NDArray[np.bool_] | None = None,
    *,
    status: str = "",
    color: str | None = None,
) -> dict[str, Any]:
    """The answer to one gesture, as the component's value.

    Args:
        data: the gesture, `evt._data`. It tells the page which of its prompts is answered: an
            answer older than what is shown, or to another picture, is not painted.
        mask: (H, W) bool of the picture's shape, or None for no mask.
        status: sentence under the picture, read out by screen readers.
        color: CSS colour of this mask.

    Raises:
        InputError: `data` is not a gesture.
    """
    return {
        "seq": _sequence(data),
        "picture": picture_id(data),
        "mask": None if mask is None else mask_url(mask),
        "status": status,
        "color": color,
    }


def canvas_message(picture: Mapping[str, Any], status: str) -> dict[str, Any]:
    """A value that changes only the sentence, such as "Reading the picture"."""
    return {"seq": None, "picture": picture["id"], "status": status}


def mask_url(mask: NDArray[np.bool_]) -> str:
    """(H, W) bool as the data URL of a 1-bit PNG, transparent where False, at most 1024 a side."""
    shown = Image.fromarray(np.ascontiguousarray(mask, dtype=bool))
    if max(shown.size) > SHOWN_SIDE:
        factor = SHOWN_SIDE / max(shown.size)
        width, height = (max(1, round(side * factor)) for side in shown.size)
        shown = shown.resize((width, height), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=1, transparency=0)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def parse_prompt(data: Any) -> tuple[list[list[float]], list[float] | None, int]:
    """Read a gesture's `evt._data`, which anybody can send.

    Returns:
        points [[x, y, label], …] with label 1 (include) or 0 (exclude), the box [x1, y1, x2, y2]
        or None, and the number of the gesture. Finite numbers; whether they lie inside the picture
        is for the task to check.

    Raises:
        InputError: not of that form, or more than 200 points.
    """
    if not isinstance(data, Mapping):
        raise InputError(_BROKEN)
    points = data.get("points")
    if not isinstance(points, list):
        raise InputError(_BROKEN)
    if len(points) > MOST_POINTS:
        raise InputError(f"Please use at most {MOST_POINTS} points.")
    return [_point(point) for point in points], _box(data.get("box")), _sequence(data)


def picture_id(data: Any) -> str:
    """The `id` that `canvas_picture` gave the picture on which a gesture was made.

    Raises:
        InputError: the gesture names none.
    """
    found = data.get("picture") if isinstance(data, Mapping) else None
    if not isinstance(found, str) or len(found) > 64:
        raise InputError(_BROKEN)
    return found


def _sequence(data: Any) -> int:
    found = data.get("seq") if isinstance(data, Mapping) else None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 2**53:
        raise InputError(_BROKEN)
    return found


def _point(point: Any) -> list[float]:
    x, y, label = _numbers(point, 3)
    if label not in (0, 1):
        raise InputError("A point's label must be 1 to include or 0 to exclude.")
    return [x, y, int(label)]


def _box(box: Any) -> list[float] | None:
    if box is None:
        return None
    x1, y1, x2, y2 = _numbers(box, 4)
    if x1 >= x2 or y1 >= y2:
        raise InputError("A box needs its left upper corner before its right lower one.")
    return [x1, y1, x2, y2]


def _numbers(values: Any, count: int) -> list[float]:
    """`count` finite numbers, as Python's own."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise InputError(_BROKEN)
    for value in values:
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not known or not abs(value) <= 1e9:  # written so that NaN fails too
            raise InputError(_BROKEN)
    return list(values)


@functools.cache
def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _template(hint: str, color: str) -> str:
    """The page part. Gradio runs it through Handlebars and a JavaScript template string."""

    def plain(text: str) -> str:
        escaped = html.escape(text)
        return "".join(f"&#{ord(c)};" if c in "{}$`\\" else c for c in escaped)

    page = _text("_canvas.html").replace("@hint@", plain(hint))
    return page.replace('<div class="pp"', f'<div class="pp" data-color="{plain(color)}"', 1)
