"""Pictures some rows at a time come out as they do at once."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from segment_anything.utils.amg import (
    batched_mask_to_box,
    calculate_stability_score,
    mask_to_rle_pytorch,
)

from core import images
from core.imaging import bands, coco, draw, regions
from core.nets import transforms
from core.sam import masks
from core.types import Mask


@pytest.fixture(autouse=True)
def small_bands(monkeypatch):
    """So that small pictures have several."""
    monkeypatch.setattr(bands, "BAND_BYTES", 1000)
    monkeypatch.setattr(masks, "BAND_PIXELS", 1000)


def test_bands_cover_all_rows_once():
    for height, row in ((1, 5), (10, 300), (9, 999), (4, 10_000)):
        rows = [i for band in bands.bands(height, row) for i in range(height)[band]]
        assert rows == list(range(height))


def test_to_array_is_the_picture(picture):
    rgb = picture(37, 29)
    assert np.array_equal(bands.to_array(Image.fromarray(rgb)), rgb)


@pytest.mark.parametrize("resample", list(Image.Resampling))
@pytest.mark.parametrize("size", [(20, 11), (37, 11), (20, 29), (90, 60), (37, 29), (1, 1)])
def test_resized_is_pillow_s_resize(size, resample, picture):
    rgb = picture(37, 29)
    wanted = np.asarray(Image.fromarray(rgb).resize(size, resample))
    assert np.array_equal(np.asarray(bands.resized(rgb, size, resample)), wanted)


def test_a_jpeg_of_padded_pixels_is_that_of_the_picture(picture, tmp_path):
    rgb = picture(37, 29)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "JPEG", quality=90)
    path = images.save_jpeg(bands.to_image(bands.to_padded(rgb)), tmp_path / "a.jpg")
    whole = images.save_jpeg(rgb, tmp_path / "b.jpg")
    assert path.read_bytes() == whole.read_bytes()
    assert np.array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(buffer)))


def test_masks_are_drawn_as_at_once(picture, monkeypatch):
    rgb, rng = picture(60, 50), np.random.default_rng(0)
    stack = np.stack([rng.random((50, 60)) > 0.9, np.zeros((50, 60), bool), rgb[..., 0] > 120])
    by_columns = [np.asfortranarray(mask) for mask in stack]
    found = [draw.masks(rgb, stack), draw.masks(rgb, by_columns)]
    found.append(np.asarray(draw.masks_image(rgb, stack).convert("RGB")))
    monkeypatch.setattr(bands, "BAND_BYTES", 10**9)
    wanted = draw.masks(rgb, stack)
    assert all(np.array_equal(one, wanted) for one in found)


@pytest.mark.parametrize("view", [(40, 60), (97, 61), (300, 411), (5, 7)])
def test_logits_are_enlarged_as_pytorch_does(view):
    torch.manual_seed(0)
    logits = torch.randn(17, 23)
    wanted = F.interpolate(logits[None, None], view, mode="bilinear", align_corners=False)[0, 0]
    parts = list(masks.bands(logits, view))
    assert len(parts) > 1 or view[0] * view[1] < 1000
    assert [i for rows, _ in parts for i in range(view[0])[rows]] == list(range(view[0]))
    assert torch.allclose(torch.cat([band for _, band in parts]), wanted, atol=1e-5)


@pytest.mark.parametrize("threshold", [0.0, -2.0, 9.0])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mask_and_its_stability_are_those_of_segment_anything(threshold, order):
    torch.manual_seed(1)
    logits = torch.randn(16, 16) * 3
    view = (120, 90)
    large = F.interpolate(logits[None, None], view, mode="bilinear", align_corners=False)[0]
    mask = np.empty(view, bool, order=order)
    stability = masks.draw(logits, mask, threshold)
    wanted = large[0].numpy() > threshold
    assert np.count_nonzero(mask != wanted) <= 2  # logits that are the threshold but for rounding
    score = torch.nan_to_num(calculate_stability_score(large, threshold, 1.0))
    assert stability == pytest.approx(float(score[0]), abs=1e-3)


def odd_masks():
    rng = np.random.default_rng(0)
    whole, none, dot, corner = (np.zeros((9, 14), bool) for _ in range(4))
    whole[:] = True
    dot[3, 5] = True
    corner[0, 0] = corner[-1, -1] = True
    return [rng.random((9, 14)) > 0.5, rng.random((9, 14)) > 0.95, whole, none, dot, corner]


@pytest.mark.parametrize("mask", odd_masks(), ids=["noise", "dots", "whole", "none", "dot", "ends"])
def test_runs_and_box_are_those_of_segment_anything(mask):
    stack = torch.as_tensor(mask)[None]
    for given in (mask, np.asfortranarray(mask)):
        counts = regions.runs(given)
        assert counts.tolist() == mask_to_rle_pytorch(stack)[0]["counts"]
        assert list(regions.box(counts, mask.shape)) == batched_mask_to_box(stack)[0].tolist()
        kept = Mask(counts, mask.shape, (0, 0, 1, 1), 1.0, 1.0)
        assert np.array_equal(kept.mask, mask)
        assert kept.area == mask.sum()
        assert coco.encode(kept, 0.5) == coco.encode(mask, 0.5)


def test_pytorch_reads_shared_pixels_without_a_copy_or_a_warning(picture, recwarn):
    rgb = picture(60, 50)
    rgb.flags.writeable = False
    view = transforms._Borrowed.of(rgb)
    assert np.shares_memory(view, rgb)
    torch.from_numpy(view)
    assert not recwarn.list
    turned = transforms.to_view(rgb[:, ::-1], 20, 30)  # PyTorch takes no negative strides
    assert np.array_equal(turned, transforms.to_view(rgb[:, ::-1].copy(), 20, 30))
