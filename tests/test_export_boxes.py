"""Boxes taken away from Detect, read by others' libraries."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import supervision
from PIL import Image
from pycocotools.coco import COCO

from core import export_boxes
from core.errors import InputError
from core.types import Detections, RunInfo
from tests.live import EXAMPLES

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
    path.write_text(json.dumps(export_boxes.coco_dataset([("a.png", found)])))
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
    head, *rows = csv.reader(io.StringIO(export_boxes.csv_text([("=a.png", found)])))
    assert tuple(head) == export_boxes.COLUMNS
    assert {row[0] for row in rows} == {"'=a.png"}
    assert [row[1] for row in rows] == ["cat", "potted plant", "cat", "'=1+1"]
    np.testing.assert_allclose(np.array([row[3:] for row in rows], float), found.boxes, atol=0.005)


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


def test_a_data_set_of_several_pictures_is_read_by_others(found, tmp_path):
    none = found.only([])
    answers = [("a.png", found), ("b/a.png", none), ("dog.png", found.only([0, 2]))]
    for name, content in export_boxes.data_set(answers, CLASSES).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    data = COCO(str(tmp_path / "coco.json"))
    assert [len(data.getAnnIds(imgIds=[number])) for number in (1, 2, 3)] == [4, 0, 2]
    labels = sorted(path.name for path in (tmp_path / "labels").iterdir())
    assert labels == ["a-2.txt", "a.txt", "dog.txt"]
    assert (tmp_path / "labels" / "a-2.txt").read_text() == ""
    (tmp_path / "images").mkdir()
    for stem in ("a", "a-2", "dog"):
        Image.new("RGB", SIZE).save(tmp_path / "images" / f"{stem}.png")
    read = supervision.DetectionDataset.from_yolo(
        str(tmp_path / "images"), str(tmp_path / "labels"), str(tmp_path / "data.yaml")
    )
    assert sorted(len(boxes) for _, _, boxes in read) == [0, 2, 4]
    with pytest.raises(InputError, match="no pictures"):
        export_boxes.data_set([], CLASSES)


def test_the_tab_makes_files_of_the_boxes_that_are_shown():
    from core import images
    from core.detect import predict
    from demos import detect

    picture = images.picture(EXAMPLES / "astronaut.jpg")
    found = predict(picture, "auto", 0.1)
    assert len(found.labels) > 2
    said, paths = detect._files(picture, "auto", 0.1, "", "[0, 2, 999]")
    assert said == ""
    names = {Path(path).name for path in paths}
    assert {"boxes.zip", "coco.json", "boxes.csv", "data.yaml", "picture.txt"} <= names
    assert all(Path(path).stat().st_size for path in paths)
    [table] = [path for path in paths if path.endswith("boxes.csv")]
    rows = list(csv.DictReader(io.StringIO(Path(table).read_text("utf-8"))))
    assert [row["label"] for row in rows] == [found.labels[0], found.labels[2]]
    prompts = detect._boxes(picture, "auto", 0.1, "", "[2]")
    assert [one["name"] for one in prompts.objects] == [found.labels[2]]
    for shown, said in (("[]", "hidden"), ("{}", "hidden"), ("[1", "again"), ("[null]", "again")):
        with pytest.raises(InputError, match=said):
            detect._files(picture, "auto", 0.1, "", shown)
    with pytest.raises(InputError, match="lower it"):
        detect._files(picture, "auto", 1.0, "", "[]")
    with pytest.raises(InputError, match="Choose a picture"):
        detect._files(None, "auto", 0.3, "", "[]")


def test_several_pictures_with_one_that_is_broken():
    from core import images
    from demos.detect import many
    from demos.shell.picture import _refused

    good = [
        replace(images.picture(EXAMPLES / name), name=name)
        for name in ("hopper.jpg", "chelsea.jpg")
    ]
    broken = replace(_refused("This file is <b>broken</b>."), name="x.png")
    *steps, (said, shown, file) = many._run([good[0], broken, good[1]], "auto", 0.3, "")
    assert [len(pictures) for _, pictures, _ in steps] == [1, 1, 2]
    assert "2 pictures" in said and "x.png: This file is &lt;b&gt;broken" in said
    assert [caption.rpartition(", ")[2] for _, caption in shown] == ["hopper.jpg", "chelsea.jpg"]
    inside = zipfile.ZipFile(file)
    assert {"labels/hopper.txt", "labels/chelsea.txt"} <= set(inside.namelist())
    coco = json.loads(inside.read("coco.json"))
    assert [one["file_name"] for one in coco["images"]] == ["hopper.jpg", "chelsea.jpg"]
    for pictures, words in (
        ([], "Choose pictures"),
        ([broken], "None of"),
        ([broken] * 101, "most 100"),
    ):
        with pytest.raises(InputError, match=words):
            list(many._run(pictures, "auto", 0.3, ""))
