"""LeNet-5: the network of the paper, what it sees of a picture, and how it reads digits."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont

from core import classify
from core.checkpoints import by_key, by_preference, of_task
from core.errors import CheckpointError, InputError
from core.lessons import (
    attention,
    augmentation,
    compare,
    feature_maps,
    logits,
    receptive_field,
    why_this_class,
)
from core.nets import chains, lenet
from core.sources import resolver
from tests.live import EXAMPLES
from tests.test_cnn_family import lenet as written_plainly
from training import digits
from training import lenet as recipe

KEY = "lenet-starter"


def digit(text: str, ink: int = 30, paper: int = 245, size: tuple[int, int] = (240, 200)) -> Any:
    """(H, W, 3) uint8: dark on light, as somebody writes, in Pillow's own font."""
    page = Image.new("L", size, paper)
    middle = (size[0] / 2, size[1] / 2)
    ImageDraw.Draw(page).text(middle, text, ink, ImageFont.load_default(130), anchor="mm")
    return np.asarray(page.convert("RGB"))


# --- the network ---


def test_it_is_the_network_of_the_paper():
    torch.manual_seed(0)
    mine, plain = lenet.LeNet().eval(), written_plainly().eval()
    names = [*plain.state_dict()]
    plain.load_state_dict(dict(zip(names, mine.state_dict().values(), strict=True)))
    x = torch.randn(3, 1, 32, 32)
    torch.testing.assert_close(mine(x), plain(x))
    torch.testing.assert_close(mine(x.expand(-1, 3, -1, -1)), plain(x), atol=1e-6, rtol=1e-5)
    assert mine.forward_features(x).shape == (3, 16, 5, 5)
    found = chains.chain_of(mine)
    assert found is not None
    steps = [(s.kernel, s.stride, s.padding, s.kind) for s in found]
    published = receptive_field.preset("lenet5").steps
    assert steps == [(s.kernel, s.stride, s.padding, s.kind) for s in published]


# --- what it sees ---


def test_ink_on_paper_becomes_light_on_black():
    x = lenet.transform(digit("7"))
    assert x.shape == (1, 3, 32, 32)
    assert float(x.min()) == pytest.approx(-0.1) and float(x.max()) == pytest.approx(1.175)
    assert torch.equal(x[:, 0], x[:, 1]) and torch.equal(x[:, 0], x[:, 2])
    assert float(x[..., :2, :].mean()) == pytest.approx(-0.1)  # the paper
    negative = lenet.transform(255 - digit("7"))
    torch.testing.assert_close(x, negative, atol=0.02, rtol=0)  # a rounded grey level
    pale = lenet.transform(digit("7", ink=140, paper=190))
    torch.testing.assert_close(x, pale, atol=0.06, rtol=0)


def test_little_contrast_is_not_made_a_digit():
    blank = np.full((60, 80, 3), 200, np.uint8)
    assert torch.equal(lenet.transform(blank), torch.full((1, 3, 32, 32), -0.1))
    blank[20:40, 30:50] = 198
    assert float(lenet.transform(blank).max()) < 0.1


def test_it_sees_the_middle_square():
    wide = np.full((200, 400, 3), 245, np.uint8)
    wide[:, 100:300] = digit("5", size=(200, 200))
    assert torch.equal(lenet.transform(wide), lenet.transform(digit("5", size=(200, 200))))


# --- the starter ---


@pytest.mark.parametrize("ink", [20, 120])
def test_it_reads_printed_digits(ink):
    for shown in "0234578":
        found = classify.predict(digit(shown, ink=ink), KEY, top_k=10)
        assert sorted(found.labels) == list("0123456789")
        assert found.labels[0] == shown
        assert not found.doubt


# It learned handwriting. A printed 1 is nearly its 7, a 6 or 9 whose tail curls back its 8 or 0.
STROKES: dict[str, list[list[tuple[int, int]]]] = {
    "1": [[(86, 40), (76, 122)]],
    "6": [[(98, 36), (72, 62), (62, 96), (72, 120), (94, 120), (102, 102), (90, 88), (66, 98)]],
    "9": [[(100, 60), (88, 42), (66, 46), (60, 66), (76, 80), (98, 66), (98, 58), (92, 124)]],
}


@pytest.mark.parametrize("shown", STROKES)
def test_it_reads_digits_as_people_draw_them(shown):
    page = Image.new("RGB", (160, 160), (235, 232, 225))
    for stroke in STROKES[shown]:
        ImageDraw.Draw(page).line(stroke, (40, 40, 90), 9, joint="curve")
    assert classify.predict(page, KEY).labels[0] == shown


@pytest.mark.parametrize("name", ["chelsea.jpg", "astronaut.jpg", "hopper.jpg"])
def test_it_doubts_a_photograph(name):
    assert "none of the 10 classes" in classify.predict(EXAMPLES / name, KEY).doubt
    assert not classify.predict(digit("7"), KEY).doubt


def test_it_answers_only_where_it_is_picked(monkeypatch):
    assert by_key(KEY) in of_task("classify")
    for on_gpu in (False, True):
        assert by_key(KEY) not in by_preference("classify", on_gpu)
    monkeypatch.setattr(resolver, "is_ready", lambda c: c.key == KEY)  # nothing else is there
    with pytest.raises(CheckpointError, match="No checkpoint for classify is ready"):
        resolver.resolve("auto", "classify")
    assert [c.key for c in of_task("classify") if c.by_name_only] == [KEY]


def test_the_lessons_look_into_it():
    seven = digit("7")
    maps = feature_maps.look(seven, KEY)
    assert [one.name for one in maps.layers] == ["act1", "s2", "act3", "s4"]
    assert [one.size for one in maps.layers] == [(28, 28), (14, 14), (10, 10), (5, 5)]
    assert maps.filters is not None and maps.filters.shape == (6, 5, 5, 3)
    assert np.array_equal(maps.filters[..., 0], maps.filters[..., 2])
    seen = receptive_field.measure(seven, KEY)
    assert [one.name for one in seen.layers] == ["act1", "s2", "act3", "s4"]
    assert [one.field.size for one in seen.layers if one.field] == [5, 6, 14, 16]
    for one in seen.layers:  # no gradient outside of the square of the arithmetic
        x1, y1, x2, y2 = (round(v) for v in one.box or ())
        assert one.weights.sum() > 0
        assert one.weights[y1:y2, x1:x2].sum() == pytest.approx(one.weights.sum())
    why = why_this_class.explain(seven, KEY)
    assert why.label == "7" and [one.method for one in why.maps] == ["Grad-CAM"]
    assert why.maps[0].values.shape == (5, 5) and why.maps[0].values.max() > 0
    curves = why_this_class.measure(seven, why)
    assert curves.insertion[0, -1] == pytest.approx(why.probability, abs=1e-4)
    assert logits.look(seven, KEY).values.shape == (10,)
    mild = augmentation.bench(seven, KEY, augmentation.Strengths(colour=0.2))
    assert mild.original.label == "7"
    both = compare.look(seven, (KEY, "efficientnet-lite0"))
    assert (both.answers[0].params, both.answers[0].macs) == (61_706, 416_520)
    assert both.answers[0].heat.shape == (5, 5)
    assert both.agreement[0, 1] == 0  # no class in common
    with pytest.raises(InputError):
        attention.look(seven, KEY)


# --- the recipe ---


def idx(path: Any, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head + values.tobytes())


@pytest.fixture
def data(tmp_path):
    numbers = np.random.default_rng(0)
    for part in ("train", "t10k"):
        small = numbers.integers(0, 256, (24, 28, 28), dtype=np.uint8)
        idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte", small)
        idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte", np.arange(24, dtype=np.uint8) % 10)
    return tmp_path


def test_idx_files_are_read_as_they_are(data):
    pictures, labels = digits.read(data, "test")
    expected = np.random.default_rng(0).integers(0, 256, (24, 28, 28), dtype=np.uint8)
    again, _ = digits.read(data, "train")
    assert np.array_equal(again[:, 0].numpy(), expected)
    assert pictures.shape == (24, 1, 28, 28) and labels.tolist()[:11] == [*range(10), 0]
    broken = data / "mnist" / "t10k-labels-idx1-ubyte"
    broken.write_bytes(broken.read_bytes()[:-1])
    with pytest.raises(SystemExit, match="damaged"):
        digits.read(data, "test")


def test_training_can_be_resumed_and_its_file_is_read(data):
    pictures, labels = digits.read(data, "train")
    config = recipe.Config(batch=8, doubtful=3, loop=recipe.LoopConfig(steps=4, bf16=False))
    whole = recipe.trainer_of(config, data / "whole")
    recipe.train(whole, pictures, labels, config)
    half = recipe.trainer_of(config, data / "half")
    recipe.train(half, pictures, labels, config, until_step=2)
    resumed = recipe.trainer_of(config, data / "half")
    recipe.train(resumed, pictures, labels, config)
    for a, b in zip(whole.ema.parameters(), resumed.ema.parameters(), strict=True):
        assert torch.equal(a, b)
    path = recipe.export(whole.ema, data / "made.safetensors")
    scores = recipe.evaluate(recipe.load(path), data)
    assert set(scores) >= {"errors", "errors, moved and redrawn"}
    assert all(0 <= value <= 100 for value in scores.values())
