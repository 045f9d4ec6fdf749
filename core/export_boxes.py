"""Export detected boxes: COCO, CSV, YOLO, crops, and a zip of all of them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from pathlib import PurePath

from PIL import Image

from core import images
from core.errors import InputError
from core.export import as_json, slug, zipped
from core.types import RGB, Detections

COLUMNS = ("file", "label", "score", "x1", "y1", "x2", "y2")


Answers = Sequence[tuple[str, Detections]]  # the file name of each picture, and its boxes


def coco_dataset(answers: Answers) -> dict[str, object]:
    """A COCO data set of pictures: `bbox` is [x, y, w, h] in pixels, and each class found is a
    category, numbered from 1 by name."""
    names = sorted({label for _, found in answers for label in found.labels})
    pictures: list[dict[str, object]] = []
    rows: list[dict[str, object]] = []
    for picture, (file_name, found) in enumerate(answers, 1):
        width, height = found.image_size
        pictures.append({"id": picture, "file_name": file_name, "width": width, "height": height})
        for label, score, (x1, y1, x2, y2) in _rows(found):
            rows.append(
                {
                    "id": len(rows) + 1,
                    "image_id": picture,
                    "category_id": names.index(label) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return {
        "images": pictures,
        "annotations": rows,
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }


def csv_text(answers: Answers) -> str:
    """One row per box under `COLUMNS`, in pixels; a spreadsheet runs none of it as a formula."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, found in answers:
        for label, score, box in _rows(found):
            values = (f"{score:.6f}", *(f"{v:.2f}" for v in box))
            table.writerow([_no_formula(name), _no_formula(label), *values])
    return text.getvalue()


def _no_formula(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def yolo_text(found: Detections, classes: Sequence[str]) -> str:
    """One line per box: index of its class, then centre, width and height in 0..1 of the picture.

    Args:
        classes: the names in the order of the data set, as in `yolo_data`.

    Raises:
        InputError: a box's class is not one of them.
    """
    width, height = found.image_size
    unknown = sorted(set(found.labels) - set(classes))
    if unknown:
        raise InputError(f"The classes do not contain {', '.join(unknown)}.")
    lines = []
    for label, _, box in _rows(found):
        x1, x2 = (min(max(v / width, 0.0), 1.0) for v in box[::2])
        y1, y2 = (min(max(v / height, 0.0), 1.0) for v in box[1::2])
        values = ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1)
        lines.append(f"{classes.index(label)} " + " ".join(f"{v:.6f}" for v in values))
    return "".join(f"{line}\n" for line in lines)


def yolo_data(classes: Sequence[str]) -> str:
    """The data.yaml of a YOLO data set. Names are JSON strings, which YAML reads too."""
    names = "".join(f"  {i}: {json.dumps(name)}\n" for i, name in enumerate(classes))
    return f"train: images\nval: images\nnc: {len(classes)}\nnames:\n{names}"


def crops(rgb: RGB, found: Detections) -> list[RGB]:
    """The part of (H, W, 3) `rgb` in each box, at least one pixel, rounded outwards.

    Raises:
        InputError: the boxes belong to a picture of another size.
    """
    height, width = rgb.shape[:2]
    if found.image_size != (width, height):
        raise InputError("The boxes belong to another picture; run Detect again.")
    parts = []
    for _, _, (x1, y1, x2, y2) in _rows(found):
        left, top = min(max(math.floor(x1), 0), width - 1), min(max(math.floor(y1), 0), height - 1)
        right, bottom = max(math.ceil(x2), left + 1), max(math.ceil(y2), top + 1)
        parts.append(rgb[top:bottom, left:right])
    return parts


def files(
    rgb: RGB, found: Detections, classes: Sequence[str], file_name: str = "picture.png"
) -> dict[str, bytes]:
    """All files by their names in the zip: `coco.json`, `boxes.csv`, `labels/` and `data.yaml` as
    YOLO has them, `crops/` with a PNG per box, and `info.json`, how the boxes were made.

    Args:
        file_name: the picture's name in the data sets; the picture itself is not among them.

    Raises:
        InputError: there are no boxes, or they belong to another picture.
    """
    if not found.labels:
        raise InputError("There is no box above the threshold; lower it first.")
    pictures = {
        f"crops/{i:02d}-{slug(label)}.png": images.to_png_bytes(Image.fromarray(part))
        for i, (label, part) in enumerate(zip(found.labels, crops(rgb, found), strict=True), 1)
    }
    return {**data_set([(file_name, found)], classes), **pictures}


def data_set(answers: Answers, classes: Sequence[str]) -> dict[str, bytes]:
    """The files of several pictures by their names in the zip: those of `files` without crops.

    Pictures whose names would give the same file of labels get a number; a picture without boxes
    has an empty file, as YOLO expects.

    Raises:
        InputError: a box's class is not one of `classes`, or there is no picture.
    """
    if not answers:
        raise InputError("There are no pictures.")
    labels: dict[str, bytes] = {}
    for name, found in answers:
        stem = slug(PurePath(name).stem, "picture")
        number = 1
        while f"labels/{stem}{f'-{number}' * (number > 1)}.txt" in labels:
            number += 1
        labels[f"labels/{stem}{f'-{number}' * (number > 1)}.txt"] = yolo_text(
            found, classes
        ).encode()
    return {
        "coco.json": as_json(coco_dataset(answers)),
        "boxes.csv": csv_text(answers).encode("utf-8"),
        "data.yaml": yolo_data(classes).encode(),
        "info.json": as_json(answers[0][1].info.to_dict()),
        **labels,
    }


def archive(
    rgb: RGB, found: Detections, classes: Sequence[str], file_name: str = "picture.png"
) -> bytes:
    """`files` as a zip."""
    return zipped(files(rgb, found, classes, file_name))


def _rows(found: Detections) -> list[tuple[str, float, list[float]]]:
    pairs = zip(found.labels, found.scores.tolist(), found.boxes.tolist(), strict=True)
    return [(label, float(score), [float(v) for v in box]) for label, score, box in pairs]
