"""The base of views that paint numbers over a picture, and the values that they are given.

A value is JSON with the addresses of two files, a JPEG of what the model saw and one binary file of
small whole numbers; the page fetches both once and draws from them. With "which", a sentence, the
view's first line says which model this is.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import gradio as gr
import numpy as np
from numpy.typing import NDArray

from core import images
from demos.shell import ui

HERE = Path(__file__).resolve().parent
SHOWN_SIDE = 480  # pixels of the longer side of the picture that is shown
_TYPES = ("uint8", "int8", "int16", "float32")


class View(gr.HTML):
    """A component made of the files that its class names; its value is JSON.

    `markup` is its HTML file. `styles` and `scripts` are joined behind paint.css and paint.js, so
    the scripts share one scope and may use `Paint`.
    """

    markup: ClassVar[str]
    styles: ClassVar[tuple[str, ...]] = ()
    scripts: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        elem_id: str | None = None,
        visible: bool = True,
        render: bool = True,
    ) -> None:
        scripts = "".join(map(_text, ("paint.js", *self.scripts)))
        super().__init__(
            value=value,
            html_template=_text(self.markup),
            css_template="".join(map(_text, ("paint.css", *self.styles))),
            js_on_load=scripts + ui.COMMON_JS,
            apply_default_css=False,
            elem_id=elem_id,
            visible=visible,
            render=render,
        )

    def __getattr__(self, name: str) -> Any:
        # gr.HTML treats every quoted word of the script as an event.
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def api_info(self) -> dict[str, Any]:
        """The value is JSON, not the text of gr.HTML."""
        return {"type": "object"}


def packed(name: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Arrays as one binary file, which `Paint.load` of paint.js reads.

    Args:
        name: of the file, without its ending.
        arrays: uint8, int8, int16 or float32, of any shape.

    Returns:
        "numbers", the file's path, and "parts", for each array its type, offset and shape.
    """
    parts, content = {}, bytearray()
    for key, array in arrays.items():
        if array.dtype.name not in _TYPES:
            raise TypeError(f"{key} is {array.dtype}; the page reads {', '.join(_TYPES)}")
        content.extend(bytes(-len(content) % 4))  # typed arrays begin at whole words
        parts[key] = {"type": array.dtype.name, "offset": len(content), "shape": [*array.shape]}
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        content.extend(np.ascontiguousarray(little).tobytes())
    path = ui.result_path(f"{name}.bin")
    path.write_bytes(content)
    return {"numbers": str(path), "parts": parts}


def seen(rgb: images.RGB, part: tuple[float, float, float, float]) -> str:
    """Path of a JPEG of the part of a picture that a model saw, (x1, y1, x2, y2) in pixels."""
    x1, y1, x2, y2 = (round(value) for value in part)
    shown = images.resize_max(rgb[y1:y2, x1:x2], SHOWN_SIDE)
    return str(images.save_jpeg(shown, ui.result_path("seen.jpg"), quality=88))


def whole(
    values: NDArray[Any], axes: tuple[int, ...] | None = None, dtype: str = "int16"
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Values as whole numbers, and the factors that give them back.

    Args:
        axes: that share one factor; all of them if None.
        dtype: "int8" or "int16", or "uint8" for values that are not negative.

    Returns:
        An array of `dtype`, and float64 factors without the `axes`.
    """
    most = np.abs(values).max(axis=axes, keepdims=True)
    scale = np.maximum(most / np.iinfo(dtype).max, 1e-12)
    return np.rint(values / scale).astype(dtype), np.squeeze(scale, axes).astype(np.float64)


@functools.cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
