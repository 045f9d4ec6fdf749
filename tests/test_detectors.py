"""The detectors that begin with the trunk's maps, against transformers and torchvision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms, box_convert

from core import checkpoints, detect
from core.nets import detector, postprocess, trunk
from demos import detect as tab

SIDE = 64
TRUNK = checkpoints.by_key(trunk.KEY)
CLASSES = ("cat", "dog", "boat", "cow & calf")


@pytest.fixture(scope="module")
def whole():
    """A small RT-DETR with weights that tell tokens, queries and classes apart."""
    torch.manual_seed(1)
    detr = detector.build(detector.config(CLASSES, width=32, layers=2, queries=8))
    for name, value in detr.state_dict().items():
        if value.is_floating_point() and value.ndim > 1:
            torch.nn.init.normal_(value, std=0.2)
        elif name.endswith(("running_var", "norm.weight", "1.weight")):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    with torch.no_grad():  # boxes so large that they overlap
        detr.model.enc_bbox_head.layers[-1].bias[2:] = 4
    state = {k: v.half().float() if v.ndim else v for k, v in detr.state_dict().items()}
    detr.load_state_dict(state)
    return detr.eval()


def settings(kind):
    layout = detector.config(CLASSES, width=32, layers=2, queries=8).to_diff_dict()
    return {"kind": kind, "trunk": {"size": SIDE}, "classes": list(CLASSES), "detr": layout}


@pytest.fixture
def starters(shelf, whole, monkeypatch):
    known = (*checkpoints.CATALOGUE, TRUNK)
    monkeypatch.setattr(checkpoints, "CATALOGUE", known)
    monkeypatch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in known})
    shelf.starter("detect", whole, settings("rt-detr"), name="queries")
    shelf.starter("detect", detector.CnnDetector(whole.model), settings("cnn"), name="tokens")


def maps(image):
    found, _ = trunk.read(image, trunk.View(SIDE, None, dilated=True))
    return detector.pack(found.head, found.stride16, found.stride8)


def pixels(boxes, size):
    w, h = size
    corners = box_convert(boxes, "cxcywh", "xyxy") * torch.tensor([w, h, w, h])
    return torch.minimum(corners.clamp(min=0), torch.tensor([w, h, w, h]))


def test_dilated_maps_are_timms(picture):
    import timm

    image = picture(80, 60)
    plain, _ = trunk.read(image, trunk.View(SIDE, None))
    found, _ = trunk.read(image, trunk.View(SIDE, None, dilated=True))
    assert found.head.shape == (1, 1280, 4, 4) and plain.head.shape == (1, 1280, 2, 2)
    assert torch.equal(found.stride16, plain.stride16)
    with trunk.runtime.run("classify", trunk.KEY, trunk.build) as run:
        state = run.lease.built.module.state_dict()
    net = timm.create_model("tf_efficientnet_lite0", output_stride=16)
    net.load_state_dict(state)
    with torch.inference_mode():
        x = trunk.transform(trunk.View(SIDE, None))(image)
        np.testing.assert_allclose(found.head, net.eval().forward_features(x), atol=1e-4)


def test_packed_channels():
    """Each 2 x 2 positions of the finest map become the channels of one."""
    fine = torch.arange(40.0 * 16).view(1, 40, 4, 4)
    packed = detector.pack(torch.zeros(1, 1280, 2, 2), torch.zeros(1, 112, 2, 2), fine)
    assert packed.shape == (1, 1552, 2, 2)
    assert packed[0, 1392:1396, 1, 0].tolist() == fine[0, 0, 2:, :2].flatten().tolist()


def test_the_tokens_choose_the_queries(whole):
    """transformers' own forward gives what `CnnDetector` gives for its first stage."""
    x = torch.rand(2, 1552, 4, 6)
    with torch.inference_mode():
        out = whole.model(x)
        dense = detector.CnnDetector(whole.model).eval()(x)
    torch.testing.assert_close(dense.logits, out.enc_outputs_class)
    torch.testing.assert_close(dense.offsets, out.enc_outputs_coord_logits)
    best = dense.logits.amax(-1).topk(8, 1).indices
    torch.testing.assert_close(out.init_reference_points[0], dense.offsets[0, best[0]])
    assert [tuple(level.shape) for level in dense.levels] == [(2, 32, 4, 6), (2, 32, 2, 3)]


def test_queries_equal_transformers(starters, whole, picture):
    from transformers import RTDetrImageProcessor

    image = picture(80, 60)
    with torch.inference_mode():
        out = whole(pixel_values=maps(image))
    expected = RTDetrImageProcessor().post_process_object_detection(out, 0.3, [(60, 80)])[0]
    found = detect.predict(image, "queries", threshold=0.3)
    assert 0 < len(found.labels) <= 8
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-4)
    assert found.labels == tuple(CLASSES[i] for i in expected["labels"])
    np.testing.assert_allclose(
        found.boxes, pixels(out.pred_boxes[0], (80, 60))[_rows(out, expected)], atol=0.05
    )


def _rows(out, expected):
    """The queries of `expected`'s boxes, which transformers does not clip to the picture."""
    flat = out.logits[0].sigmoid().flatten().topk(8).indices[: len(expected["scores"])]
    return flat // len(CLASSES)


def test_tokens_equal_torchvision(starters, whole, picture, monkeypatch):
    monkeypatch.setattr(postprocess, "NMS_IOU", 0.2)
    monkeypatch.setattr(postprocess, "SAME_PLACE", 1.0)  # a step of our own, tested below
    image = picture(80, 60)
    with torch.inference_mode():
        dense = detector.CnnDetector(whole.model).eval()(maps(image))
    scores, boxes = dense.logits[0].sigmoid(), pixels(dense.boxes[0], (80, 60))
    token, label = (scores > 0.05).nonzero(as_tuple=True)
    keep = batched_nms(boxes[token], scores[token, label], label, postprocess.NMS_IOU)
    found = detect.predict(image, "tokens", threshold=0.05)
    assert 0 < len(keep) < len(token)
    np.testing.assert_allclose(found.scores, scores[token, label][keep], atol=1e-4)
    np.testing.assert_allclose(found.boxes, boxes[token[keep]], atol=0.05)
    assert found.labels == tuple(CLASSES[i] for i in label[keep])


def test_a_clearly_weaker_class_in_the_same_place_is_left_out():
    """One box a row: a token's box, and the score of each of three classes."""
    boxes = np.array(
        [[0.5, 0.5, 0.4, 0.4], [0.5, 0.5, 0.4, 0.42], [0.5, 0.5, 0.4, 0.5], [0.1, 0.1, 0.1, 0.1]],
        np.float32,
    )
    scores = np.array([[0.9, 0.02, 0.65], [0.02, 0.6, 0.02], [0.02, 0.5, 0.02], [0.3, 0.02, 0.02]])
    logits = np.log(scores / (1 - scores)).astype(np.float32)

    def answer(threshold):
        _, found, classes = postprocess.postprocess_nms(logits, boxes, threshold, (100, 100))
        return [(int(c), round(float(s), 2)) for c, s in zip(classes, found, strict=True)]

    # Class 1 at the second token is one of 0.67 times the best, at an IoU of 0.95. The third is of
    # class 1 too and lies apart (0.8), but NMS drops it; class 2 is 0.72 times the best.
    kept = [(0, 0.9), (2, 0.65), (0, 0.3)]
    assert answer(0.1) == kept
    assert answer(0.5) == kept[:2]
    scores[1, 1] = 0.64  # no longer clearly weaker
    logits = np.log(scores / (1 - scores)).astype(np.float32)
    assert answer(0.1) == [(0, 0.9), (2, 0.65), (1, 0.64), (0, 0.3)]


def test_both_share_the_trunks_pass(starters, picture):
    image = picture(80, 60)
    detect.predict(image, "tokens")
    before = detect.runtime.outputs().stats()
    detect.predict(image, "queries")
    after = detect.runtime.outputs().stats()
    assert after["hits"] == before["hits"] + 1  # the maps
    assert after["values"] == before["values"] + 1
    assert detect.predict(image, "queries", threshold=0.1).info.cache["output"] == "hit"


def test_classes_are_listed_where_nothing_is_found(starters, picture):
    assert detect.classes("tokens") == CLASSES
    image = picture(80, 60)
    none = detect.predict(image, "tokens", threshold=1.0)
    said = tab._none_html(none, detect.classes("tokens"))
    assert "none of the classes" in said and "It knows 4 classes" in said
    assert said.count("<li>") == 4 and "cow &amp; calf" in said
    low = tab._none_html(detect.predict(image, "tokens", threshold=0), CLASSES)
    assert "lower it to see more" in low
    many = tab.classes_html(("N/A", *(f"thing {i}" for i in range(80))))
    assert "<details>" in many and "80 classes" in many
