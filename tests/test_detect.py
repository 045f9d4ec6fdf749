"""Detection against transformers' own processor, model and post-processing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from core import detect
from core.errors import CheckpointError, InputError
from core.lessons import queries
from core.nets import detectors
from core.serving import runtime
from tests import nets

pytestmark = pytest.mark.usefixtures("stock_layers")


def reference(model, config, image, threshold, backend="pil"):
    """(boxes, scores, labels) by the library, sorted as ours: best first, clipped."""
    from transformers import DetrImageProcessor
    from transformers.models.detr.image_processing_pil_detr import DetrImageProcessorPil

    kind = DetrImageProcessorPil if backend == "pil" else DetrImageProcessor
    processor = kind(
        size=config["size"], image_mean=config["mean"], image_std=config["std"], do_pad=True
    )
    inputs = processor(Image.fromarray(image), return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs)
    h, w = image.shape[:2]
    found = processor.post_process_object_detection(out, threshold, [(h, w)])[0]
    order = found["scores"].argsort(descending=True, stable=True)
    boxes = found["boxes"][order].clamp(min=0)
    boxes = torch.minimum(boxes, torch.tensor([w, h, w, h]))
    names = [config["detr"]["id2label"][int(i)] for i in found["labels"][order]]
    return boxes.numpy(), found["scores"][order].numpy(), tuple(names)


def assert_same(result, expected, **tolerance):
    np.testing.assert_allclose(result.boxes, expected[0], **(tolerance or {"atol": 1e-3}))
    np.testing.assert_allclose(result.scores, expected[1], **(tolerance or {"atol": 1e-6}))
    assert result.labels == expected[2]


@pytest.fixture
def starter(shelf):
    model, config = nets.detr()
    shelf.starter("detect", model, config)
    return model, config


def test_nothing_found(starter, picture):
    result = detect.predict(picture(80, 60), threshold=1.0)
    assert result.boxes.shape == (0, 4)
    assert result.scores.shape == (0,)
    assert result.labels == ()
    assert result.image_size == (80, 60)


@pytest.mark.parametrize("size", [(80, 60), (60, 81), (300, 40), (8, 8), (1200, 900)])
def test_equals_transformers(starter, picture, size):
    model, config = starter
    image = picture(*size)
    for threshold in (0.0, 0.4):
        expected = reference(model, config, image, threshold)
        assert_same(detect.predict(image, threshold=threshold), expected)
    assert len(expected[1]) > 0


def test_near_the_torchvision_processor(starter, picture):
    """transformers' default resizes with torchvision; pixels differ a little, objects do not."""
    model, config = starter
    image = picture(200, 140)
    expected = reference(model, config, image, 0.0, backend="torchvision")
    result = detect.predict(image, threshold=0.0)
    np.testing.assert_allclose(result.scores, expected[1], atol=0.02)
    np.testing.assert_allclose(result.boxes, expected[0], atol=2)


def test_threshold_is_exclusive_and_runs_no_pass(starter, picture, forwards):
    image = picture(80, 60)
    everything = detect.predict(image, threshold=0.0)
    assert len(everything.scores) == 12
    assert np.ptp(everything.scores) > 0.2
    assert np.ptp(everything.boxes[:, 0]) > 5
    third = float(everything.scores[2])
    assert len(detect.predict(image, threshold=third).scores) == 2
    assert len(detect.predict(image, threshold=np.nextafter(third, 0)).scores) == 3
    assert np.all(np.diff(everything.scores) <= 0)
    assert len(forwards) == 1


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_threshold_out_of_range(starter, picture, threshold):
    with pytest.raises(InputError):
        detect.predict(picture(80, 60), threshold=threshold)


def test_boxes_stay_on_the_picture():
    logits = np.array([[9.0, 0.0], [9.0, 0.0]], np.float32)
    boxes = np.array([[0.0, 0.0, 1.0, 1.0], [1.0, 0.5, 0.5, 3.0]], np.float32)
    found, scores, classes = detect.postprocess(logits, boxes, 0.5, (200, 100))
    np.testing.assert_allclose(found, [[0, 0, 100, 50], [150, 0, 200, 100]])
    assert scores.shape == classes.shape == (2,)


def saved(model, config, folder, **changes):
    """The files as transformers writes them; keys of `changes` go into config.json."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    processor = {"size": config["size"], "image_mean": nets.MEAN, "image_std": nets.STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder / "model.safetensors"


def test_files_of_transformers_with_older_names(shelf, picture):
    model, config = nets.detr()
    path = saved(model, config, shelf.folder)
    with safe_open(path, "pt") as file:
        assert not set(file.keys()) & {
            n for n in model.state_dict() if n.startswith("model.backbone.")
        }
    image = picture(80, 60)
    result = detect.predict(image, shelf.add("detect", path), threshold=0.0)
    assert_same(result, reference(model, config, image, 0.0))


def test_config_of_facebooks_files(shelf, picture):
    """They name a timm backbone by its name alone and ask for its pretrained weights."""
    model, config = nets.detr()
    path = saved(
        model,
        config,
        shelf.folder,
        backbone_config=None,
        backbone="test_resnet",
        use_timm_backbone=True,
        use_pretrained_backbone=True,
        auxiliary_loss=True,
    )
    (shelf.folder / "preprocessor_config.json").write_text(
        json.dumps({"size": 96, "max_size": 160, "image_mean": nets.MEAN, "image_std": nets.STD})
    )
    image = picture(80, 60)
    result = detect.predict(image, shelf.add("detect", path), threshold=0.0)
    assert_same(result, reference(model, config, image, 0.0))


def test_file_without_its_config(shelf, picture):
    model, config = nets.detr()
    path = saved(model, config, shelf.folder)
    path.with_name("config.json").unlink()
    with pytest.raises(CheckpointError, match=r"needs its config\.json"):
        detect.predict(picture(80, 60), shelf.add("detect", path))
    path.with_name("config.json").write_text("{damaged")
    with pytest.raises(CheckpointError, match=r"config\.json beside model\.safetensors"):
        detect.predict(picture(80, 60), "model")


@pytest.mark.parametrize("answer", ["logits", "boxes"])
def test_weights_that_are_not_numbers(shelf, picture, answer):
    model, config = nets.detr()
    heads = {"logits": model.class_labels_classifier, "boxes": model.bbox_predictor.layers[-1]}
    with torch.no_grad():
        heads[answer].bias.fill_(float("nan"))
    shelf.starter("detect", model, config)
    with pytest.raises(CheckpointError, match="not numbers"):
        detect.predict(picture(80, 60))
    assert runtime.outputs().stats()["values"] == 0


def test_narrow_picture(starter):
    with pytest.raises(InputError, match="too narrow"):
        detect.predict(np.zeros((20_000, 10, 3), np.uint8))


def test_bfloat16_agrees(starter, picture, settings):
    image = picture(120, 90)
    plain = detect.predict(image, threshold=0.0)
    settings(VISION_HUB_PRECISION="bf16")
    rough = detect.predict(image, threshold=0.0)
    assert not np.array_equal(rough.scores, plain.scores)
    np.testing.assert_allclose(rough.scores, plain.scores, atol=0.1)


def test_sigmoid_postprocessing_equals_transformers():
    from transformers import RTDetrImageProcessor
    from transformers.models.rt_detr.modeling_rt_detr import RTDetrObjectDetectionOutput

    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 2, (30, 7)).astype(np.float32)
    boxes = rng.uniform(0.3, 0.6, (30, 4)).astype(np.float32)
    out = RTDetrObjectDetectionOutput(
        logits=torch.tensor(logits)[None], pred_boxes=torch.tensor(boxes)[None]
    )
    for threshold in (0.0, 0.7):
        expected = RTDetrImageProcessor().post_process_object_detection(
            out, threshold, [(300, 400)]
        )[0]
        found, scores, classes = detect.postprocess_sigmoid(logits, boxes, threshold, (400, 300))
        np.testing.assert_allclose(found, expected["boxes"], atol=1e-3)
        np.testing.assert_allclose(scores, expected["scores"], atol=1e-6)
        assert classes.tolist() == expected["labels"].tolist()
    assert 0 < len(scores) < 30


@pytest.mark.parametrize("size", [(80, 60), (61, 333), (40, 700), (1200, 901)])
def test_yolos_gets_whole_patches(size):
    """Its processor rounds both sides down to patches of 16, which the network would cut off."""
    from transformers.models.yolos.image_processing_pil_yolos import YolosImageProcessorPil

    from core.nets import transforms

    edges = {"shortest_edge": 128, "longest_edge": 333}
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    got = transforms.detr_transform(edges, detectors.IMAGENET_MEAN, detectors.IMAGENET_STD, 16)(rgb)
    processor = YolosImageProcessorPil(size=edges, do_pad=False)
    assert torch.equal(got, processor(rgb, return_tensors="pt")["pixel_values"])


def test_rf_detr_of_transformers(shelf, picture):
    from transformers import RfDetrConfig, RfDetrForObjectDetection
    from transformers.models.rf_detr.image_processing_rf_detr import RfDetrImageProcessor

    torch.manual_seed(0)
    backbone = {"model_type": "rf_detr_dinov2", "hidden_size": 32, "num_hidden_layers": 2}
    backbone |= {"num_attention_heads": 2, "patch_size": 8, "image_size": 64, "num_windows": 2}
    config = RfDetrConfig(
        backbone_config={**backbone, "out_features": ["stage1", "stage2"]},
        d_model=32, decoder_ffn_dim=32, intermediate_size=32, decoder_n_points=2, decoder_layers=2,
        decoder_self_attention_heads=2, decoder_cross_attention_heads=2, num_queries=12,
        group_detr=2, id2label={0: "cat", 1: "dog", 2: "cup"},
    )  # fmt: skip
    model = RfDetrForObjectDetection(config).eval()
    with torch.no_grad():
        model.class_embed.weight.normal_(std=0.3)
        model.class_embed.bias.zero_()
    processor = RfDetrImageProcessor(size={"height": 64, "width": 64})
    model.save_pretrained(shelf.folder)
    processor.save_pretrained(shelf.folder)
    image = picture(90, 60)
    with torch.inference_mode():
        out = model(**processor(images=image, return_tensors="pt"))
    (expected,) = processor.post_process_object_detection(out, 0.3, target_sizes=[(60, 90)])
    key = shelf.add("detect", shelf.folder / "model.safetensors")
    found = detect.predict(image, key, threshold=0.3)
    assert len(found.scores) == len(expected["scores"]) > 3
    np.testing.assert_allclose(found.scores, expected["scores"], atol=1e-3)
    corner = expected["boxes"].clamp(min=0).minimum(torch.tensor([90, 60, 90, 60]))
    np.testing.assert_allclose(found.boxes, corner, atol=0.1)
    assert found.labels == tuple(config.id2label[int(i)] for i in expected["labels"])
    with pytest.raises(InputError, match="RF-DETR; choose another DETR"):
        queries.look(image, key)
