"""Masks in COCO format: compressed run-length encoding, with pycocotools."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from core.imaging import outlines
from core.types import Mask

# How people number objects of one kind: "cat 2", "cat_02", "cat (2)", "cat #2". Three digits are
# more likely a name, such as an aircraft type.
_COUNTED = re.compile(r"(?:[\s_-]+#?|\s*#|\s*\()\d{1,2}\)?$")


def encode(mask: NDArray[np.bool_] | Mask, score: float) -> dict[str, object]:
    """One mask as {"score", "area", "bbox": [x, y, w, h], "rle": {"size", "counts"}}.

    The input is (H, W) bool or a mask of everything mode.
    `area` counts pixels, `bbox` is in pixels, `counts` is COCO's compressed string. `score` is the
    model's own estimate, which may exceed 1.
    """
    from pycocotools import mask as coco

    if isinstance(mask, Mask):
        height, width = mask.size
        runs = {"size": [height, width], "counts": mask.counts.tolist()}
        rle = coco.frPyObjects(runs, height, width)
    else:
        rle = coco.encode(np.asfortranarray(mask).view(np.uint8))
    return {
        "score": float(score),
        "area": int(coco.area(rle)),
        "bbox": [float(v) for v in coco.toBbox(rle)],
        "rle": {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode("ascii")},
    }


def document(
    masks: Iterable[NDArray[np.bool_] | Mask], scores: Iterable[float], size: tuple[int, int]
) -> dict[str, object]:
    """The JSON of `/segment`: the picture's [W, H] and every mask. `size` is (W, H)."""
    rows = [encode(mask, score) for mask, score in zip(masks, scores, strict=True)]
    return {"image_size": list(size), "masks": rows}


def class_document(
    labels: NDArray[np.uint8], shares: Mapping[str, float], classes: Sequence[str]
) -> dict[str, object]:
    """The JSON of `/segment_semantic`: the picture's [W, H], the classes with their `shares`, and
    the run lengths of each.

    Args:
        labels: (H, W) indices of `classes`.
    """
    from pycocotools import mask as coco

    found = {}
    for name in shares:
        mask = np.asfortranarray(labels == classes.index(name))
        rle = coco.encode(mask.view(np.uint8))
        found[name] = {"size": list(labels.shape), "counts": rle["counts"].decode("ascii")}
    return {
        "image_size": [labels.shape[1], labels.shape[0]],
        "classes": [{"label": name, "share": share} for name, share in shares.items()],
        "labels": found,
    }


def dataset(
    masks: Sequence[NDArray[np.bool_] | Mask],
    names: Sequence[str],
    scores: Sequence[float | None],
    size: tuple[int, int],
    file_name: str,
    polygons: bool = False,
    tolerance: float = 0.0,
) -> dict[str, object]:
    """A COCO data set (images, annotations, categories) of one picture of `size` (H, W).

    Args:
        masks: (H, W) bool each, or masks of everything mode.
        names: one category per kind (`kind_of`), ignoring case, in order of first
            appearance. The full name is stored as `name` in the annotation's `attributes`.
        scores: predicted IoU, written as `score` if given.
        polygons: write `segmentation` as polygons instead of run lengths. A part with holes is one
            polygon that cuts into them and back; COCO has no other way to describe a hole.
        tolerance: pixels by which a polygon may cut corners; 0 reproduces the mask exactly.
    """
    kinds: dict[str, tuple[int, str]] = {}  # id and first spelling of each
    for name in names:
        kind = kind_of(name)
        kinds.setdefault(kind.casefold(), (len(kinds) + 1, kind))
    annotations: list[dict[str, object]] = []
    for mask, name, score in zip(masks, names, scores, strict=True):
        row = encode(mask, score or 0.0)
        annotation = {
            "id": len(annotations) + 1,
            "image_id": 1,
            "category_id": kinds[kind_of(name).casefold()][0],
            "area": row["area"],
            "bbox": row["bbox"],
            "iscrowd": 0,
            "segmentation": _polygons(mask, tolerance) if polygons else row["rle"],
            "attributes": {"name": name},
        }
        annotations.append(annotation if score is None else {**annotation, "score": float(score)})
    picture = {"id": 1, "file_name": file_name, "width": size[1], "height": size[0]}
    categories = [
        {"id": number, "name": kind, "supercategory": "object"} for number, kind in kinds.values()
    ]
    return {
        "info": {"description": "Objects segmented with Vision Hub"},
        "licenses": [],
        "images": [picture],
        "annotations": annotations,
        "categories": categories,
    }


def kind_of(name: str) -> str:
    """The kind of an object, without its number: "cat 2" is a "cat"."""
    plain = " ".join(unicodedata.normalize("NFC", name).split())
    return _COUNTED.sub("", plain).rstrip(" -_/,.:;#(") or plain or "object"


def _polygons(mask: NDArray[np.bool_] | Mask, tolerance: float) -> list[list[float]]:
    """[[x1, y1, x2, y2, …], …], one for each part of the mask."""
    parts = outlines.outlines(mask.mask if isinstance(mask, Mask) else mask, tolerance)
    return [outlines.keyholed(part).ravel().tolist() for part in parts]


def decode(rle: dict[str, object]) -> NDArray[np.bool_]:
    """(H, W) bool from {"size": [H, W], "counts": str}."""
    from pycocotools import mask as coco

    return coco.decode(rle).astype(bool)
