"""Every full entry of the catalogue: a file with the published names and shapes loads and answers.

Names, shapes and answers come from the programs that made the published files
(`published_keys/README.md`), never from the libraries that read them here.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import encoders
from core import classify, detect, reconstruct, restore
from core.checkpoints import CATALOGUE, WORDS, Checkpoint, by_key
from core.errors import CheckpointError
from core.sam import models
from core.sources import state_dicts
from core.sources.resolver import Resolved
from tests import nets, published

BUILD = {
    "classify": classify._build,
    "detect": detect._build,
    "segment": models.build,
    "reconstruct": reconstruct._build,
    "denoise": restore._build,
    "super_resolve": restore._build,
    "deblur": restore._build,
}
FULL = [c.key for c in CATALOGUE if c.tier == "full"]
ANSWERED = [key for key in FULL if published.load(key)["answers"]]
SIZES = {"F32": 4, "I64": 8}
DTYPES = {"F32": torch.float32, "I64": torch.int64}
# One of each kind that some version of some library has written.
HARMLESS = (
    "some.norm.num_batches_tracked",
    "embeddings.position_ids",
    "layers.0.attn.relative_position_index",
    "layers.0.attn.relative_coords_table",
    "layers.1.attn_mask",
    "total_ops",
    "head.total_params",
)


def keys_of(key: str) -> dict[str, published.Spec]:
    return published.unpack(published.load(key)["keys"])


def count(spec: published.Spec) -> int:
    return int(np.prod(spec[0], dtype=np.int64))


@contextmanager
def file_of(
    checkpoint: Checkpoint, keys: dict[str, published.Spec], filled: bool = False
) -> Iterator[Resolved]:
    """The file as the hub would have it; without numbers (zeros) it takes no room on the disk."""
    told = published.load(checkpoint.key)
    with TemporaryDirectory() as folder:
        path = Path(folder) / Path(checkpoint.filename).name
        for name, field in (
            ("config.json", "config"),
            ("preprocessor_config.json", "preprocessor"),
        ):
            content = told.get(field)
            if content:
                (path.parent / name).write_text(json.dumps(content))
        if checkpoint.words:
            nets.bert_tokenizer().save_pretrained(folder)
        if path.suffix == ".safetensors":
            by_name = bool(told.get("by_name"))
            header = _header(keys, told.get("metadata"), by_name)
            with path.open("wb") as file:
                file.write(struct.pack("<Q", len(header)) + header)
                if filled:
                    for name in _order(keys, by_name):
                        file.write(published.tensor(name, *keys[name]).tobytes())
                file.truncate(8 + len(header) + sum(count(s) * SIZES[s[1]] for s in keys.values()))
        else:
            state = {name: _tensor(name, spec, filled) for name, spec in keys.items()}
            wrapper = told.get("wrapper")
            torch.save({wrapper: state} if wrapper else state, path)
        yield Resolved(checkpoint, "full", path)


def _order(keys: dict[str, published.Spec], by_name: bool) -> list[str]:
    """As safetensors writes them: wide types first, then by name; at first by name only."""
    if by_name:
        return sorted(keys)
    return sorted(keys, key=lambda name: (-SIZES[keys[name][1]], name))


def _header(
    keys: dict[str, published.Spec], metadata: dict[str, str] | None, by_name: bool = False
) -> bytes:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    start = 0
    for name in _order(keys, by_name):
        shape, dtype = keys[name]
        end = start + count(keys[name]) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _tensor(name: str, spec: published.Spec, filled: bool) -> torch.Tensor:
    if filled:
        return torch.from_numpy(published.tensor(name, *spec))
    return torch.zeros((), dtype=DTYPES[spec[1]]).expand(spec[0])


def build(resolved: Resolved) -> Any:
    return BUILD[resolved.checkpoint.task](resolved)


# --- names and sizes ---


@pytest.mark.parametrize("key", FULL)
def test_the_names_add_up_to_the_published_size(key):
    """Exactly for safetensors; in a pickle each tensor brings 200 to 450 bytes of container."""
    told, keys = published.load(key), keys_of(key)
    assert told["source"] and told["certainty"]
    tensors = sum(count(s) * SIZES[s[1]] for s in keys.values())
    size = told["bytes"] or by_key(key).size_mb * 1e6
    unsure = 0 if told["bytes"] else 0.06e6
    if by_key(key).filename.endswith(".safetensors"):
        whole = 8 + len(_header(keys, told["metadata"], bool(told.get("by_name")))) + tensors
        assert abs(whole - size) < 8 + unsure  # headers were not padded at first
    else:
        assert 200 * len(keys) - unsure < size - tensors < 450 * len(keys) + unsure
    assert tensors / 4e6 >= by_key(key).params_m * 0.99


@pytest.mark.parametrize("key", FULL)
def test_packed_names_come_out_as_they_went_in(key):
    keys = keys_of(key)
    assert published.unpack(published.pack(keys)) == keys


# --- loading ---


@pytest.mark.parametrize("key", FULL)
def test_the_published_file_loads(key):
    with file_of(by_key(key), keys_of(key)) as resolved:
        module = build(resolved).module
        assert not state_dicts.has_meta(module)
        made = sum(p.numel() for p in module.parameters()) / 1e6
        assert made == pytest.approx(by_key(key).params_m, rel=0.02)


def kind(checkpoint: Checkpoint) -> tuple[str, ...]:
    """What reads the file: entries of one kind differ in the size of their network alone."""
    told = published.load(checkpoint.key).get("config") or {}
    network = checkpoint.key if checkpoint.loader == "spandrel" else checkpoint.arch[:3]
    return checkpoint.task, checkpoint.loader, told.get("model_type", network)


# The smallest of each kind.
KINDS = {kind(c): c.key for c in sorted(map(by_key, FULL), key=lambda c: -c.params_m)}


@pytest.mark.parametrize("key", KINDS.values())
def test_counters_and_tables_too_many_are_harmless(key):
    surplus = dict.fromkeys(HARMLESS, ((1,), "I64"))
    with file_of(by_key(key), {**keys_of(key), **surplus}) as resolved:
        build(resolved)


@pytest.mark.parametrize("key", KINDS.values())
def test_a_weight_too_few_or_too_many_is_refused(key):
    keys = keys_of(key)
    # Of SAM 2 only the part for single pictures is built, and its memory may be missing.
    needed = [name for name in keys if "mask_decoder" in name] or list(keys)
    lost = next(name for name in reversed(needed) if name.endswith("weight"))
    missing = {name: spec for name, spec in keys.items() if name != lost}
    surplus = {**keys, "some.other.weight": ((3,), "F32")}
    for wrong in (missing, surplus):
        with file_of(by_key(key), wrong) as resolved, pytest.raises(CheckpointError):
            build(resolved)


def test_only_what_the_model_lacks_is_left_out():
    """A table that the model has must be in the file, and its values are the file's."""

    def net() -> torch.nn.Module:
        made = torch.nn.Linear(2, 2)
        made.register_buffer("position_ids", torch.arange(3))
        return made

    state = {**net().state_dict(), "position_ids": torch.tensor([2, 1, 0])}
    assert state_dicts.assign(net(), state, "net").position_ids.tolist() == [2, 1, 0]
    del state["position_ids"]
    with pytest.raises(CheckpointError, match="1 weights missing"):
        state_dicts.assign(net(), state, "net")


@pytest.mark.parametrize(
    "key", ["a.num_batches_tracked_weight", "mask", "attn.bias", "pixel_mean", "ids.weight"]
)
def test_what_could_change_an_answer_is_not_harmless(key):
    assert not state_dicts.is_harmless(key)


# --- answers ---


def given(name: str, *shape: int) -> torch.Tensor:
    return torch.from_numpy(published.numbers(name, shape).copy())


def outputs(task: str, module: Any) -> dict[str, torch.Tensor]:
    """The same questions as in `published_keys/make.py`."""
    if task == "classify":
        return {"logits": module(given("picture", 1, 3, 224, 224))}
    if task == "detect" and hasattr(module, "net"):
        return anchored(module.net)
    if task == "detect" and module.config.model_type == WORDS:
        tokens = torch.tensor([[101, 2000, 1012, 3000, 3001, 1012, 102]])
        out = module(pixel_values=given("picture", 1, 3, 256, 256), input_ids=tokens)
        return {"logits": out.logits[..., :7], "boxes": out.pred_boxes}
    if task == "detect":
        size = (96, 128) if module.config.model_type in ("detr", "yolos") else (640, 640)
        out = module(pixel_values=given("picture", 1, 3, *size))
        return {"logits": out.logits, "boxes": out.pred_boxes}
    if task == "reconstruct":
        out = module(given("picture", 1, 3, 224, 224), noise=given("noise", 1, 196))
        return {"logits": out.logits, "mask": out.mask}
    if task == "segment":
        points = torch.tensor([[[[300.0, 200.0], [600.0, 500.0]]]])
        labels = torch.ones(1, 1, 2, dtype=torch.int64)
        if module.config.model_type == "sam":
            features = given("features", 1, 256, 64, 64)
            out = module(image_embeddings=features, input_points=points)
            layer = module.vision_encoder.layers[0](given("tokens", 1, 64, 64, 384))
            layer = layer if torch.is_tensor(layer) else layer[0]
            return {"masks": out.pred_masks, "iou": out.iou_scores, "layer": layer}
        sizes = ((32, 256), (64, 128), (256, 64))
        maps = [given(f"features {c}", 1, c, side, side) for c, side in sizes]
        out = module(image_embeddings=maps, input_points=points, input_labels=labels)
        width = module.config.vision_config.backbone_config.hidden_size
        layer = module.vision_encoder.backbone.blocks[0](given("tokens", 1, 64, 64, width))
        return {"masks": out.pred_masks, "iou": out.iou_scores, "layer": layer}
    channels = next(p for p in module.parameters() if p.ndim == 4).shape[1]
    return {"picture": module(given("picture", 1, channels, 64, 64))}


def anchored(net: Any) -> dict[str, torch.Tensor]:
    """What a detector of torchvision gives before boxes are made of it."""
    levels = net.backbone(given("picture", 1, 3, 96, 128))
    if hasattr(net, "head"):
        out = net.head(list(levels.values()))
        return {"logits": out["cls_logits"], "boxes": out["bbox_regression"]}
    scores, moves = net.rpn.head(list(levels.values()))
    crops = net.roi_heads.box_head(given("crops", 2, 256, 7, 7))
    logits, boxes = net.roi_heads.box_predictor(crops)
    return {"objectness": scores[0], "moves": moves[0], "logits": logits, "boxes": boxes}


@pytest.mark.parametrize("key", ANSWERED)
def test_the_answers_are_those_of_the_program_that_made_the_file(key):
    checkpoint, expected = by_key(key), published.load(key)["answers"]
    with file_of(checkpoint, keys_of(key), filled=True) as resolved, torch.inference_mode():
        got = outputs(checkpoint.task, build(resolved).module.eval())
    assert got.keys() == expected.keys()
    for name, answer in got.items():
        told, wanted = published.summary(answer.numpy()), expected[name]
        assert told["shape"] == wanted["shape"], name
        near = {"rel": 1e-3, "abs": 1e-3 * wanted["std"]}
        assert told["std"] == pytest.approx(wanted["std"], **near), name
        assert told["mean"] == pytest.approx(wanted["mean"], **near), name
        assert told["values"] == pytest.approx(wanted["values"], **near), name


def test_every_task_has_answers():
    tasks = {by_key(key).task for key in ANSWERED}
    assert tasks == {c.task for c in CATALOGUE if c.tier == "full"}


# --- costs, by which "auto" chooses on a processor ---


def multiply_adds(module: Any, *inputs: Any, **options: Any) -> float:
    """Thousand millions of them in one pass, as PyTorch counts."""
    # The fused attention of a processor is not counted.
    plain = sdpa_kernel(SDPBackend.MATH)
    with plain, FlopCounterMode(display=False) as counter, torch.inference_mode():
        module.eval()(*inputs, **options)
    return counter.get_total_flops() / 2e9


def cost(checkpoint: Checkpoint) -> float:
    """Of a picture as `gmacs` describes it; on `meta`, where nothing is computed, if that goes."""
    if checkpoint.loader == "timm":
        import timm

        with torch.device("meta"):
            model = timm.create_model(checkpoint.arch)
            return multiply_adds(model, torch.zeros(1, *model.pretrained_cfg["input_size"]))
    if checkpoint.loader == "torchvision":
        from torchvision import models

        plain = {"aux_logits": False, "init_weights": False}
        options = plain if checkpoint.arch == "googlenet" else {}
        with torch.device("meta"):
            network = models.get_model(checkpoint.arch, weights=None, **options)
            return multiply_adds(network, torch.zeros(1, 3, 224, 224))
    if checkpoint.task == "segment":
        with torch.device("meta"):
            network = encoders.network(checkpoint.key)
            part = getattr(network, "image_encoder", None) or network.vision_encoder
            return multiply_adds(part, torch.zeros(1, 3, 1024, 1024))
    with file_of(checkpoint, keys_of(checkpoint.key)) as resolved:
        module = build(resolved).module
        if checkpoint.task == "reconstruct":
            return multiply_adds(module, torch.zeros(1, 3, 224, 224))
        channels = next(p for p in module.parameters() if p.ndim == 4).shape[1]
        return 64 * multiply_adds(module, torch.zeros(1, channels, 64, 64))


@pytest.mark.parametrize(
    "key", [c.key for c in CATALOGUE if c.tier == "full" and c.task != "detect"]
)
def test_what_a_picture_costs_is_in_the_catalogue(key):
    """But for DETR, whose pass at that size takes long and does not run on `meta`."""
    checkpoint = by_key(key)
    assert checkpoint.gmacs == pytest.approx(cost(checkpoint), rel=0.02)
