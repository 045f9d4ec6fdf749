"""Refinement from click to click, the three masks of one click, small regions, named pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from segment_anything import SamPredictor
from segment_anything.utils.amg import calculate_stability_score, remove_small_regions

from core import images, segment
from core.errors import InputError
from core.imaging import regions
from core.serving import runtime
from tests import nets
from tests.sams import ask, assert_same

pytestmark = pytest.mark.usefixtures("stock_layers")

CLICKS = [[40, 30, 1], [60, 20, 0], [22.5, 48, 1], [70, 50, 1]]
BOX = [12, 9, 71, 58]


# --- refinement ---


def refined_by_hand(sam, image, points, box, first):
    """SamPredictor, click after click, each given the logits of the answer before."""
    earlier = None if box is None else ask(sam, image, box=box)[2][:1]
    for count in range(1, len(points) + 1):
        answer = ask(sam, image, points[:count], box, mask_input=earlier)
        meant = min(first, len(answer[2]) - 1)
        earlier = answer[2][meant : meant + 1]
    return answer


@pytest.mark.parametrize("box", [None, BOX])
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("first", [0, 2])
def test_refinement_equals_the_library_click_by_click(sam, picture, box, count, first):
    image = picture(90, 64)
    expected = refined_by_hand(sam, image, CLICKS[:count], box, first)
    assert_same(segment.predict(image, CLICKS[:count], box, refine=first), expected)


def test_refinement_of_a_box_alone_is_the_box(sam, picture):
    image = picture(90, 64)
    assert_same(segment.predict(image, box=BOX, refine=0), ask(sam, image, box=BOX))


def test_refinement_depends_on_the_choice_and_the_order(sam, picture):
    image = picture(90, 64)
    logits = [
        segment.predict(image, clicks, refine=first).low_res
        for clicks, first in ((CLICKS, 0), (CLICKS, 1), (CLICKS[::-1], 0))
    ]
    logits.append(segment.predict(image, CLICKS).low_res)
    assert all(np.any(a != b) for i, a in enumerate(logits) for b in logits[:i])


def test_each_click_decodes_once_and_undo_decodes_nothing(sam, picture, forwards, monkeypatch):
    image = picture(90, 64)
    decodes = []
    forward = type(sam.mask_decoder).forward
    monkeypatch.setattr(
        type(sam.mask_decoder),
        "forward",
        lambda self, *args, **named: decodes.append(1) or forward(self, *args, **named),
    )
    for count in range(1, len(CLICKS) + 1):
        segment.predict(image, CLICKS[:count], refine=1)
        assert len(decodes) == count
    undone = segment.predict(image, CLICKS[:2], refine=1)
    segment.predict(image, CLICKS[:2], refine=1, min_area=20)
    assert len(decodes) == len(CLICKS)
    assert undone.info.cache["decode"] == undone.info.cache["embedding"] == "hit"


def test_forgotten_logits_are_computed_anew(sam, picture):
    image = picture(90, 64)
    kept = segment.predict(image, CLICKS, refine=0)
    runtime.decoded().clear()
    runtime.outputs().clear()
    again = segment.predict(image, CLICKS, refine=0)
    assert again.info.cache["decode"] == "miss"
    assert_same(again, (kept.masks, kept.scores, kept.low_res))


def test_changed_answers_do_not_reach_the_next_visitor(sam, picture):
    image = picture(90, 64)
    first = segment.predict(image, CLICKS[:1])
    wanted = first.low_res.copy()
    first.low_res[:] = 99
    first.scores[:] = 99
    second = segment.predict(image, CLICKS[:1])
    np.testing.assert_array_equal(second.low_res, wanted)
    assert np.all(second.scores < 9)


# --- the three masks of one click ---


def test_three_masks_only_while_the_prompt_is_one_point(sam, picture):
    image = picture(90, 64)
    earlier = segment.predict(image, CLICKS[:1]).low_res[:1]
    prompts = {
        3: [{"points": CLICKS[:1]}, {"points": CLICKS[:1], "refine": 0}],
        1: [
            {"points": CLICKS[:2]},
            {"points": CLICKS[:2], "refine": 0},
            {"points": CLICKS[:1], "box": BOX},
            {"points": CLICKS[:1], "mask_input": earlier},
            {"points": CLICKS[:1], "multimask": False},
            {"box": BOX},
        ],
    }
    for count, asked in prompts.items():
        for prompt in asked:
            result = segment.predict(image, **prompt)
            assert len(result.masks) == len(result.stability) == count
            assert len(result.names) == (3 if count == 3 else 0)


@pytest.mark.parametrize("points", [CLICKS[:1], CLICKS])
def test_stability_equals_the_library(sam, picture, points):
    image = picture(90, 64)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    rows = np.array(points, float)
    logits, scores, _ = predictor.predict(
        rows[:, :2], rows[:, 2], multimask_output=len(points) == 1, return_logits=True
    )
    expected = calculate_stability_score(torch.tensor(logits), sam.mask_threshold, 1.0)
    order = np.argsort(-scores, kind="stable")
    found = segment.predict(image, points).stability
    np.testing.assert_array_equal(found, expected.numpy()[order])
    assert np.all((found > 0) & (found <= 1))


def test_an_empty_mask_has_no_stability(shelf, picture):
    model, config = nets.own_sam()
    with torch.no_grad():
        for mlp in model.mask_decoder.output_hypernetworks_mlps:
            mlp.layers[-1].weight.zero_()
            mlp.layers[-1].bias.zero_()
        model.mask_threshold = 5.0
    shelf.starter("segment", model, config)
    with runtime.run("segment", "auto", segment._build) as run:
        run.extra.engine.mask_threshold = 5.0  # nothing lies above it
    result = segment.predict(picture(90, 64), CLICKS)
    assert not result.masks.any()
    assert result.stability.tolist() == [0.0]


def test_names_go_by_area(sam, picture):
    result = segment.predict(picture(90, 64), CLICKS[:1])
    areas = dict(zip(result.names, result.masks.sum(axis=(1, 2)), strict=True))
    assert areas["largest"] >= areas["middle"] >= areas["smallest"]
    assert regions.names_by_area([5, 9, 7]) == ("smallest", "largest", "middle")
    assert regions.names_by_area([4, 4, 4]) == ("largest", "middle", "smallest")
    assert regions.names_by_area([4]) == regions.names_by_area([]) == ()


# --- small holes and islands ---


def by_library(mask, area):
    for mode in ("holes", "islands"):
        mask, _ = remove_small_regions(mask, area, mode)
    return mask


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))),
    st.integers(0, 20),
)
def test_small_regions_equal_the_library(mask, area):
    if not mask.any():  # the library keeps the largest of no islands, and fails
        assert not regions.remove_small(mask, area).any()
        return
    before, expected = mask.copy(), by_library(mask, area)
    found = regions.remove_small(mask, area)
    np.testing.assert_array_equal(mask, before)
    if expected.sum() < area:  # where all are small one of the largest stays; of equals, any
        assert found.sum() == expected.sum()
        assert ndimage.label(found, np.ones((3, 3)))[1] == 1
    else:
        np.testing.assert_array_equal(found, expected)


def test_small_regions_of_a_prediction_go(sam, picture):
    image = picture(90, 64)
    plain = segment.predict(image, CLICKS[:1])
    cleaned = segment.predict(image, CLICKS[:1], min_area=60)
    for before, after in zip(plain.masks, cleaned.masks, strict=True):
        np.testing.assert_array_equal(after, by_library(before, 60))
    assert np.any(plain.masks != cleaned.masks)
    np.testing.assert_array_equal(plain.low_res, cleaned.low_res)


# --- pictures by name, masks to look at ---


def test_a_named_picture_is_read_once(sam, picture, monkeypatch):
    image = picture(90, 64)
    loads = []
    named = images.Picture(
        images.digest(image), image.shape[:2], lambda: loads.append(1) or image.copy()
    )
    assert images.picture(named) is named
    assert images.picture(image) == named
    segment.embed(named)
    hashed = []
    digest = images.digest
    monkeypatch.setattr(images, "digest", lambda rgb: hashed.append(1) or digest(rgb))
    result = segment.predict(named, CLICKS)
    assert loads == [1] and hashed == []
    assert_same(result, ask(sam, image, CLICKS))
    np.testing.assert_array_equal(images.from_any(named), image)


def test_a_named_picture_whose_pixels_changed_is_refused(sam, picture):
    named = images.Picture(images.digest(picture(90, 64)), (64, 90), lambda: picture(90, 64, 1))
    with pytest.raises(InputError, match="choose it again"):
        segment.predict(named, CLICKS)


def test_masks_to_look_at_are_smaller_and_alike(sam, picture):
    image = picture(901, 640)
    whole = segment.predict(image, CLICKS)
    small = segment.predict(image, CLICKS, max_side=100)
    assert small.masks.shape == (1, *images.resize_max(image, 100).shape[:2])
    np.testing.assert_array_equal(small.low_res, whole.low_res)
    assert small.info.cache["decode"] == "hit"
    height, width = small.masks.shape[1:]
    rows = ((np.arange(height) + 0.5) * 640 / height).astype(int)  # their middles
    columns = ((np.arange(width) + 0.5) * 901 / width).astype(int)
    assert np.mean(small.masks[0] == whole.masks[0][np.ix_(rows, columns)]) > 0.97
    assert segment.predict(image, CLICKS, max_side=5000).masks.shape == whole.masks.shape


# --- encoding tells how far it is ---


def test_encoding_tells_how_far_it_is_and_leaves_no_hook(sam, picture):
    told = []
    segment.embed(picture(90, 64), progress=lambda done, text: told.append((done, text)))
    shares = [done for done, _ in told]
    assert len(shares) >= 2 and shares == sorted(shares) and shares[-1] == 1
    assert {text for _, text in told} == {"Reading the picture"}
    with runtime.run("segment", "auto", segment._build) as run:
        assert not any(m._forward_hooks for m in run.lease.built.module.modules())


def test_encoding_ends_where_the_visitor_leaves(sam, picture):
    def leave(done, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment.embed(picture(90, 64), progress=leave)
    with runtime.run("segment", "auto", segment._build) as run:
        assert not any(m._forward_hooks for m in run.lease.built.module.modules())
    assert segment.embed(picture(90, 64)).cache["embedding"] == "miss"


@pytest.mark.parametrize(
    "options",
    [
        {"refine": 3},
        {"refine": -1},
        {"refine": 0, "mask_input": np.zeros((1, 32, 32), np.float32)},
        {"refine": 0, "points": [[5, 5, 1]] * 65},
        {"min_area": -1},
        {"min_area": float("nan")},
        {"max_side": 0},
        {"max_side": float("nan")},
    ],
)
def test_refused_options(shelf, picture, options):
    model, config = nets.own_sam()
    shelf.starter("segment", model, config)
    with pytest.raises(InputError):
        segment.predict(picture(90, 64), **{"points": CLICKS, **options})
