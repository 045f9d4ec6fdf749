"""The view of a DETR's queries: values for it, and the component that draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core import images
from demos.viewers import view
from demos.viewers.matching import shown

if TYPE_CHECKING:
    from core.lessons.queries import Looks, Queries

MOST_CLASSES = 5  # of each query, best first
Arrays = dict[str, NDArray[Any]]


class QueriesView(view.View):
    """All queries over the layers, and what the chosen one looks at; its value is from `packed`."""

    markup = "queries.html"
    styles = ("queries.css",)
    scripts = (
        "boxes.js",
        "detections_paint.js",
        "dragging.js",
        "queries.js",
        "queries_draw.js",
        "queries_input.js",
    )


def packed(rgb: images.RGB, found: Queries) -> dict[str, Any]:
    """The value of a `QueriesView`; its stages are those of `Queries.stages`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    probabilities, boxes = found.stages()
    arrays, best = _classes(probabilities, found.inside.kind == "softmax")
    arrays["boxes"] = boxes
    value: dict[str, Any] = {"among": _looks("among", found.among, arrays), "encoder": None}
    value |= _over(found, arrays)
    if found.encoder is not None:
        value["encoder"] = _looks("encoder", found.encoder, arrays)
    if found.chosen is not None:
        arrays["places"] = found.chosen.places
    return {
        **view.packed("queries", arrays),
        **value,
        "picture": shown(rgb),
        "layers": len(found.inside.layers_boxes),
        "heads": found.heads,
        "queries": boxes.shape[1],
        "names": {str(number): found.label(int(number)) for number in np.unique(best)},
        "origins": None if found.chosen is None else found.chosen.levels.tolist(),
    }


def _classes(probabilities: NDArray[np.float32], none: bool) -> tuple[Arrays, NDArray[np.int16]]:
    """The best classes (S, Q, K) by number with their shares; of a softmax, with that of "no
    object", (S, Q)."""
    arrays: Arrays = {}
    if none:
        arrays["none"] = probabilities[..., -1].astype(np.float32)
        probabilities = probabilities[..., :-1]
    best = np.argsort(-probabilities, axis=-1, kind="stable")[..., :MOST_CLASSES].astype(np.int16)
    arrays["shares"] = np.take_along_axis(probabilities, best, -1).astype(np.float32)
    arrays["best"] = best
    return arrays, best


def _over(found: Queries, arrays: Arrays) -> dict[str, Any]:
    """The attention over the picture: "over" of all places, or "sampling" of single points."""
    from core.lessons.queries import Sampling

    if not isinstance(found.over, Sampling):
        return {"over": _looks("over", found.over, arrays), "sampling": None}
    arrays["points"], far = view.whole(found.over.points)
    arrays["weights"], most = view.whole(found.over.weights)
    sampling = {
        "far": float(far),
        "most": float(most),
        "levels": found.over.levels.tolist(),
        "shapes": [list(shape) for shape in found.over.shapes],
    }
    return {"over": None, "sampling": sampling}


def _looks(name: str, looks: Looks, arrays: Arrays) -> dict[str, Any]:
    """Queries and keys as whole numbers, and what the page needs to multiply them."""
    arrays[f"{name}_q"], one = view.whole(looks.queries, (2, 3))
    arrays[f"{name}_k"], other = view.whole(looks.keys, (2, 3))
    layers, heads, rows, dim = looks.queries.shape
    return {
        "layers": layers,
        "heads": heads,
        "from": rows,
        "to": looks.keys.shape[2],
        "dim": dim,
        "grid": looks.grid,
        "scale": (one * other).tolist(),
    }
