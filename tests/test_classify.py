"""Classification against timm itself, with the same weights."""

from __future__ import annotations

import json

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import create_transform, resolve_model_data_config

from core import classify
from core.errors import CheckpointError, InputError
from core.nets import classifiers
from core.serving import runtime
from tests import nets


def reference(model, data_config, image):
    """Probabilities (K,) by timm's own transform and forward pass."""
    from PIL import Image

    x = create_transform(**data_config, is_training=False)(Image.fromarray(image))[None]
    with torch.inference_mode():
        return model.eval()(x)[0].double().softmax(-1).numpy()


def assert_same(result, expected, labels):
    order = np.argsort(-expected, kind="stable")
    np.testing.assert_allclose(result.scores, expected[order], rtol=1e-6, atol=1e-9)
    assert result.labels == tuple(labels[i] for i in order)


@pytest.fixture
def starter(shelf):
    model, config = nets.vit()
    shelf.starter("classify", model, config)
    return model, config


def test_starter_equals_timm(starter, picture):
    model, config = starter
    for width, height in ((32, 32), (120, 70), (31, 90)):
        image = picture(width, height)
        expected = reference(
            model,
            {
                "input_size": (3, 32, 32),
                "mean": tuple(config["mean"]),
                "std": tuple(config["std"]),
                "crop_pct": 0.9,
                "interpolation": "bicubic",
            },
            image,
        )
        assert_same(classify.predict(image, top_k=4), expected, config["labels"])


# Swin keeps constant tables that are in no file and that stay empty on the meta device.
@pytest.mark.parametrize("arch", ["test_vit.r160_in1k", "swin_tiny_patch4_window7_224.ms_in1k"])
def test_timm_file_equals_ordinary_build(shelf, picture, arch):
    torch.manual_seed(0)
    model = timm.create_model(arch)
    path = shelf.folder / "model.safetensors"
    save_file(model.state_dict(), path)
    image = picture(200, 150)
    result = classify.predict(image, shelf.add("classify", path, arch=arch), top_k=1000)
    expected = reference(model, resolve_model_data_config(model), image)
    assert_same(result, expected, classifiers.labels_of(model))
    assert len(set(result.labels)) > 990  # ImageNet's names, a few of which are used twice


def test_own_folder_brings_its_classes_and_transform(shelf, picture):
    torch.manual_seed(0)
    model = timm.create_model("test_vit", num_classes=3, img_size=64)
    own = {"input_size": [3, 64, 64], "mean": [0.1] * 3, "std": [0.9] * 3, "crop_pct": 1.0}
    names = ["red", "green", "blue"]
    config = {
        "architecture": "test_vit",
        "num_classes": 3,
        "label_names": names,
        "model_args": {"img_size": 64},
        "pretrained_cfg": {**own, "interpolation": "bilinear", "fixed_input_size": True},
    }
    path = shelf.folder / "model.safetensors"
    save_file(model.state_dict(), path)
    path.with_name("config.json").write_text(json.dumps(config))
    image = picture(90, 100)
    expected = reference(model, {**own, "interpolation": "bilinear"}, image)
    key = shelf.add("classify", path, arch="test_vit")
    assert_same(classify.predict(image, key, top_k=3), expected, names)


def test_temperature_divides_the_logits_without_another_pass(starter, picture, forwards):
    image = picture(40, 40)
    plain = classify.predict(image, top_k=4)
    warm = classify.predict(image, top_k=4, temperature=4.0)
    assert warm.labels == plain.labels
    np.testing.assert_allclose(
        np.log(warm.scores[0] / warm.scores), np.log(plain.scores[0] / plain.scores) / 4, atol=1e-5
    )
    assert len(forwards) == 1
    assert plain.info.cache["output"] == "miss"
    assert warm.info.cache == {"model": "hit", "output": "hit"}
    classify.predict(picture(40, 40, seed=1))
    assert len(forwards) == 2


@pytest.mark.parametrize(("top_k", "expected"), [(1, 1), (3, 3), (4, 4), (5, 4), (10_000, 4)])
def test_top_k(starter, picture, top_k, expected):
    result = classify.predict(picture(40, 40), top_k=top_k)
    assert len(result.labels) == len(result.scores) == expected


def test_bfloat16_agrees(starter, picture, settings):
    image = picture(64, 64)
    plain = classify.predict(image, top_k=4)
    settings(VISION_HUB_PRECISION="bf16")
    rough = classify.predict(image, top_k=4)
    assert rough.info.precision == "bf16"
    assert not np.array_equal(rough.scores, plain.scores)  # it really ran in bf16
    by_label = dict(zip(rough.labels, rough.scores, strict=True))
    np.testing.assert_allclose([by_label[n] for n in plain.labels], plain.scores, atol=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 0},
        {"top_k": -1},
        {"top_k": float("nan")},
        {"temperature": 0},
        {"temperature": -1},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
    ],
)
def test_parameters_out_of_range(starter, picture, options):
    with pytest.raises(InputError):
        classify.predict(picture(40, 40), **options)


def test_narrow_picture_is_refused_before_a_resize_makes_it_huge(starter):
    with pytest.raises(InputError, match="too narrow"):
        classify.predict(np.zeros((8, 50_000, 3), np.uint8))


def test_weights_that_are_not_numbers(shelf, picture):
    model, config = nets.vit()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    shelf.starter("classify", model, config)
    with pytest.raises(CheckpointError, match="not numbers"):
        classify.predict(picture(40, 40))
    assert runtime.outputs().stats()["values"] == 0


def test_features_only_is_refused(shelf, picture):
    model = timm.create_model("test_vit", num_classes=0)
    path = shelf.folder / "model.safetensors"
    save_file(model.state_dict(), path)
    config = {"architecture": "test_vit", "num_classes": 0}
    config["pretrained_cfg"] = {"input_size": [3, 160, 160], "fixed_input_size": True}
    path.with_name("config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="no classes"):
        classify.predict(picture(40, 40), shelf.add("classify", path))
