"""Boxes from text: Grounding DINO against transformers, on a small network with random weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from core import checkpoints, detect
from core.checkpoints import Checkpoint
from core.errors import CheckpointError, DamagedFile, InputError
from core.lessons import nms, queries
from core.nets import phrases
from core.sources import own_files
from tests import nets
from tests.browser import page_of, tab

TEXT = "A red cup, cats; the FACE. cats"
SAID = ("a red cup", "cats", "the face")


@pytest.fixture
def net(shelf):
    """The network and the library's processor, which are saved as the checkpoint "model"."""
    made = saved(shelf.folder)
    path = shelf.folder / "model.safetensors"
    shelf.add("detect", path, loader="transformers", arch="grounding-dino")
    return made


def saved(folder):
    """Save a small network of random weights, and the library's processor."""
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
    )

    torch.manual_seed(0)
    text = {"model_type": "bert", "vocab_size": 1050, "hidden_size": 32, "num_hidden_layers": 1}
    text |= {"num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 64}
    swin = {"model_type": "swin", "image_size": 64, "embed_dim": 8, "depths": [1] * 4}
    swin |= {"num_heads": [1, 2, 2, 2], "window_size": 4, "out_indices": [2, 3, 4]}
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=text, num_queries=20, encoder_layers=1, decoder_layers=2,
        d_model=32, encoder_ffn_dim=32, decoder_ffn_dim=32, encoder_attention_heads=4,
        decoder_attention_heads=4, max_text_len=24,
    )  # fmt: skip
    model = GroundingDinoForObjectDetection(config).eval()
    with torch.no_grad():  # scores and boxes that differ
        model.model.encoder_output_bbox_embed.layers[-1].bias.normal_()
        model.model.text_projection.weight.normal_(std=0.5)
        for head in model.bbox_embed:
            head.layers[-1].weight.normal_(std=0.5)
    tokenizer = nets.bert_tokenizer()
    processor = GroundingDinoProcessor(
        GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}), tokenizer
    )
    model.save_pretrained(folder)
    processor.image_processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model, processor


def theirs(net, image, said, threshold):
    model, processor = net
    inputs = processor(images=image, text=list(said), return_tensors="pt")
    with torch.inference_mode():
        out = model(**inputs)
    (found,) = processor.post_process_grounded_object_detection(
        out, inputs["input_ids"], threshold, 0.25, [image.shape[:2]]
    )
    order = torch.argsort(found["scores"], descending=True, stable=True)
    labels = [found["text_labels"][i] for i in order]
    return found["scores"][order], found["boxes"][order], labels


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.6])
def test_boxes_and_labels_are_those_of_transformers(net, picture, threshold):
    image = picture(90, 60)
    scores, boxes, labels = theirs(net, image, SAID, threshold)
    found = detect.predict(image, "model", threshold, words=TEXT)
    assert len(found.labels) == len(labels) > 3
    np.testing.assert_allclose(found.scores, scores, atol=1e-4)
    corner = boxes.clamp(min=0).minimum(torch.tensor([90, 60, 90, 60]))
    np.testing.assert_allclose(found.boxes, corner, atol=0.1)
    pairs = list(zip(found.labels, labels, strict=True))
    assert all(ours == name for ours, name in pairs if name)
    assert all(ours in SAID for ours, name in pairs if not name)
    assert len(set(labels)) > 1


def test_a_box_without_a_label_gets_the_word_that_fits_best(net):
    model, processor = net
    reader = phrases.Reader(processor, model.config.max_text_len)
    ids = reader.tokens(("red cup", "cat"))  # [CLS] red cup . cat . [SEP]
    assert ids[0].tolist() == [101, 1041, 1042, 1012, 1043, 1012, 102]
    logits = np.full((3, 7), -5, np.float32)
    logits[0, 0], logits[0, 4] = 3, -2  # [CLS] is above the threshold, and cat is the next
    logits[1, 1:3] = 2
    logits[2, 4] = 1
    boxes = np.full((3, 4), 0.5, np.float32)
    _, scores, labels = reader.answers(logits, boxes, ("red cup", "cat"), 0.3, (90, 60))
    assert labels == ("cat", "red cup", "cat")
    np.testing.assert_allclose(scores, 1 / (1 + np.exp([-3.0, -2.0, -1.0])), rtol=1e-6)


def test_other_words_are_another_pass_and_the_same_ones_are_kept(net, picture):
    image = picture(90, 60)
    first = detect.predict(image, "model", 0.0, words="cat, red cup")
    assert first.info.cache["output"] == "miss"
    same = detect.predict(image, "model", 0.2, words=" Cat ,, red  cup.")
    assert same.info.cache["output"] == "hit"
    other = detect.predict(image, "model", 0.0, words="dog, red cup")
    assert other.info.cache["output"] == "miss"
    assert not np.allclose(other.scores, first.scores)


def test_a_text_is_split_where_the_model_splits_it():
    assert phrases.words(TEXT) == SAID
    assert phrases.words("a [SEP] cat? dog\ncat") == ("a sep cat", "dog", "cat")
    assert phrases.words(" , . ") == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Type what to look for"),
        (" ,. ", "Type what to look for"),
        ("cat " * 300, "at most 1000 letters"),
        ("cat, " + "dog " * 30, "too many words"),
        (7, "as text"),
    ],
)
def test_bad_text_gives_one_sentence(net, picture, text, said):
    with pytest.raises(InputError, match=said):
        detect.predict(picture(90, 60), "model", words=text)


def test_nothing_is_fetched_before_there_are_words(monkeypatch, picture):
    def never(*_, **__):
        raise AssertionError("fetched")

    monkeypatch.setattr(detect.runtime, "run", never)
    with pytest.raises(InputError, match="Type what to look for"):
        detect.predict(picture(90, 60), "grounding-dino-tiny")


def test_lessons_and_a_lost_tokenizer_say_what_to_do(net, shelf, picture):
    image = picture(90, 60)
    for lesson in (lambda: queries.look(image, "model"), lambda: nms.look(image, "model")):
        with pytest.raises(InputError, match="finds what you type"):
            lesson()
    assert detect.classes("model") == ()
    detect.runtime.reset()
    (shelf.folder / "tokenizer.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"tokenizer\.json"):
        detect.predict(image, "model", words="cat")
    detect.runtime.reset()
    (shelf.folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        detect.predict(image, "model", words="cat")


def test_an_own_file_is_recognised(net, shelf, settings):
    settings(VISION_HUB_CHECKPOINTS=str(shelf.folder))
    (found,) = own_files.scan().checkpoints
    assert found.words and found.task == "detect"


def test_fixed_classes_say_that_they_do_not_use_words(picture):
    found = detect.predict(picture(90, 60), "detect-cnn-starter", words="cat")
    assert found.info.note.endswith("did not use the words.")
    assert not detect.predict(picture(90, 60), "detect-cnn-starter").info.note


@pytest.mark.browser
@pytest.mark.slow
def test_the_page_asks_for_words_where_a_checkpoint_needs_them(browser, url, tmp_path, monkeypatch):
    """The field comes and goes with the checkpoint; boxes have the words, and go on to Segment."""
    saved(tmp_path)
    path = str(tmp_path / "model.safetensors")
    made = Checkpoint(
        "typed", "detect", "transformers", path, "MIT", "Typed", tier="own", arch="grounding-dino",
        by_name_only=True,
    )  # fmt: skip
    known = (*checkpoints.CATALOGUE, made)
    monkeypatch.setattr(checkpoints, "CATALOGUE", known)
    monkeypatch.setitem(checkpoints._BY_KEY, "typed", made)
    with page_of(browser) as page:
        page.goto(url)
        page.locator("#classify-said [data-turn]:not([data-working])").wait_for(state="attached")
        tab(page, "Detect")
        page.locator("#detect-said [data-turn]:not([data-working])").wait_for(state="attached")
        field = page.locator("#detect-words textarea, #detect-words input")
        assert not field.is_visible()
        choose(page, "Typed")
        field.wait_for()
        alert = page.locator("#detect-said [role=alert]")
        alert.wait_for()
        assert "Type what to look for" in alert.inner_text()
        page.locator("#detect-threshold input[type=number]").first.fill("0.3")
        field.fill("a red cup, cats")
        field.press("Enter")
        page.locator("#detect-result", has_text=re.compile("cup|cats")).wait_for()
        page.locator("#detect-said [data-turn]:not([data-working])").wait_for(state="attached")
        assert page.locator("#detect-send").is_enabled()
        choose(page, "Auto")
        field.wait_for(state="hidden")


def choose(page, title):
    page.locator("#detect-checkpoint input").click()
    page.locator("[role=option]", has_text=title).first.click()
