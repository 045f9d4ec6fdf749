"""Everything mode against segment_anything's own generator, its batches and its end."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from core import segment
from core.errors import InputError, OutOfMemory
from core.imaging import regions
from core.sam.engines import SamEngine
from core.serving import runtime
from tests import nets

pytestmark = pytest.mark.usefixtures("stock_layers")

OPTIONS = [
    {"points_per_side": 2},
    {"points_per_side": 5},
    {"points_per_side": 4, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.6},
    {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.5},
    {"points_per_side": 5, "points_per_batch": 3},
    {"points_per_side": 4, "stability_score_thresh": 0.6, "min_area": 12},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_everything_equals_the_generator(sam, picture, options):
    """Bit for bit, but for masks that are small as a whole, which the library keeps."""
    image = picture(90, 64)
    settings = {"points_per_batch": segment.POINTS_PER_BATCH, **options}
    min_area = settings.pop("min_area", 0)
    generator = SamAutomaticMaskGenerator(sam, **settings, min_mask_region_area=min_area)
    expected = [m for m in generator.generate(image) if m["area"] >= min_area]
    expected.sort(key=lambda m: -m["area"])
    masks, _ = runtime.finish(segment.everything_stream(image, **options))
    assert len(expected) > 0
    assert [m.area for m in masks] == [m["area"] for m in expected]
    for found, wanted in zip(masks, expected, strict=True):
        np.testing.assert_array_equal(found.mask, wanted["segmentation"])
        x, y, w, h = wanted["bbox"]
        assert found.box == (x, y, x + w, y + h)
        assert found.score == wanted["predicted_iou"]
        assert found.stability == wanted["stability_score"]
        assert found.mask.dtype == bool


def test_small_regions_are_removed_in_everything_mode(sam, picture):
    loose = {"points_per_side": 4, "stability_score_thresh": 0.6}
    counts = []
    for area in (0, 12):
        stream = segment.everything_stream(picture(90, 64), min_area=area, **loose)
        masks, _ = runtime.finish(stream)
        counts.append(sum(np.any(regions.remove_small(m.mask, 12) != m.mask) for m in masks))
        assert all(m.area >= area for m in masks)
    assert counts[0] > counts[1] == 0


def test_masks_are_shown_as_they_come(sam, picture):
    image = picture(90, 64)
    stream = segment.everything_stream(image, points_per_side=8)
    shown = []
    while True:
        try:
            shown.append(next(stream))
        except StopIteration as stop:
            masks, _ = stop.value
            break
    assert [step.done for step in shown] == [0.25, 0.5, 0.75, 1.0]
    assert 0 < len(shown[0].masks) <= len(shown[-1].masks) == len(masks)
    assert set(map(id, shown[-1].masks)) == set(map(id, masks))


# --- memory ---


class Narrow:
    """A decoder that runs out of memory over so many points."""

    def __init__(self, monkeypatch, most):
        self.sizes = []
        step = SamEngine.decode

        def decode(engine, embedding, points, *rest):
            self.sizes.append(len(points))
            if len(points) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return step(engine, embedding, points, *rest)

        monkeypatch.setattr(SamEngine, "decode", decode)


def test_a_batch_is_halved_when_memory_runs_out(sam, picture, monkeypatch):
    image = picture(90, 64)
    plain = runtime.finish(segment.everything_stream(image, points_per_side=6, points_per_batch=4))[
        0
    ]
    narrow = Narrow(monkeypatch, most=5)
    masks, _ = runtime.finish(segment.everything_stream(image, points_per_side=6))
    # Each size is tried twice: the second time after idle models were given back.
    assert narrow.sizes == [16, 16, 8, 8] + [4] * 9
    assert len(masks) == len(plain) > 0
    for found, wanted in zip(masks, plain, strict=True):
        np.testing.assert_array_equal(found.mask, wanted.mask)


def test_not_even_one_point_fits(sam, picture, monkeypatch):
    Narrow(monkeypatch, most=0)
    with pytest.raises(OutOfMemory, match="too little memory"):
        segment.everything(picture(90, 64), points_per_side=2)
    assert all(model["in_use"] == 0 for model in runtime.models().stats()["models"])


def tensors() -> int:
    """Bytes of all tensors that are alive."""
    gc.collect()
    alive = [o for o in gc.get_objects() if type(o) is torch.Tensor]
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in alive}
    return sum(storages.values())


def test_cancelled_within_one_batch_and_memory_returns(sam, picture, monkeypatch):
    """The grid would go on for 25 batches."""
    image = picture(400, 300)
    segment.embed(image)
    narrow = Narrow(monkeypatch, most=64)
    before = tensors()
    stream = segment.everything_stream(image, points_per_side=20)
    next(stream)
    assert tensors() - before < 1e6  # also between batches
    worker = threading.Thread(target=lambda: next(stream))
    worker.start()
    worker.join()
    stream.close()
    assert len(narrow.sizes) == 2
    assert tensors() - before < 1e5
    assert all(model["in_use"] == 0 for model in runtime.models().stats()["models"])
    segment.everything(image, points_per_side=2)  # the device is free


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
    model, config = nets.own_sam(seed=4)
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


@pytest.mark.parametrize(
    "options",
    [
        {"pred_iou_thresh": 1.1},
        {"pred_iou_thresh": float("nan")},
        {"stability_score_thresh": -0.1},
        {"min_area": -1},
        {"min_area": float("inf")},
        {"points_per_batch": 0},
        {"points_per_batch": 5000},
    ],
)
def test_refused_settings_of_everything(options):
    with pytest.raises(InputError):
        runtime.finish(segment.everything_stream(np.zeros((20, 20, 3), np.uint8), **options))


@pytest.mark.parametrize("per_side", [0, 1, 65, float("nan")])
def test_refused_grids(per_side):
    with pytest.raises(InputError):
        segment.everything(np.zeros((20, 20, 3), np.uint8), points_per_side=per_side)
