"""Segmentation against segment_anything's own predictor and generator, and users kept apart."""

from __future__ import annotations

import numpy as np
import pytest
import segment_anything
import torch

from core import segment
from core.errors import CheckpointError, InputError
from core.serving import runtime
from tests import nets
from tests.sams import ask, assert_same

pytestmark = pytest.mark.usefixtures("stock_layers")

PROMPTS = {
    "one point": {"points": [[40, 30, 1]]},
    "one excluding point": {"points": [[40, 30, 0]]},
    "points": {"points": [[40, 30, 1], [10.5, 8, 1], [70, 50, 0]]},
    "box": {"box": [12, 9, 61, 48]},
    "points and box": {"points": [[30, 30, 1], [20, 15, 0]], "box": [12, 9, 61, 48]},
    "corner": {"points": [[90, 64, 1]]},
}


@pytest.mark.parametrize("name", PROMPTS)
def test_equals_sam_predictor(sam, picture, name):
    image = picture(90, 64)
    expected = ask(sam, image, **PROMPTS[name])
    assert_same(segment.predict(image, **PROMPTS[name]), expected)
    assert 0 < expected[0].mean() < 1


@pytest.mark.parametrize("size", [(64, 64), (50, 200), (301, 77), (8, 8), (400, 4000)])
def test_any_shape_of_picture(sam, picture, size):
    image = picture(*size)
    points = [[size[0] // 3, size[1] // 2, 1]]
    assert_same(segment.predict(image, points), ask(sam, image, points))


def test_number_of_masks(sam, picture):
    image = picture(90, 64)
    assert len(segment.predict(image, [[40, 30, 1]]).masks) == 3
    assert len(segment.predict(image, [[40, 30, 1]], multimask=False).masks) == 1
    assert len(segment.predict(image, [[40, 30, 1], [50, 30, 1]]).masks) == 1
    assert len(segment.predict(image, [[40, 30, 1]], box=[10, 10, 60, 60]).masks) == 1


def test_refinement_with_the_earlier_mask(sam, picture):
    image = picture(90, 64)
    first = segment.predict(image, [[40, 30, 1]])
    points, earlier = [[40, 30, 1], [60, 20, 0]], first.low_res[:1]
    expected = ask(sam, image, points, mask_input=earlier)
    result = segment.predict(image, points, mask_input=earlier)
    assert_same(result, expected)
    assert np.any(result.low_res != segment.predict(image, points).low_res)


def test_box_given_from_the_other_corner(sam, picture):
    image = picture(90, 64)
    expected = ask(sam, image, box=[12, 9, 90, 48])
    assert_same(segment.predict(image, box=[400, 48, 12, 9]), expected)  # and clipped


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"points": []},
        {"points": [[float("nan"), 5, 1]]},
        {"points": [[5, float("inf"), 1]]},
        {"points": [[-1, 5, 1]]},
        {"points": [[91, 5, 1]]},
        {"points": [[5, 65, 1]]},
        {"points": [[5, 5, 2]]},
        {"points": [[5, 5]]},
        {"points": [[5, 5, 1], [5, 5]]},
        {"points": [5, 5, 1]},
        {"points": [["here", 5, 1]]},
        {"points": [[5, 5, None]]},
        {"points": [[5, 5, 1]] * 1001},
        {"box": [5, 5, 5, 40]},
        {"box": [100, 5, 200, 40]},
        {"box": [5, 5, 40]},
        {"box": [5, 5, 40, float("nan")]},
        {"box": ["left", 5, 40, 40]},
        {"points": [[5, 5, 1]], "mask_input": np.zeros((1, 7, 7), np.float32)},
        {"points": [[5, 5, 1]], "mask_input": np.full((1, 32, 32), np.nan, np.float32)},
    ],
)
def test_refused_prompts(shelf, picture, prompt):
    model, config = nets.own_sam()
    shelf.starter("segment", model, config)
    with pytest.raises(InputError):
        segment.predict(picture(90, 64), **prompt)


def test_bfloat16_decodes_in_full_precision(sam, picture, settings):
    image = picture(90, 64)
    plain = segment.predict(image, [[40, 30, 1]])
    settings(VISION_HUB_PRECISION="bf16")
    rough = segment.predict(image, [[40, 30, 1]])
    assert rough.low_res.dtype == np.float32
    assert np.any(rough.low_res != plain.low_res)
    assert np.mean(rough.masks == plain.masks) > 0.95
    segment.everything(image, points_per_side=4)


def test_weights_that_are_not_numbers(shelf, picture):
    model, config = nets.own_sam()
    with torch.no_grad():
        model.image_encoder.neck[-1].bias.fill_(float("nan"))
    shelf.starter("segment", model, config)
    with pytest.raises(CheckpointError, match="not numbers"):
        segment.predict(picture(90, 64), [[40, 30, 1]])


def test_unknown_architecture(shelf, picture):
    path = shelf.folder / "sam.pth"
    torch.save(nets.sam().state_dict(), path)
    with pytest.raises(CheckpointError, match="ViT-B, ViT-L or ViT-H"):
        segment.predict(picture(90, 64), [[1, 1, 1]], checkpoint=shelf.add("segment", path))


@pytest.mark.slow
def test_vit_b_equals_sam_predictor(shelf, picture):
    """The real architecture from a file in the original format: every value of the model, then
    masks with its encoder cut to one of its twelve blocks, because all take half a minute."""
    torch.manual_seed(0)
    model = nets.sharpen(segment_anything.sam_model_registry["vit_b"]()).eval()
    path = shelf.folder / "sam_vit_b.pth"
    torch.save(model.state_dict(), path)
    shelf.add("segment", path, arch="vit_b", tier="starter")
    with runtime.run("segment", "auto", segment._build) as run:
        built = run.lease.built.module
        assert str(built) == str(model)
        for kind in ("parameters", "buffers"):
            values = dict(getattr(model, f"named_{kind}")())
            found = dict(getattr(built, f"named_{kind}")())
            assert values.keys() == found.keys()
            assert all(torch.equal(values[name], found[name]) for name in values)
        for part in (model, built):
            part.image_encoder.blocks = part.image_encoder.blocks[:1]
    image = picture(320, 200)
    expected = ask(model, image, [[100, 90, 1]])
    for state in ("miss", "hit"):
        result = segment.predict(image, [[100, 90, 1]])
        assert_same(result, expected)
        assert result.info.cache["embedding"] == state
