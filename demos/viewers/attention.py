"""The view of a Vision Transformer's attention: values for it, and the component that draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.attention import Attention


class AttentionView(view.View):
    """A picture in patches with the attention of the chosen one; its value is from `packed`."""

    markup = "attention.html"
    styles = ("attention.css",)
    scripts = ("attention.js", "attention_input.js")


def packed(rgb: images.RGB, found: Attention) -> dict[str, Any]:
    """The value of an `AttentionView`: numbers and picture as files that the page fetches.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    queries, of_queries = view.whole(found.queries, (2, 3))
    keys, of_keys = view.whole(found.keys, (2, 3))
    layers, heads, tokens, dim = found.queries.shape
    arrays, readout = {"queries": queries, "keys": keys}, None
    if found.readout is not None:
        query, of_query = view.whole(found.readout.queries, (1,))
        key, of_key = view.whole(found.readout.keys, (1, 2))
        arrays |= {"answer_query": query, "answer_keys": key}
        readout = (of_query * of_key).tolist()
    return {
        **view.packed("attention", arrays),
        "picture": view.seen(rgb, found.seen),
        "scale": (of_queries * of_keys).tolist(),
        "layers": layers,
        "heads": heads,
        "tokens": tokens,
        "dim": dim,
        "rows": found.grid[0],
        "columns": found.grid[1],
        "special": list(found.special),
        "readout": readout,
        "far": [[round(float(far), 4) for far in row] for row in found.distances()],
    }
