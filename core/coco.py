"""Masks as COCO writes them: compressed run-length encoding, through pycocotools."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def encode(mask: NDArray[np.bool_], score: float) -> dict[str, object]:
    """One (H, W) mask as {"score", "area", "bbox": [x, y, w, h], "rle": {"size", "counts"}}.

    `area` counts pixels, `bbox` is in pixels, `counts` is COCO's compressed string.
    """
    from pycocotools import mask as coco

    rle = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {
        "score": float(score),
        "area": int(coco.area(rle)),
        "bbox": [float(v) for v in coco.toBbox(rle)],
        "rle": {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")},
    }


def document(
    masks: Iterable[NDArray[np.bool_]], scores: Iterable[float], size: tuple[int, int]
) -> dict[str, object]:
    """The answer of `/segment`: the picture's [W, H] and every mask. `size` is (W, H)."""
    rows = [encode(mask, score) for mask, score in zip(masks, scores, strict=True)]
    return {"image_size": list(size), "masks": rows}


def decode(rle: dict[str, object]) -> NDArray[np.bool_]:
    """(H, W) bool from {"size": [H, W], "counts": str}."""
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)
