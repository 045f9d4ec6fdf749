"""What a learner looks at: gains of clicks, the embedding as colours, shapes and their diagram."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from segment_anything import SamPredictor

from core import segment
from core.errors import InputError
from core.imaging import metrics
from core.sam import diagram, insight
from core.serving import runtime
from tests.conftest import once_beside
from tests.sams import ask

pytestmark = pytest.mark.usefixtures("stock_layers")

CLICKS = [[40, 30, 1], [60, 20, 0], [22.5, 48, 1]]
BOX = [12, 9, 71, 58]


# --- which click helped ---


def test_gains_are_ious_of_successive_masks(sam, picture):
    image = picture(90, 64)
    reference = ask(sam, image, CLICKS)[0][0]
    gains = segment.click_gains(image, CLICKS, reference=reference, max_side=None)
    masks = [ask(sam, image, CLICKS[:count])[0][0] for count in (1, 2, 3)]
    scores = [ask(sam, image, CLICKS[:count])[1][0] for count in (1, 2, 3)]
    true = [metrics.mask_iou(mask, reference) for mask in masks]
    assert [g.click for g in gains] == [1, 2, 3]
    assert [g.predicted for g in gains] == scores
    assert [g.true for g in gains] == true and true[-1] == 1
    assert [g.unchanged for g in gains] == [
        None,
        metrics.mask_iou(masks[0], masks[1]),
        metrics.mask_iou(masks[1], masks[2]),
    ]
    assert [g.gain for g in gains] == [true[0], true[1] - true[0], true[2] - true[1]]


def test_a_box_comes_first_and_the_chosen_mask_is_followed(sam, picture):
    image = picture(90, 64)
    boxed = segment.click_gains(image, CLICKS[:1], BOX, max_side=None)
    assert [g.click for g in boxed] == [0, 1]
    assert [g.true for g in boxed] == [g.gain for g in boxed] == [None, None]
    chosen = segment.predict(image, CLICKS[:1]).masks[2]
    after = segment.predict(image, CLICKS[:2], refine=2).masks[0]
    gains = segment.click_gains(image, CLICKS[:2], refine=2, max_side=None)
    assert gains[1].unchanged == metrics.mask_iou(chosen, after)
    assert len(segment.click_gains(image, [], BOX)) == 1


def test_gains_on_smaller_masks_are_alike(sam, picture):
    image = picture(900, 640)
    clicks = [[400, 300, 1], [600, 200, 0]]
    reference = segment.predict(image, clicks).masks[0]
    gains = [
        segment.click_gains(image, clicks, reference=reference, max_side=side)[0].true
        for side in (None, 300)
    ]
    assert gains[0] == pytest.approx(gains[1], abs=0.05)


def test_refused_gains(sam, picture):
    with pytest.raises(InputError, match="size differs"):
        segment.click_gains(picture(90, 64), CLICKS, reference=np.zeros((64, 91), bool))
    with pytest.raises(InputError, match="Click a point"):
        segment.click_gains(picture(90, 64))


# --- the embedding as colours ---


def test_embedding_picture_covers_the_picture_and_not_its_padding(sam, picture):
    image = picture(90, 45)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    features = predictor.get_image_embedding()[0].numpy()
    height = -(-features.shape[1] // 2)  # the lower half is padding
    colours = segment.embedding_picture(image)
    assert colours.shape == (height, features.shape[2], 3) and colours.dtype == np.uint8
    np.testing.assert_array_equal(colours, insight.pca_picture(features[:, :height]))
    assert all(np.ptp(colours[..., i]) == 255 for i in range(3))
    assert segment.embed(image).cache["embedding"] == "hit"


def test_principal_components_are_those_of_the_covariance():
    rng = np.random.default_rng(0)
    spread = np.array([9, 5, 2, 0.1, 0.1])
    hidden = rng.uniform(-1, 1, (30 * 40, 5)) * spread
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    features = (hidden @ turn.T + 3).T.reshape(5, 30, 40).astype(np.float32)
    colours = insight.pca_picture(features).reshape(-1, 3).astype(float)
    for i in range(3):
        assert abs(np.corrcoef(colours[:, i], hidden[:, i])[0, 1]) > 0.98
    np.testing.assert_array_equal(insight.pca_picture(features), insight.pca_picture(features * 2))
    assert insight.pca_picture(np.ones((2, 3, 4), np.float32)).shape == (3, 4, 3)


# --- shapes ---


def test_shapes_are_those_of_the_model(sam, picture):
    image = picture(90, 64)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    _, scores, low_res = predictor.predict(np.array([[40, 30]]), np.ones(1))
    dim, grid = sam.prompt_encoder.embed_dim, sam.prompt_encoder.image_embedding_size[0]
    found = {part.key: part for part in segment.parts(image, CLICKS[:1])}
    shapes = {key: part.shape for key, part in found.items()}
    assert shapes == {
        "embedding": tuple(predictor.features.shape),
        "sparse": (1, 2, dim),  # the point, and one that stands for no box
        "dense": (1, dim, grid, grid),
        "tokens": (1, 1 + 4 + 2, dim),
        "places": (1, grid * grid, dim),
        "upscaled": (1, dim // 8, 4 * grid, 4 * grid),
        "weights": (1, dim // 8),
        "iou": (1, 4),
        "masks": (1, *low_res.shape),
        "scores": (1, *scores.shape),
    }
    boxed = {part.key: part.shape for part in segment.parts(image, CLICKS, BOX)}
    assert boxed["sparse"] == (1, 3 + 2, dim)
    assert boxed["masks"][1] == 1
    decoder = sam.mask_decoder
    assert found["tokens"].parameters == sum(p.numel() for p in decoder.transformer.parameters())
    with runtime.run("segment", "auto", segment._build) as run:
        assert not any(m._forward_hooks for m in run.lease.built.module.modules())


def test_shapes_are_not_those_of_a_pass_beside(sam, picture):
    """On a CPU a step of everything mode may run the same decoder meanwhile."""
    image = picture(90, 64)
    alone = {part.key: part.shape for part in segment.parts(image, CLICKS[:1])}
    with runtime.run("segment", "auto", segment._build) as run:
        module = run.lease.built.module
    points = torch.rand(1, 5, 2), torch.ones(1, 5, dtype=torch.int)
    another_asks, begun = once_beside(lambda: module.prompt_encoder(points, None, None))
    handle = module.mask_decoder.transformer.register_forward_pre_hook(another_asks)
    try:
        beside = {part.key: part.shape for part in segment.parts(image, CLICKS[:1])}
    finally:
        handle.remove()
    assert begun and beside == alone


def test_the_diagram_says_every_shape(sam, picture):
    parts = segment.parts(picture(90, 64), CLICKS)
    text = diagram.svg(parts)
    root = ElementTree.fromstring(text)
    space = "{http://www.w3.org/2000/svg}"
    written = [node.text for node in root.iter(f"{space}text")]
    for part in parts:
        assert part.title in written
        assert " x ".join(map(str, part.shape)) in written
    assert len(root.findall(f"{space}g")) == len(parts) == len(diagram.PLACES)
    arrows = [p for p in root.findall(f"{space}path") if p.get("marker-end")]
    assert len(arrows) == sum(map(len, diagram.MADE_FROM.values()))
    assert root.get("role") == "img" and root.find(f"{space}title").text
    assert "currentColor" in text  # fits both themes
    width = float(root.get("viewBox").split()[2])
    corners = [float(r.get("x")) + float(r.get("width")) for r in root.iter(f"{space}rect")]
    assert max(corners) <= width


def test_the_diagram_of_some_parts():
    part = insight.Part("tokens", "<Tokens>", (1, 7, 32))
    text = diagram.svg([part])
    assert "&lt;Tokens&gt;" in text and "marker-end" not in text
    ElementTree.fromstring(text)
