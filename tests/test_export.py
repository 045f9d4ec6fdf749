"""What a person takes away: outlines, COCO, SVG, PNGs and the zip, read by others' libraries."""

from __future__ import annotations

import io
import json
import re
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import supervision
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from core import export
from core.errors import InputError
from core.export import SegmentedObject
from core.imaging import coco, outlines
from core.types import RunInfo


def blobs(height: int = 60, width: int = 80) -> list[np.ndarray]:
    """A ring with an island in its hole, two parts that touch at a corner, and an edge strip."""
    y, x = np.mgrid[:height, :width]
    far = np.hypot(x - 30, y - 28)
    ring = (far < 22) & (far > 12) | (far < 5)
    pair = np.zeros((height, width), bool)
    pair[10:20, 50:60] = pair[20:30, 60:75] = True
    edge = np.zeros((height, width), bool)
    edge[-4:], edge[:, -3:] = True, True
    return [ring, pair, edge]


@pytest.fixture
def objects():
    names = ("cup", "Löffel / 2", "cup")
    return [
        SegmentedObject(name, mask, 0.9 - i / 10, 0.8, ((3.0, 4.0, 1),), (1.0, 2.0, 30.0, 40.0))
        for i, (name, mask) in enumerate(zip(names, blobs(), strict=True))
    ]


# --- outlines ---


def filled(parts, shape):
    """By pycocotools, one polygon for each part."""
    whole = np.zeros(shape, bool)
    for part in parts:
        rle = coco_mask.frPyObjects([outlines.keyholed(part).ravel().tolist()], *shape)
        whole |= coco_mask.decode(rle)[..., 0].astype(bool)
    return whole


@settings(max_examples=150, derandomize=True, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9))))
def test_outlines_filled_by_pycocotools_give_the_mask(mask):
    np.testing.assert_array_equal(filled(outlines.outlines(mask), mask.shape), mask)


@pytest.mark.parametrize("number", range(3))
def test_outlines_of_shapes(number):
    mask = blobs()[number]
    parts = outlines.outlines(mask)
    assert [len(part.holes) for part in parts] == [[1, 0], [0, 0], [0]][number]
    np.testing.assert_array_equal(filled(parts, mask.shape), mask)
    for ring in [r for part in parts for r in (part.outer, *part.holes)]:
        step = np.roll(ring, -1, axis=0) - ring
        assert np.all((step == 0).sum(axis=1) == 1)  # along one axis, and never of no length
        assert np.all(ring == ring.round())


def test_simpler_outlines_are_shorter_and_near():
    mask = blobs()[0]
    exact, simple = outlines.outlines(mask), outlines.outlines(mask, 1.0)
    assert sum(len(p.outer) for p in simple) < sum(len(p.outer) for p in exact) / 2
    drawn = filled(simple, mask.shape)
    assert np.count_nonzero(drawn & mask) / np.count_nonzero(drawn | mask) > 0.85


def test_outline_of_nothing():
    empty = np.zeros((5, 6), bool)
    assert outlines.outlines(empty) == []
    assert outlines.path(empty) == ""


# --- COCO ---


def load(dataset, tmp_path):
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(dataset))
    return path, COCO(str(path))


@pytest.mark.parametrize("polygons", [False, True])
def test_pycocotools_reads_the_same_masks(objects, tmp_path, polygons):
    _, read = load(export.coco_dataset(objects, "photo.jpg", polygons), tmp_path)
    annotations = read.loadAnns(read.getAnnIds(imgIds=[1]))
    assert [a["score"] for a in annotations] == [0.9, 0.8, 0.7]
    kinds = [read.loadCats(a["category_id"])[0]["name"] for a in annotations]
    assert kinds == ["cup", "Löffel", "cup"]
    assert [a["attributes"]["name"] for a in annotations] == [one.name for one in objects]
    for annotation, one in zip(annotations, objects, strict=True):
        assert isinstance(annotation["segmentation"], list) == polygons
        assert annotation["area"] == one.mask.sum()
        # One picture's polygons of one object are united, and so may not lie in one another.
        drawn = read.annToMask(annotation).astype(bool)
        np.testing.assert_array_equal(drawn, one.mask)


def test_supervision_reads_the_same_masks(objects, tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "photo.png")
    path, _ = load(export.coco_dataset(objects, "photo.png"), tmp_path)
    read = supervision.DetectionDataset.from_coco(str(tmp_path), str(path), force_masks=True)
    assert read.classes == ["cup", "Löffel"]
    _, _, found = next(iter(read))
    assert found.class_id.tolist() == [0, 1, 0]
    np.testing.assert_array_equal(found.mask, np.stack([one.mask for one in objects]))


KINDS = [
    (["cat", "cat 2"], ["cat"]),
    (["cat 1", "Cat (2)", "cat #3", "cat_04"], ["cat"]),
    (["Object 1", "dog", "Object 2"], ["Object", "dog"]),
    (["고양이", "고양이 2", "개"], ["고양이", "개"]),
    (["Cafe\u0301", "Café 2"], ["Café"]),  # one letter, or a letter and its accent
    (["Boeing 747", "Boeing 737", "R2D2", "7"], ["Boeing 747", "Boeing 737", "R2D2", "7"]),
]


@pytest.mark.parametrize(("names", "kinds"), KINDS, ids=str)
def test_things_of_one_label_are_of_one_category(names, kinds, tmp_path):
    shapes = [blobs()[i % 3] for i in range(len(names))]
    made = [SegmentedObject(name, mask) for name, mask in zip(names, shapes, strict=True)]
    Image.new("RGB", (80, 60)).save(tmp_path / "photo.png")
    path, read = load(export.coco_dataset(made, "photo.png"), tmp_path)
    categories = read.loadCats(read.getCatIds())
    assert [one["name"] for one in categories] == kinds
    assert {one["supercategory"] for one in categories} == {"object"}
    assert len(read.getAnnIds()) == len(names)
    found = supervision.DetectionDataset.from_coco(str(tmp_path), str(path), force_masks=True)
    _, _, detections = next(iter(found))
    np.testing.assert_array_equal(detections.mask, np.stack(shapes))


def test_a_mask_without_a_score_has_none_in_coco():
    dataset = export.coco_dataset([SegmentedObject("a", blobs()[0])], "photo.jpg")
    assert "score" not in dataset["annotations"][0]


def test_an_empty_mask_is_an_annotation_without_area():
    dataset = export.coco_dataset([SegmentedObject("a", np.zeros((6, 8), bool))], "p.png", True)
    assert dataset["annotations"][0]["area"] == 0
    assert dataset["annotations"][0]["segmentation"] == []


# --- pictures ---


def test_cutout_is_transparent_outside(picture):
    rgb, mask = picture(80, 60), blobs()[0]
    with Image.open(io.BytesIO(export.cutout_png(rgb, mask))) as read:
        assert read.mode == "RGBA"
        rgba = np.asarray(read)
    np.testing.assert_array_equal(rgba[..., 3], np.where(mask, 255, 0))
    np.testing.assert_array_equal(rgba[mask][:, :3], rgb[mask])
    assert not rgba[~mask].any()  # what was cut away cannot be brought back
    with Image.open(io.BytesIO(export.cutout_png(rgb, mask, crop=True))) as read:
        np.testing.assert_array_equal(np.asarray(read), rgba[7:50, 9:52])
    with pytest.raises(InputError, match="empty"):
        export.cutout(rgb, np.zeros((60, 80), bool), crop=True)
    with pytest.raises(InputError, match="size differs"):
        export.cutout(rgb, np.zeros((60, 81), bool))


def test_index_map_and_its_colours(objects):
    index = export.index_map(objects)
    expected = np.zeros((60, 80), int)
    for i, one in enumerate(objects, 1):
        expected = np.where(one.mask, i, expected)
    np.testing.assert_array_equal(index, expected)
    with Image.open(io.BytesIO(export.index_png(objects))) as read:
        assert read.mode == "P"
        np.testing.assert_array_equal(np.asarray(read), expected)
        colours = np.asarray(read.convert("RGB"))
    assert len(np.unique(colours.reshape(-1, 3), axis=0)) == 4
    assert np.all(colours[expected == 0] == 0)


def test_index_map_of_many_objects():
    masks = [np.zeros((20, 20), bool) for _ in range(300)]
    for i, mask in enumerate(masks):
        mask.flat[i] = True
    many = [SegmentedObject("x", mask) for mask in masks]
    with Image.open(io.BytesIO(export.index_png(many))) as read:
        values = np.asarray(read)
    np.testing.assert_array_equal(values.ravel(), [*range(1, 301), *[0] * 100])


def test_svg_drawn_again_gives_the_masks(objects):
    """Each ring is filled in turn, and what lies in an even number of them is outside."""
    root = ElementTree.fromstring(export.svg(objects))
    space = "{http://www.w3.org/2000/svg}"
    paths = root.findall(f"{space}path")
    assert root.get("viewBox") == "0 0 80 60"
    assert [p.find(f"{space}title").text for p in paths] == [one.name for one in objects]
    assert len({p.get("fill") for p in paths}) == 3
    for found, one in zip(paths, objects, strict=True):
        assert found.get("fill-rule") == "evenodd"
        scale, whole = 4, np.zeros((60, 80), bool)
        for ring in re.findall(r"M([^Z]*)Z", found.get("d")):
            points = [tuple(float(v) * scale for v in pair.split(",")) for pair in ring.split()]
            drawn = Image.new("1", (80 * scale, 60 * scale))
            ImageDraw.Draw(drawn).polygon(points, fill=1)
            whole ^= np.asarray(drawn)[2::scale, 2::scale]  # the middles of the pixels
        np.testing.assert_array_equal(whole, one.mask)


# --- the zip ---


def test_archive(objects, picture):
    rgb = picture(80, 60)
    info = RunInfo("sam", "full", "cpu")
    content = export.archive(rgb, objects, "my photo.jpg", info, {"code.py": "print(1)\n"})
    assert content == export.archive(rgb, objects, "my photo.jpg", info, {"code.py": "print(1)\n"})
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert read.testzip() is None
        files = {name: read.read(name) for name in read.namelist()}
    manifest = json.loads(files.pop("manifest.json"))
    assert sorted(files) == manifest["files"]
    assert manifest["picture"] == {"file_name": "my photo.jpg", "width": 80, "height": 60}
    assert manifest["made_by"]["checkpoint"] == "sam"
    for row, one in zip(manifest["objects"], objects, strict=True):
        assert (row["name"], row["area"]) == (one.name, one.mask.sum())
        assert (row["predicted_iou"], row["stability"]) == (one.score, one.stability)
        assert row["points"] == [[3.0, 4.0, 1]] and row["box"] == [1.0, 2.0, 30.0, 40.0]
        with Image.open(io.BytesIO(files[row["mask"]])) as mask:
            np.testing.assert_array_equal(np.asarray(mask), one.mask)
        assert files[row["cutout"]] == export.cutout_png(rgb, one.mask)
    assert manifest["objects"][1]["mask"] == "masks/02-Löffel-2.png"
    read = json.loads(files["coco.json"])
    np.testing.assert_array_equal(
        coco.decode(read["annotations"][0]["segmentation"]), objects[0].mask
    )
    assert isinstance(
        json.loads(files["coco_polygons.json"])["annotations"][0]["segmentation"], list
    )
    ElementTree.fromstring(files["objects.svg"])
    assert files["code.py"] == b"print(1)\n"


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\x", "", "   ", "ÄÖ", "a" * 300])
def test_names_make_safe_files(name, picture):
    content = export.archive(picture(80, 60), [SegmentedObject(name, blobs()[0])])
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        names = read.namelist()
        assert json.loads(read.read("manifest.json"))["objects"][0]["name"] == name
    assert all(re.fullmatch(r"(cutouts/|masks/)?[\w-]{1,60}\.\w+", one) for one in names)


NAMED = [
    ("고양이", "고양이"),
    ("赤い 車", "赤い-車"),
    ("Çocuk №5", "Çocuk-№5"),
    ("a/b\\c:d*e?f", "a-b-c-d-e-f"),
    ("dot.", "dot"),
    ("x\ud800y\u202ez\n", "x-y-z"),  # half a character, one that turns the text, a line's end
    ("가" * 300, "가" * 40),
]


@pytest.mark.parametrize(("name", "stem"), NAMED)
def test_letters_of_any_script_stay_in_file_names(name, stem, picture, tmp_path):
    content = export.archive(picture(80, 60), [SegmentedObject(name, blobs()[0])])
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        assert f"masks/01-{stem}.png" in read.namelist()
        read.extractall(tmp_path)
    assert (tmp_path / "cutouts" / f"01-{stem}.png").is_file()


def test_nothing_to_take_away(picture):
    with pytest.raises(InputError, match="click an object first"):
        export.archive(picture(80, 60), [])
    with pytest.raises(InputError, match="size differs"):
        export.archive(picture(80, 61), [SegmentedObject("a", blobs()[0])])
    with pytest.raises(InputError, match="different sizes"):
        export.index_map([SegmentedObject("a", m) for m in (blobs()[0], blobs(61)[0])])
