"""The user's own EoMT as a class for every pixel, against transformers, with random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core import semantic
from core.errors import CheckpointError
from core.sources import own_files
from demos.segment import semantic as endpoint


@pytest.fixture
def own(shelf):
    """Saves a small network and its processor as the checkpoint "model"."""
    from transformers import EomtConfig, EomtForUniversalSegmentation, EomtImageProcessorPil

    def made(split: bool):
        torch.manual_seed(0)
        config = EomtConfig(
            hidden_size=32, num_hidden_layers=3, num_attention_heads=2, image_size=64,
            patch_size=16, num_blocks=1, num_upscale_blocks=1, num_queries=6,
            id2label={0: "cat", 1: "dog", 2: "sky", 3: "grass"},
        )  # fmt: skip
        model = EomtForUniversalSegmentation(config).eval()
        with torch.no_grad():
            model.class_predictor.weight.normal_(std=1.0)
            model.query.weight.normal_()
            for layer in (model.mask_head.fc1, model.mask_head.fc2, model.mask_head.fc3):
                layer.weight.normal_(std=0.3)
        size = {"shortest_edge": 64, "longest_edge": None if split else 64}
        processor = EomtImageProcessorPil(size=size, do_split_image=split, do_pad=not split)
        model.save_pretrained(shelf.folder)
        processor.save_pretrained(shelf.folder)
        path = shelf.folder / "model.safetensors"
        shelf.add("semantic", path, loader="transformers")
        return model, processor

    return made


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("size", [(90, 60), (60, 100), (70, 70)])
def test_classes_are_those_of_transformers(own, picture, split, size):
    model, processor = own(split)
    image = picture(*size)
    inputs = processor(images=image, return_tensors="pt")
    with torch.inference_mode():
        out = model(pixel_values=inputs["pixel_values"], patch_offsets=inputs.get("patch_offsets"))
    shape = image.shape[:2]
    if split:
        (found,) = processor.post_process_semantic_segmentation(out, [shape])
    else:  # that one would stretch the padding too; the panoptic one takes it away
        masks = torch.nn.functional.interpolate(out.masks_queries_logits, (64, 64), mode="bilinear")
        classes = out.class_queries_logits.softmax(-1)[..., :-1]
        scores = torch.einsum("bqc,bqhw->bchw", classes, masks.sigmoid())
        found = processor.unpad_image(scores, [shape], processor.size)[0].argmax(0)
    answer = semantic.predict(image, "model")
    assert answer.classes == ("nothing", "cat", "dog", "sky", "grass")
    assert len(np.unique(answer.labels)) > 1
    assert (answer.labels == found.numpy() + 1).mean() > 0.999  # ties of rounding


def test_the_endpoint_and_the_scan_know_it(own, shelf, settings, picture):
    own(False)
    _, document, info = endpoint.segment_semantic(picture(90, 60), "model")
    shares = {row["label"]: row["share"] for row in document["classes"]}
    assert sum(shares.values()) == pytest.approx(1) and "nothing" not in shares
    assert info["checkpoint"] == "model"
    settings(VISION_HUB_CHECKPOINTS=str(shelf.folder))
    (found,) = own_files.scan().checkpoints
    assert (found.task, found.loader) == ("semantic", "transformers")


def test_another_network_is_refused(own, shelf, picture):
    own(False)
    config = shelf.folder / "config.json"
    config.write_text(config.read_text().replace('"num_queries": 6', '"num_queries": 7'))
    with pytest.raises(CheckpointError, match="shapes do not fit"):
        semantic.predict(picture(90, 60), "model")
