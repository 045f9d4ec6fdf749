"""Segmentation against segment_anything's own predictor and generator, and users kept apart."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import segment_anything
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor

from core import runtime, segment
from core.errors import CheckpointError, InputError
from tests import nets

PROMPTS = {
    "one point": {"points": [[40, 30, 1]]},
    "one excluding point": {"points": [[40, 30, 0]]},
    "points": {"points": [[40, 30, 1], [10.5, 8, 1], [70, 50, 0]]},
    "box": {"box": [12, 9, 61, 48]},
    "points and box": {"points": [[30, 30, 1], [20, 15, 0]], "box": [12, 9, 61, 48]},
    "corner": {"points": [[90, 64, 1]]},
}


@pytest.fixture(params=["segment_anything", "own"])
def sam(request, shelf, monkeypatch):
    """Meta's encoder from a .pth, or the project's small one from a starter file."""
    if request.param == "own":
        model, config = nets.own_sam()
        shelf.starter("segment", model, config)
        return model
    return register(shelf, monkeypatch, nets.sam())


def register(shelf, monkeypatch, model):
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", nets.sam)
    path = shelf.folder / "sam.pth"
    torch.save(model.state_dict(), path)
    shelf.add("segment", path, arch="vit_b", tier="starter")
    return model


def ask(sam, image, points=(), box=None, mask_input=None, multimask=True):
    """SamPredictor's answer to the same prompt: masks, scores, low_res; best first."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    rows = np.array(points, dtype=float).reshape(-1, 3)
    masks, scores, low_res = predictor.predict(
        rows[:, :2] if len(rows) else None,
        rows[:, 2] if len(rows) else None,
        None if box is None else np.array(box),
        mask_input,
        multimask_output=multimask and len(rows) == 1 and box is None,
    )
    order = np.argsort(-scores, kind="stable")
    return masks[order], scores[order], low_res[order]


def assert_same(result, expected):
    for found, wanted in zip((result.masks, result.scores, result.low_res), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


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


@pytest.mark.parametrize("per_side", [2, 5])
def test_everything_equals_the_generator(sam, picture, per_side):
    image = picture(90, 64)
    generator = SamAutomaticMaskGenerator(
        sam, points_per_side=per_side, points_per_batch=segment.POINTS_PER_BATCH
    )
    expected = sorted(generator.generate(image), key=lambda m: -m["area"])
    masks, _ = segment.everything(image, points_per_side=per_side)
    assert len(expected) > 0
    assert [m.area for m in masks] == [m["area"] for m in expected]
    for found, wanted in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(found.mask, wanted["segmentation"])
        x, y, w, h = wanted["bbox"]
        assert found.box == (x, y, x + w, y + h)
        assert found.score == wanted["predicted_iou"]
        assert found.stability == wanted["stability_score"]
        assert found.mask.dtype == bool


def test_everything_without_a_sure_mask(shelf, picture):
    model, config = nets.own_sam()
    with torch.no_grad():
        model.mask_decoder.iou_prediction_head.layers[-1].bias.fill_(-9)  # sure of nothing
    shelf.starter("segment", model, config)
    masks, info = segment.everything(picture(90, 64), points_per_side=4)
    assert masks == []
    assert info.cache["embedding"] == "miss"


def test_everything_with_the_thresholds_of_a_starter(shelf, picture):
    """The file says of itself what it is sure enough of."""
    model, config = nets.own_sam()
    thresholds = {"pred_iou_thresh": 0.2, "stability_score_thresh": 0.4}
    image = picture(90, 64)
    counts = []
    for name, header in (("plain", config), ("modest", {**config, "everything": thresholds})):
        shelf.starter("segment", model, header, name)
        counts.append(len(segment.everything(image, name, points_per_side=4)[0]))
    generator = SamAutomaticMaskGenerator(model, 4, segment.POINTS_PER_BATCH, **thresholds)
    assert counts[0] < counts[1] == len(generator.generate(image))


def test_everything_tells_how_far_it_is_and_can_be_stopped(sam, picture):
    steps = segment.everything_steps(picture(90, 64), points_per_side=8)
    assert [next(steps), next(steps)] == [0.25, 0.5]
    steps.close()
    assert all(model["in_use"] == 0 for model in runtime.models().stats()["models"])


def test_large_pictures_are_decoded_in_smaller_batches():
    assert segment.points_per_batch(1000, 1000) == segment.POINTS_PER_BATCH
    assert segment.points_per_batch(4000, 3000) == 2
    assert segment.points_per_batch(7000, 7000) == 1


@pytest.fixture
def encodings(sam, monkeypatch):
    """Grows by one with each pass through the image encoder."""
    passes = []
    kind = type(sam.image_encoder)
    forward = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, x: passes.append(1) or forward(self, x))
    return passes


def test_second_click_runs_no_encoder(sam, encodings, picture):
    image = picture(90, 64)
    first = segment.predict(image, [[40, 30, 1]])
    second = segment.predict(image.copy(), [[41, 30, 1]])
    assert [r.info.cache["embedding"] for r in (first, second)] == ["miss", "hit"]
    assert "encode" in first.info.seconds
    assert "encode" not in second.info.seconds
    segment.everything(image, points_per_side=2)
    assert len(encodings) == 1
    segment.predict(picture(90, 64, seed=1), [[40, 30, 1]])
    assert len(encodings) == 2


def test_embed_prepares_the_first_click(sam, encodings, picture):
    image = picture(90, 64)
    assert segment.embed(image).cache["embedding"] == "miss"
    assert segment.predict(image, [[40, 30, 1]]).info.cache["embedding"] == "hit"
    assert len(encodings) == 1


def test_store_too_small_for_an_embedding(sam, picture, settings, monkeypatch):
    """Each click then encodes again, and the masks are the same."""
    from core import output_store

    monkeypatch.setattr(output_store, "value_bytes", lambda value: 10**12)
    image = picture(90, 64)
    settings()
    results = [segment.predict(image, [[40, 30, 1]]) for _ in range(2)]
    assert [r.info.cache["embedding"] for r in results] == ["miss", "miss"]
    np.testing.assert_array_equal(results[0].masks, results[1].masks)


def test_two_users_never_get_each_others_mask(sam, picture):
    """Pictures of other shapes and contents, clicked in turn from six threads."""
    users = [
        (picture(180, 240, seed=1), [[50, 200, 1]]),
        (picture(240, 160, seed=2), [[200, 50, 1]]),
        (picture(180, 240, seed=3), [[50, 200, 1]]),
    ] * 2
    expected = [ask(sam, image, points) for image, points in users]
    wrong, start = [], threading.Barrier(len(users))

    def work(user):
        image, points = users[user]
        start.wait()
        for _ in range(8):
            try:
                assert_same(segment.predict(image, points), expected[user])
            except Exception as error:
                wrong.append((user, error))

    threads = [threading.Thread(target=work, args=(user,)) for user in range(len(users))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert np.any(expected[0][0] != expected[2][0])  # the test can tell the users apart


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


@pytest.mark.parametrize("per_side", [0, 1, 65, float("nan")])
def test_refused_grids(per_side):
    with pytest.raises(InputError):
        segment.everything(np.zeros((20, 20, 3), np.uint8), points_per_side=per_side)


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
