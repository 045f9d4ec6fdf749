"""Masked autoencoding against transformers' ViTMAE with the same noise."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTImageProcessor

from core import reconstruct
from core.errors import CheckpointError, InputError
from core.serving import runtime
from tests import nets


def reference(model, image, ratio, seed):
    """(prediction (s, s, 3) in 0..255, mask (8, 8)) by the library's own calls."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    processor = ViTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=nets.MEAN, image_std=nets.STD
    )
    x = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    noise = torch.from_numpy(reconstruct.patch_noise(64, seed))[None]
    model.config.mask_ratio = ratio
    with torch.inference_mode():
        out = model(pixel_values=x, noise=noise)
        logits = out.logits
        if model.config.norm_pix_loss:
            target = model.patchify(x)
            mean, var = target.mean(dim=-1, keepdim=True), target.var(dim=-1, keepdim=True)
            logits = logits * (var + 1.0e-6) ** 0.5 + mean
        y = model.unpatchify(logits)[0].permute(1, 2, 0)
    y = (y * torch.tensor(nets.STD) + torch.tensor(nets.MEAN)).clamp(0, 1) * 255
    return y.numpy(), out.mask.view(8, 8).numpy().astype(bool)


@pytest.fixture
def starter(shelf):
    model, config = nets.mae()
    shelf.starter("reconstruct", model, config)
    return model


@pytest.mark.parametrize("norm_pix_loss", [False, True])
def test_equals_transformers(shelf, picture, norm_pix_loss):
    model, config = nets.mae(norm_pix_loss)
    shelf.starter("reconstruct", model, config)
    image = picture(32, 32)
    for ratio, seed in ((0.75, 0), (0.5, 1), (0.9, 2), (0.3, 3)):
        expected, mask = reference(model, image, ratio, seed)
        result = reconstruct.predict(image, mask_ratio=ratio, seed=seed)
        assert np.abs(result.image - expected).max() <= 0.5 + 1e-3  # only rounding
        np.testing.assert_array_equal(result.patch_mask, mask)


def test_views(starter, picture):
    image = picture(32, 32)
    result = reconstruct.predict(image, mask_ratio=0.6)
    hidden = result.patch_mask.repeat(4, 0).repeat(4, 1)
    np.testing.assert_array_equal(result.pasted[~hidden], image[~hidden])
    np.testing.assert_array_equal(result.pasted[hidden], result.image[hidden])
    np.testing.assert_array_equal(result.masked[~hidden], image[~hidden])
    assert np.all(result.masked[hidden] == reconstruct.GREY)
    error = (result.image[hidden] / 255.0 - image[hidden] / 255.0) ** 2
    assert result.hidden_mse == pytest.approx(error.mean(), abs=1e-3)


@pytest.mark.parametrize("size", [(200, 100), (33, 90), (1500, 1000), (8, 700)])
def test_shape_of_the_picture_is_kept(starter, picture, size):
    result = reconstruct.predict(picture(*size))
    scale = min(1.0, reconstruct.VIEW_SIDE / max(size))
    width, height = (round(side * scale) for side in size)
    assert result.image.shape == result.masked.shape == result.pasted.shape == (height, width, 3)


def test_seed_decides_the_mask(starter, picture):
    image = picture(40, 40)
    first, again = (reconstruct.predict(image, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.patch_mask, again.patch_mask)
    np.testing.assert_array_equal(first.image, again.image)
    assert np.any(reconstruct.predict(image, seed=8).patch_mask != first.patch_mask)
    reconstruct.predict(image, seed=-1)  # any whole number will do


def test_same_request_runs_no_pass(starter, picture, forwards):
    image = picture(40, 40)
    results = [reconstruct.predict(image, seed=1) for _ in range(2)]
    assert [r.info.cache["output"] for r in results] == ["miss", "hit"]
    assert len(forwards) == 1
    reconstruct.predict(image, seed=2)
    reconstruct.predict(image, seed=1, mask_ratio=0.5)
    assert len(forwards) == 3


@pytest.mark.parametrize("ratio", [0.05, 0.1, 0.55, 0.75, 0.9, 0.95])
def test_number_of_hidden_patches(starter, picture, ratio):
    hidden = int(reconstruct.predict(picture(40, 40), mask_ratio=ratio).patch_mask.sum())
    assert hidden == 64 - int(64 * (1 - ratio))


def test_one_patch_stays_visible(shelf, picture):
    model, config = nets.mae()
    config["vit_mae"]["patch_size"] = 16  # 2 x 2 patches, of which 95 % would be all
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    model = ViTMAEForPreTraining(ViTMAEConfig.from_dict(config["vit_mae"])).eval()
    shelf.starter("reconstruct", model, config)
    assert reconstruct.predict(picture(40, 40), mask_ratio=0.95).patch_mask.sum() == 3


def test_ratios_of_two_users_do_not_mix(starter, picture):
    """The ratio lives in the shared model's config: 6 threads, each with its own ratio."""
    ratios = [0.25, 0.375, 0.5, 0.625, 0.75, 0.875]
    wrong, start = [], threading.Barrier(len(ratios))

    def work(ratio):
        start.wait()
        for seed in range(12):
            image = picture(40, 40, seed=int(ratio * 1000))
            found = reconstruct.predict(image, mask_ratio=ratio, seed=seed).patch_mask.sum()
            if found != 64 * ratio:
                wrong.append((ratio, int(found)))

    threads = [threading.Thread(target=work, args=(ratio,)) for ratio in ratios]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("ratio", [0.0, 1.0, -1, float("nan")])
def test_ratio_out_of_range(starter, picture, ratio):
    with pytest.raises(InputError):
        reconstruct.predict(picture(40, 40), mask_ratio=ratio)


def test_weights_that_are_not_numbers(shelf, picture):
    model, config = nets.mae()
    with torch.no_grad():
        model.decoder.decoder_pred.bias.fill_(float("nan"))
    shelf.starter("reconstruct", model, config)
    with pytest.raises(CheckpointError, match="not numbers"):
        reconstruct.predict(picture(40, 40))
    assert runtime.outputs().stats()["values"] == 0


@pytest.mark.parametrize("suffix", ["model.safetensors", "pytorch_model.bin"])
def test_files_of_transformers(shelf, picture, suffix):
    model, _ = nets.mae()
    model.save_pretrained(shelf.folder)
    path = shelf.folder / suffix
    if path.suffix == ".bin":
        torch.save(model.state_dict(), path)
    ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=nets.MEAN, image_std=nets.STD
    ).save_pretrained(shelf.folder)
    image = picture(32, 32)
    expected, _ = reference(model, image, 0.75, 0)
    result = reconstruct.predict(image, shelf.add("reconstruct", path))
    assert np.abs(result.image - expected).max() <= 0.5 + 1e-3


def test_file_without_its_config(shelf, picture):
    model, _ = nets.mae()
    model.save_pretrained(shelf.folder)
    path = shelf.folder / "model.safetensors"
    path.with_name("config.json").unlink()
    with pytest.raises(CheckpointError, match=r"needs its config\.json"):
        reconstruct.predict(picture(40, 40), shelf.add("reconstruct", path))


@pytest.mark.parametrize("size", [(360, 480), (336, 448), (504, 672), (100, 90)])
def test_views_are_enlarged_as_pillow_does(size):
    from core.nets import transforms

    rng = np.random.default_rng(0)
    rgb = np.kron(rng.integers(0, 256, (14, 14, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    height, width = size

    def by_pillow(how):
        return np.asarray(Image.fromarray(rgb).resize((width, height), how)).astype(int)

    smooth = transforms.to_view(rgb, height, width)
    assert smooth.dtype == np.uint8
    assert np.abs(smooth - by_pillow(Image.Resampling.BICUBIC)).max() <= 2
    sharp = transforms.to_view(rgb, height, width, exact=True)
    np.testing.assert_array_equal(sharp, by_pillow(Image.Resampling.NEAREST))


@pytest.mark.parametrize("size", [(768, 1024), (480, 640), (90, 100), (9, 600), (32, 32)])
def test_input_equals_the_librarys_own(picture, size):
    from core.nets import transforms

    image = picture(*size)
    image.flags.writeable = False  # as those that requests share
    processor = ViTImageProcessor(
        size={"height": 32, "width": 32}, image_mean=nets.MEAN, image_std=nets.STD
    )
    expected = processor(Image.fromarray(image), return_tensors="pt")["pixel_values"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = transforms.square_transform(32, nets.MEAN, nets.STD)(image)
    torch.testing.assert_close(x, expected, rtol=0, atol=1e-6)
