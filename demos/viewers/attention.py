"""The view of a Vision Transformer's attention: values for it, and the component that draws it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from core import images
from demos.shell import ui

if TYPE_CHECKING:
    from core.lessons.attention import Attention

_HERE = Path(__file__).resolve().parent
SHOWN_SIDE = 480  # pixels of the square that the model saw
_STEPS = 32767


class AttentionView(gr.HTML):
    """A picture in patches with the attention of the chosen one; its value is from `packed`."""

    def __init__(
        self,
        value: dict[str, Any] | None = None,
        *,
        elem_id: str | None = None,
        visible: bool = True,
        render: bool = True,
    ) -> None:
        super().__init__(
            value=value,
            html_template=_text("attention.html"),
            css_template=_text("attention.css"),
            js_on_load=_text("attention.js") + _text("attention_input.js") + ui.FILE_ADDRESS,
            apply_default_css=False,
            elem_id=elem_id,
            visible=visible,
            render=render,
        )

    def __getattr__(self, name: str) -> Any:
        # gr.HTML treats every quoted word of the script as an event.
        raise AttributeError(f"AttentionView has no attribute {name!r}")

    def api_info(self) -> dict[str, Any]:
        """The value is JSON, not the text of gr.HTML."""
        return {"type": "object"}


def packed(rgb: images.RGB, found: Attention) -> dict[str, Any]:
    """The value of an `AttentionView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    x1, y1, x2, y2 = (round(value) for value in found.seen)
    square = images.resize_max(rgb[y1:y2, x1:x2], SHOWN_SIDE)
    queries, of_queries = _whole(found.queries)
    keys, of_keys = _whole(found.keys)
    numbers = ui.result_path("attention.bin")
    numbers.write_bytes(queries.tobytes() + keys.tobytes())
    layers, heads, tokens, dim = found.queries.shape
    return {
        "picture": str(images.save_jpeg(square, ui.result_path("seen.jpg"), quality=88)),
        "numbers": str(numbers),
        "scale": (of_queries * of_keys).tolist(),
        "layers": layers,
        "heads": heads,
        "tokens": tokens,
        "dim": dim,
        "rows": found.grid[0],
        "columns": found.grid[1],
        "special": list(found.special),
        "far": [[round(float(far), 4) for far in row] for row in found.distances()],
    }


def _whole(values: Any) -> tuple[Any, Any]:
    """(L, H, N, d) as little-endian int16, and the (L, H) factors that give the values back."""
    scale = np.abs(values).max(axis=(2, 3)) / _STEPS
    scale = np.maximum(scale, 1e-12)
    return np.rint(values / scale[:, :, None, None]).astype("<i2"), scale.astype(np.float64)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
