"""Semantic segmentation on the trunk's maps, and the recipe that makes its starters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from core import checkpoints, semantic
from core.errors import CheckpointError
from core.imaging import coco
from core.nets import semantic as nets
from core.nets import trunk
from demos.segment import semantic as endpoint
from training import detectors_data, semantic_data, semantic_export, voc_masks
from training import semantic as recipe

TRUNK = checkpoints.by_key(trunk.KEY)
SIDE = 64
VIEW = trunk.View(SIDE, None, dilated=True)
CLASSES = ("background", "cat", "dog", "cow & calf")


def settings(name, **changes):
    return {
        "kind": name,
        "width": 16,
        "trunk": trunk.KEY,
        "view": {"size": SIDE, "crop": None, "dilated": True},
        "classes": list(CLASSES),
        **changes,
    }


def network(kind):
    torch.manual_seed(3)
    made = nets.from_settings(settings(kind))
    for name, value in made.state_dict().items():
        if value.is_floating_point() and value.ndim > 1:
            torch.nn.init.normal_(value, std=0.3)
        elif name.endswith("running_var"):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return made.eval()


@pytest.fixture
def known(shelf, monkeypatch):
    """The trunk, and nothing else."""
    monkeypatch.setattr(checkpoints, "CATALOGUE", (TRUNK,))
    monkeypatch.setattr(checkpoints, "_BY_KEY", {TRUNK.key: TRUNK})
    return shelf


@pytest.mark.parametrize("kind", ["fcn", "unet"])
def test_every_pixel_gets_its_best_class(known, picture, monkeypatch, kind):
    made = network(kind)
    known.starter("semantic", made, settings(kind))
    image = picture(90, 70)
    found, _ = trunk.read(image, VIEW)
    with torch.inference_mode():
        logits = made(found.head, found.stride16, found.stride8)
        whole = F.interpolate(logits, (70, 90), mode="bilinear")[0]
    assert logits.shape == (1, 4, 8, 8)
    expected = whole.argmax(0).numpy()
    for band in (semantic.BAND, 4 * 90 * 16):  # at once, and 16 rows at a time
        monkeypatch.setattr(semantic, "BAND", band)
        answer = semantic.predict(image)
        assert answer.classes == CLASSES and answer.labels.shape == (70, 90)
        assert (answer.labels == expected).mean() > 0.999
    assert len(np.unique(expected)) > 1
    assert sum(answer.shares.values()) == pytest.approx(1)
    assert list(answer.shares.values()) == sorted(answer.shares.values(), reverse=True)
    assert answer.info.cache["output"] == "hit"  # the second answer ran no network


def test_the_fcn_adds_the_scores_of_its_strides():
    made = network("fcn")
    maps = torch.rand(1, 1280, 4, 4), torch.rand(1, 112, 4, 4), torch.rand(1, 40, 8, 8)
    with torch.inference_mode():
        parts = [made.score_head(made.hidden(made.reduce(maps[0]))), made.score16(maps[1])]
        coarse = sum(F.interpolate(p, scale_factor=2, mode="bilinear") for p in parts)
        torch.testing.assert_close(made(*maps), coarse + made.score8(maps[2]))


def test_the_endpoint_tells_each_class_as_run_lengths(known, picture):
    known.starter("semantic", network("unet"), settings("unet"))
    image = picture(60, 40)
    path, document, info = endpoint.segment_semantic(image)
    assert document["image_size"] == [60, 40] and info["checkpoint"] == "net"
    masks = {name: coco.decode(rle) for name, rle in document["labels"].items()}
    assert np.array_equal(sum(mask.astype(int) for mask in masks.values()), np.ones((40, 60), int))
    for row in document["classes"]:
        assert masks[row["label"]].mean() == pytest.approx(row["share"])
    assert path.endswith(".jpg")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"trunk": "another"}, "a network that this program does not have"),
        ({"view": {"size": 9, "crop": None}}, "does not say what it sees"),
        ({"kind": "fpn"}, "no network that gives every pixel a class"),
        ({"width": 8}, "shapes do not fit"),
    ],
)
def test_files_of_other_networks_are_refused(known, picture, change, sentence):
    known.starter("semantic", network("fcn"), settings("fcn", **change))
    with pytest.raises(CheckpointError, match=sentence):
        semantic.predict(picture(60, 40))


# ---- the recipe


def stored(count=2):
    """Maps as the detectors' recipe stores them, their basis, and the trunk's own."""
    torch.manual_seed(0)
    head, fine = torch.rand(count, 6, 20, 20), torch.rand(count, 272, 20, 20)
    basis = {
        "mu": torch.rand(6),
        "P": torch.randn(6, detectors_data.HEAD),
        "lm": torch.rand(272),
        "ls": torch.rand(272) + 0.5,
    }
    reduced = (head.permute(0, 2, 3, 1) - basis["mu"]) @ basis["P"]
    rest = (fine.permute(0, 2, 3, 1) - basis["lm"]) / basis["ls"]
    own = (head, fine[:, :112], F.pixel_shuffle(fine[:, 112:], 2))
    return torch.cat([reduced, rest], -1), basis, own


@pytest.mark.parametrize("kind", ["fcn", "unet"])
def test_what_is_exported_reads_the_trunks_own_maps(kind):
    maps, basis, own = stored()
    lean = nets.NETWORKS[kind](21, 8, detectors_data.HEAD)
    lean.train()(*recipe.unpacked(maps, basis))  # sets the statistics
    whole = nets.NETWORKS[kind](21, 8, 6)
    whole.load_state_dict(semantic_export.whole(lean.state_dict(), basis))
    with torch.inference_mode():
        expected = lean.eval()(*recipe.unpacked(maps, basis))
        torch.testing.assert_close(whole.eval()(*own), expected, atol=1e-3, rtol=1e-3)


def test_unknown_places_cost_nothing():
    logits = torch.randn(1, 21, 10, 10)
    target = torch.randint(0, 3, (1, 20, 20))
    target[:, :, 10:] = voc_masks.IGNORED
    before = recipe.loss_of_logits(logits, target)
    logits[..., 6:] += 5 * torch.randn(1, 21, 10, 4)
    torch.testing.assert_close(recipe.loss_of_logits(logits, target), before)


def test_a_mask_is_painted_from_large_boxes_to_small_ones():
    objects = np.array([[11, 0.5, 0.5, 0.75, 0.75, 0], [7, 0, 0, 1, 1, 0], [0, 0, 0, 0.1, 0.1, 1]])
    logits = np.full((3, 80, 80), -5.0, np.float32)
    logits[0, 40:50, 40:60] = 5
    logits[1, 20:80] = 5
    logits[1, 18:20] = 0.1
    label = semantic_data.paint(objects.astype(np.float32), logits)
    assert (label[40:50, 40:60] == 12).all() and (label[50:60, 40:60] == 8).all()
    assert (label[18:20] == voc_masks.IGNORED).all() and (label[:8, :8] == voc_masks.IGNORED).all()
    assert (label[10:18] == 0).all()


def test_a_box_that_its_mask_hardly_fills_is_left_out():
    label = semantic_data.paint(
        np.array([[3, 0.25, 0.25, 0.5, 0.5, 0]], np.float32), np.full((1, 80, 80), -5, np.float32)
    )
    assert (label[20:40, 20:40] == voc_masks.IGNORED).all() and (label == 0).sum() == 6000


def test_the_nearest_class_takes_a_borders_place():
    classes = np.array([[1, 1, 255, 255, 255, 255, 2]], np.uint8)
    assert voc_masks.without_borders(classes).tolist() == [[1, 1, 1, 1, 2, 2, 2]]


def test_iou_leaves_out_what_is_not_known():
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    found = np.array([[0, 1, 1, 2]], np.uint8)
    counts = semantic_data.agreement(found, truth, 3)
    np.testing.assert_allclose(semantic_data.iou(counts), [0.5, 0.5, np.nan])
