"""Detectors side by side: answers of Detect, pairs against SciPy's matching, and their costs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching
from torchvision import ops

from core import detect
from core.errors import InputError
from core.lessons import detectors
from core.types import RunInfo
from tests import nets

INFO = RunInfo("net", "own", "cpu")


def answer(seed: int, count: int, classes: int = 3) -> detectors.Answer:
    """Boxes that overlap often."""
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 40, (count, 2))
    boxes = np.concatenate([low, low + rng.uniform(20, 40, (count, 2))], 1).astype(np.float32)
    scores = np.sort(rng.permutation(1000)[:count] / 1000)[::-1].astype(np.float32)
    labels = tuple(f"thing {i}" for i in rng.integers(0, classes, count))
    return detectors.Answer("net", boxes, scores, labels, 1, 0, 0.1, "MIT", True, INFO)


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.8])
def test_as_many_pairs_as_can_be(limit):
    for seed in range(20):
        a, b = answer(seed, 12), answer(100 + seed, 9)
        mine, theirs = detectors.pairs(a, b, limit)
        overlap = ops.box_iou(torch.tensor(a.boxes), torch.tensor(b.boxes)).numpy()
        alike = np.array(a.labels)[:, None] == np.array(b.labels)[None]
        fits = alike & (overlap >= limit)
        assert fits[mine, theirs].all()
        assert len(set(mine)) == len(set(theirs)) == len(mine)
        assert len(mine) == (maximum_bipartite_matching(csr_matrix(fits)) >= 0).sum()


def test_of_two_copies_the_surest_is_paired():
    a, b = answer(0, 2), answer(0, 1)
    boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 12]])
    a = replace(a, boxes=boxes, scores=np.float32([0.9, 0.8]), labels=("cat", "cat"))
    b = replace(b, boxes=boxes[1:], scores=np.float32([0.7]), labels=("cat",))
    found_by, agreement = detectors.together((a, b, a), 0.5)
    assert [list(one) for one in found_by] == [[3, 2], [3], [3, 2]]
    np.testing.assert_allclose(agreement[0], [1, 2 / 3, 1])
    none = a.above(0.95)
    assert none.labels == () and none.boxes.shape == (0, 4)
    found_by, agreement = detectors.together((none, none, a), 0.5)
    assert agreement[0].tolist() == [1, 1, 0]


def test_one_class_of_two_data_sets():
    assert detectors.spelled("couch") == detectors.spelled("sofa")
    assert detectors.spelled("tvmonitor") == "tv"
    assert detectors.spelled("Person") == detectors.spelled("person")


def two(shelf) -> None:
    for seed in (1, 2):
        model, config = nets.detr()
        torch.manual_seed(seed)
        with torch.no_grad():
            model.model.query_position_embeddings.weight.normal_()
        shelf.starter("detect", model, config, name=f"net{seed}")


def test_two_detectors_beside_each_other(shelf, forwards, picture):
    two(shelf)
    image = picture(80, 60)
    found = detectors.look(image, ("net1", "net2"), 0.3)
    assert len(forwards) == 2 and found.size == (80, 60)
    for key, one in zip(("net1", "net2"), found.answers, strict=True):
        plain = detect.predict(image, key, 0.3)
        np.testing.assert_array_equal(one.boxes, plain.boxes)
        assert one.labels == plain.labels and len(one.labels) > 0
        assert one.params == sum(p.numel() for p in nets.detr()[0].parameters())
        assert (one.shared, one.needs_nms, one.licence) == (0, False, "MIT") and one.seconds > 0
    again = detectors.look(image, ("net1", "net2"), 0.9, 0.9)
    assert len(forwards) == 2, "kept, whatever is moved"
    assert again.answers[0].seconds == found.answers[0].seconds, "of the pass when it ran"


def test_starters_count_the_trunk_apart():
    own, shared = detect.parameters("detect-cnn-starter")
    trunk = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    assert own == 943_768, "as its card says"
    assert shared == sum(p.numel() for p in trunk.parameters())
    assert detectors.other("detect-cnn-starter") == "detect-starter"
    assert detectors.other("retinanet-r50") == "detect-starter"
    assert detectors.other("detr-r50") == detectors.other("detect-starter") == "detect-cnn-starter"


@pytest.mark.parametrize("keys", [("net1",), ("net1", "net1"), ["net1"] * 5])
def test_one_is_no_comparison(shelf, picture, keys):
    two(shelf)
    with pytest.raises(InputError, match="two to four different detectors"):
        detectors.look(picture(64, 48), keys)


def test_what_is_wrong_gets_the_sentence(shelf, picture):
    two(shelf)
    with pytest.raises(InputError, match="no checkpoint called nose"):
        detectors.look(picture(64, 48), ("net1", "nose"))
    with pytest.raises(InputError, match="as text"):
        detectors.look(picture(64, 48), ("net1", 7))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="IoU"):
        detectors.look(picture(64, 48), ("net1", "net2"), 0.5, 1.5)
