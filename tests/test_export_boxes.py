"""Boxes taken away from Detect, read by others' libraries."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools.coco import COCO

from core import export_boxes
from core.errors import InputError
from core.types import Detections, RunInfo

CLASSES = ("dog", "potted plant", "cat", "=1+1")
SIZE = (80, 60)


@pytest.fixture
def found() -> Detections:
    boxes = [[10.25, 5.5, 40.75, 50], [-3, 20, 30, 61.5], [60, 0, 80, 12], [1.2, 1.2, 1.4, 1.4]]
    info = RunInfo("net", "starter", "cpu")
    return Detections(
        np.array(boxes, np.float32),
        np.array([0.9, 0.8, 0.7, 0.6], np.float32),
        ("cat", "potted plant", "cat", "=1+1"),
        SIZE,
        info,
    )


@pytest.fixture
def rgb() -> np.ndarray:
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    return np.stack([x, y, x + y], -1).astype(np.uint8)


def test_pycocotools_and_supervision_read_the_coco_file(found, tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(export_boxes.coco_dataset(found, "a.png")))
    data = COCO(str(path))
    assert {c["name"] for c in data.loadCats(data.getCatIds())} == set(found.labels)
    rows = data.loadAnns(data.getAnnIds())
    for row, label, box in zip(rows, found.labels, found.boxes, strict=True):
        x, y, w, h = row["bbox"]
        np.testing.assert_allclose([x, y, x + w, y + h], box, atol=1e-5)
        assert data.loadCats(row["category_id"])[0]["name"] == label
    (tmp_path / "images").mkdir()
    Image.new("RGB", SIZE).save(tmp_path / "images" / "a.png")
    read = supervision.DetectionDataset.from_coco(str(tmp_path / "images"), str(path))
    [(_, _, boxes)] = list(read)
    np.testing.assert_allclose(boxes.xyxy, found.boxes, atol=1e-4)
    assert [read.classes[i] for i in boxes.class_id] == list(found.labels)


def test_supervision_reads_the_yolo_files_of_the_zip(found, rgb, tmp_path):
    packed = export_boxes.archive(rgb, found, CLASSES, "my cat.png")
    zipfile.ZipFile(io.BytesIO(packed)).extractall(tmp_path)
    (tmp_path / "images").mkdir()
    Image.fromarray(rgb).save(tmp_path / "images" / "my-cat.png")
    read = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml")
    )
    assert tuple(read.classes) == CLASSES
    [(_, _, boxes)] = list(read)
    inside = np.clip(found.boxes, 0, [*SIZE, *SIZE])  # YOLO knows nothing outside the picture
    np.testing.assert_allclose(boxes.xyxy, inside, atol=0.01)
    assert [CLASSES[i] for i in boxes.class_id] == list(found.labels)


def test_the_table_is_a_csv_without_formulas(found):
    head, *rows = csv.reader(io.StringIO(export_boxes.csv_text(found)))
    assert tuple(head) == export_boxes.COLUMNS
    assert [row[0] for row in rows] == ["cat", "potted plant", "cat", "'=1+1"]
    np.testing.assert_allclose(np.array([row[2:] for row in rows], float), found.boxes, atol=0.005)


def test_crops_are_the_pixels_in_the_boxes(found, rgb):
    first, outside, edge, tiny = export_boxes.crops(rgb, found)
    np.testing.assert_array_equal(first, rgb[5:50, 10:41])
    np.testing.assert_array_equal(outside, rgb[20:60, :30])
    np.testing.assert_array_equal(edge, rgb[:12, 60:])
    np.testing.assert_array_equal(tiny, rgb[1:2, 1:2])


def test_the_zip_holds_a_crop_for_each_box(found, rgb):
    packed = zipfile.ZipFile(io.BytesIO(export_boxes.archive(rgb, found, CLASSES)))
    assert packed.testzip() is None
    names = packed.namelist()
    assert [name for name in names if name.startswith("crops/")] == [
        "crops/01-cat.png",
        "crops/02-potted-plant.png",
        "crops/03-cat.png",
        "crops/04-=1+1.png",
    ]
    assert Image.open(packed.open("crops/01-cat.png")).size == (31, 45)
    assert json.loads(packed.read("info.json"))["checkpoint"] == "net"
    again = export_boxes.archive(rgb, found, CLASSES)
    assert again == export_boxes.archive(rgb, found, CLASSES)


def test_what_does_not_fit_is_refused(found, rgb):
    none = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), (), SIZE, found.info)
    with pytest.raises(InputError, match="no box above"):
        export_boxes.archive(rgb, none, CLASSES)
    with pytest.raises(InputError, match="another picture"):
        export_boxes.archive(rgb[:-1], found, CLASSES)
    with pytest.raises(InputError, match="do not contain cat"):
        export_boxes.yolo_text(found, ("dog", "potted plant", "=1+1"))


def test_the_tab_makes_all_of_them():
    from core import images
    from demos import detect
    from tests.live import EXAMPLES

    picture = images.picture(EXAMPLES / "chelsea.jpg")
    said, paths = detect._files(picture, "auto", 0.3)
    assert said == ""
    names = {Path(path).name for path in paths}
    assert {"boxes.zip", "coco.json", "boxes.csv", "data.yaml", "picture.txt"} <= names
    assert all(Path(path).stat().st_size for path in paths)
    with pytest.raises(InputError, match="Choose a picture"):
        detect._files(None, "auto", 0.3)
