"""torchvision's detectors with anchors: boxes, proposals and input as the library's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torchvision import models
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import batched_nms

from core import detect
from core.errors import InputError
from core.lessons import matching, nms, queries
from core.nets import anchored, transforms
from tests import published

CLASSES = 6
THRESHOLD = 0.05  # Faster R-CNN and RetinaNet give no box below it
ARCHS = {
    "faster": "fasterrcnn_resnet50_fpn_v2",
    "retina": "retinanet_resnet50_fpn_v2",
    "ssd": "ssdlite320_mobilenet_v3_large",
}


def net(kind: str) -> Any:
    """A small one of random weights that is sure of some boxes, and finds many for each object."""
    torch.manual_seed(3)
    options: dict[str, Any] = {"num_classes": CLASSES, "min_size": 96, "max_size": 160}
    if kind == "faster":
        backbone = resnet_fpn_backbone(backbone_name="resnet18", weights=None)
        made = detection.FasterRCNN(
            backbone, rpn_pre_nms_top_n_test=200, rpn_post_nms_top_n_test=60, **options
        )
        last = [made.roi_heads.box_predictor.cls_score, made.rpn.head.cls_logits]
    elif kind == "ssd":
        made = of_formula(
            detection.ssdlite320_mobilenet_v3_large(weights_backbone=None, num_classes=CLASSES)
        )
        last = [block[-1] for block in made.head.classification_head.module_list]
    else:
        blocks = torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256)
        backbone = resnet_fpn_backbone(
            backbone_name="resnet18", weights=None, returned_layers=[2, 3, 4], extra_blocks=blocks
        )
        anchors = detection.retinanet._default_anchorgen()
        made = detection.RetinaNet(backbone, anchor_generator=anchors, **options)
        last = [made.head.classification_head.cls_logits]
    with torch.no_grad():
        for layer in last:
            layer.weight.normal_(std=0.3)
            layer.bias.fill_(-1.0)
    return made.eval()


def of_formula(model: Any) -> Any:
    """Weights that keep a signal through the many layers; the library's random ones do not."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            dtype = "F32" if value.is_floating_point() else "I64"
            value.copy_(torch.from_numpy(published.tensor(name, tuple(value.shape), dtype)))
    return model


@pytest.fixture(scope="module", params=ARCHS)
def made(request: Any) -> tuple[str, Any]:
    return request.param, net(request.param)


@pytest.fixture
def key(made, shelf, monkeypatch) -> str:
    """The network as a checkpoint of the catalogue would be, under the name of its kind."""
    kind, model = made
    path = shelf.folder / f"{kind}.pth"
    torch.save(model.state_dict(), path)
    monkeypatch.setattr(models, "get_model", lambda *_, **__: net(kind))
    return shelf.add("detect", path, loader="torchvision", arch=ARCHS[kind])


def theirs(model: Any, image: Any) -> dict[str, np.ndarray]:
    x = torch.from_numpy(image.copy()).permute(2, 0, 1) / 255
    with torch.inference_mode():
        (found,) = model([x])
    sure = found["scores"] > THRESHOLD
    return {name: value[sure].numpy() for name, value in found.items()}


def same_boxes(found: tuple[Any, Any], expected: tuple[Any, Any]) -> None:
    """Each box has its own among the expected; those of almost equal scores may change places."""
    (boxes, labels), (wanted, names) = found, expected
    apart = np.abs(boxes[:, None] - wanted[None]).max(-1)  # pixels
    apart[np.array(labels)[:, None] != np.array(names)[None]] = np.inf
    assert sorted(apart.argmin(1)) == list(range(len(wanted)))
    assert apart.min(1).max() < 0.02


def test_boxes_are_torchvisions(made, key, picture):
    image = picture(120, 90)
    expected = theirs(made[1], image)
    found = detect.predict(image, key, threshold=THRESHOLD)
    assert 5 < len(expected["scores"]) == len(found.scores)
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-4)
    names = anchored.labels(ARCHS[made[0]])
    labels = [names[int(i)] if i else "class 0" for i in expected["labels"]]
    same_boxes((found.boxes, found.labels), (expected["boxes"], labels))
    assert detect.predict(image, key, threshold=0.4).info.cache["output"] == "hit"


def test_two_pictures_in_one_pass_are_those_of_two(made):
    wrapped = anchored.AnchoredNet(made[1])
    x = torch.cat([torch.randn(1, 3, 96, 128), 0.3 * torch.randn(1, 3, 96, 128)])
    with torch.inference_mode():
        both = wrapped(x)
        alone = [wrapped(one[None]) for one in x]
    for i in range(2):
        for name in (0, -2):  # logits, and what fired; others can change places at equal scores
            torch.testing.assert_close(both[name][i], alone[i][name][0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("fixed", [None, (320, 224)])
@pytest.mark.parametrize("size", [(60, 90), (1000, 700), (50, 301), (33, 32)])
def test_input_is_torchvisions(size, fixed):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    library = GeneralizedRCNNTransform(
        240, 400, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ).eval()
    library.fixed_size = fixed
    expected, _ = library([torch.from_numpy(image).permute(2, 0, 1) / 255])
    (h, w), found = expected.image_sizes[0], transforms.rcnn_transform(library)(image)
    assert found.shape == (1, 3, h, w)
    torch.testing.assert_close(found, expected.tensors[:, :, :h, :w], atol=1e-3, rtol=0)


def test_labels_are_those_of_the_weights():
    names = anchored.labels(ARCHS["faster"])
    assert names[1] == "person" and names[12] == "N/A" and names[90] == "toothbrush"
    assert len(names) == 90


def test_proposals_are_those_of_the_library(made, key, picture):
    image = picture(120, 90)
    found = detect.inside(image, key).anchored
    levels = len(found.shapes)
    assert levels == {"ssd": 6}.get(made[0], 5)
    assert found.per_place == {"faster": 3, "retina": 9, "ssd": 6}[made[0]]
    assert len(found.fired) == sum(rows * columns for rows, columns in found.shapes)
    assert set(found.levels) <= set(range(levels))
    if made[0] != "faster":
        assert len(found.proposals) == 0 and set(found.rows) == {-1}
        return
    model, kept = made[1], []
    hook = model.rpn.register_forward_hook(lambda *args: kept.append(args[-1][0][0]))
    theirs(model, image)
    hook.remove()
    np.testing.assert_allclose(found.proposals * [128, 96, 128, 96], kept[0], atol=0.02)
    assert np.all(np.diff(found.objectness) <= 0) and found.crops.shape == (len(kept[0]), 7, 7)
    assert found.rows.min() >= 0 and found.rows.max() < len(found.proposals)
    np.testing.assert_array_equal(found.levels, found.proposal_levels[found.rows])


def test_the_lessons_nms_is_torchvisions(made, key, picture):
    image = picture(120, 90)
    before = nms.look(image, key, 0.05)
    assert len(before.scores) > 20
    for limit in (0.2, before.inside.anchored.iou, 0.8):
        after = nms.suppress(before.boxes, before.scores, before.classes, "hard", limit)
        tensors = map(torch.from_numpy, (before.boxes, before.scores, before.classes))
        keep = batched_nms(*tensors, limit).numpy()
        assert sorted(keep) == np.flatnonzero(after.by < 0).tolist()
    limit = 0.55 if made[0] == "ssd" else 0.5
    assert before.limit == before.inside.anchored.iou == limit
    np.testing.assert_array_equal(before.levels, before.inside.anchored.levels[before.tokens])


def test_lessons_of_queries_refuse_anchors(key, picture):
    image = picture(120, 90)
    with pytest.raises(InputError, match="choose a DETR"):
        matching.look(image, None, key)
    with pytest.raises(InputError, match="choose a DETR"):
        queries.look(image, key)


@pytest.mark.parametrize("limit", [0.001, 0.25])
def test_ssds_best_of_each_class_and_its_own_limit_are_the_librarys(limit, picture):
    """All that NMS leaves, and not only the 300 best."""
    model, image = net("ssd"), torch.from_numpy(picture(120, 90).copy()).permute(2, 0, 1) / 255
    model.score_thresh, model.detections_per_img = limit, 5000
    with torch.inference_mode():
        (expected,) = model([image])
        x = model.transform([image])[0].tensors
        logits, boxes, *more = (one[0].numpy() for one in anchored.AnchoredNet(model)(x))
    logits, boxes, pairs = anchored.read(logits, boxes, more, model)
    assert np.all(np.diff(logits[0, :, 0]) <= 0) and np.bincount(pairs.classes).max() <= 300
    boxes, scores, classes = pairs.answers(logits[0], boxes[0], 0.0, (120, 90))
    assert len(scores) == len(expected["scores"]) > 300
    np.testing.assert_allclose(scores, expected["scores"], atol=1e-5)
    same_boxes((boxes, classes), (expected["boxes"].numpy(), expected["labels"].numpy()))
