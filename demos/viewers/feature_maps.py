"""The view of feature maps: a sheet of channels, one of them large, and the first filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from core import images
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.feature_maps import FeatureMaps, LayerMaps


class FeatureMapView(view.View):
    """The channels of every layer, chosen by click; its value is from `packed`."""

    markup = "feature_maps.html"
    styles = ("feature_maps.css",)
    scripts = ("feature_maps.js",)


def packed(
    rgb: images.RGB, found: FeatureMaps, filters: NDArray[np.uint8] | None
) -> dict[str, Any]:
    """The value of a `FeatureMapView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
        filters: (F, k, k, 3) uint8, those that are shown; None if there are none.
    """
    arrays: dict[str, NDArray[Any]] = {}
    layers = []
    for number, one in enumerate(found.layers):
        arrays[f"layer{number}"], ranges = _bytes(one.maps)
        layers.append(_facts(one, ranges))
    if filters is not None:
        arrays["filters"] = filters
    return {
        **view.packed("maps", arrays),
        "picture": view.seen(rgb, found.seen),
        "layers": layers,
        "filters": None if filters is None else list(filters.shape[:2]),
        "filterCount": 0 if found.filters is None else len(found.filters),
    }


def _bytes(maps: NDArray[np.float32]) -> tuple[NDArray[np.uint8], list[list[float]]]:
    """(c, h, w) as uint8, each channel from its lowest to its highest value; and these, (c, 2)."""
    low, high = (f(maps, axis=(1, 2), keepdims=True) for f in (np.min, np.max))
    steps = 255 * (maps - low) / np.maximum(high - low, 1e-12)
    ends = np.stack([low.ravel(), high.ravel()], 1)
    return np.rint(steps).astype(np.uint8), [[float(f"{v:.5g}") for v in pair] for pair in ends]


def _facts(one: LayerMaps, ranges: list[list[float]]) -> dict[str, Any]:
    return {
        "name": one.name,
        "kind": one.kind,
        "count": one.count,
        "size": list(one.size),
        "shape": list(one.maps.shape),
        "channels": one.channels.tolist(),
        "silent": round(one.silent, 4),
        "patches": one.kind == "Block" or one.kind.startswith(("Patch", "Hybrid", "Swin")),
        "ranges": ranges,
    }
