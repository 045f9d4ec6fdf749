"""A weight file that gives no model is not the end: what answers instead, and what is said."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save

from core import checkpoints, classify, detect, reconstruct, restore, segment
from core.checkpoints import Checkpoint
from core.errors import CheckpointError, DamagedFile, OutOfMemory
from core.nets import trunk
from core.serving import precision, runtime
from core.settings import get_settings
from core.sources import failures, hf_client, resolver, web_files
from core.start import agreement
from core.types import RunInfo
from tests import hub_server, published
from tests.conftest import make_picture

CATALOGUE = checkpoints.CATALOGUE
WEB = "web/files"  # where the local server has the files of addresses
FULL = [c for c in CATALOGUE if c.tier == "full" and not c.features]
IMAGE = make_picture(64, 48)


def words_for(key: str) -> str:
    """What to look for, where the checkpoint needs that."""
    return "a cat" if resolver.finds_words(key) else ""


ANSWER: dict[str, Callable[[str, int], Any]] = {
    "classify": lambda key, _: classify.predict(IMAGE, key),
    "detect": lambda key, _: detect.predict(IMAGE, key, words=words_for(key)),
    "segment": lambda key, _: segment.predict(IMAGE, [[20, 20, 1]], checkpoint=key),
    "reconstruct": lambda key, _: reconstruct.predict(IMAGE, key),
    "denoise": lambda key, _: restore.denoise(IMAGE, key),
    "super_resolve": lambda key, scale: restore.super_resolve(IMAGE, key, scale),
    "deblur": lambda key, _: restore.deblur(IMAGE, key),
}


def ids(checkpoint: Checkpoint) -> str:
    return checkpoint.key


def ask(checkpoint: Checkpoint, key: str | None = None) -> RunInfo:
    """The RunInfo of a request for that checkpoint, or for `key` of its task."""
    return ANSWER[checkpoint.task](key or checkpoint.key, checkpoint.scale).info


@pytest.fixture
def server(tmp_path: Path, settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    """A local hub and an empty cache."""
    with hub_server.serve() as local:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(web_files, "ALLOWED", (f"{local.url}/{WEB}/resolve/main",))
        settings(
            HF_ENDPOINT=local.url, HF_HUB_CACHE=str(tmp_path / "cache"), VISION_HUB_OFFLINE="0"
        )
        hf_client.forget_probe()
        yield local
    hf_client.forget_probe()


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by the key of a checkpoint with each attempt to build its model, but for the trunk."""
    made: list[str] = []
    place = runtime._place

    def counted(build, resolved, where):
        if resolved.checkpoint.key != trunk.KEY:
            made.append(resolved.checkpoint.key)
        return place(build, resolved, where)

    monkeypatch.setattr(runtime, "_place", counted)
    return made


def listed(monkeypatch: pytest.MonkeyPatch, *full: Checkpoint) -> None:
    """Only these, all starters, and the trunk that a starter needs."""
    known = (*(c for c in CATALOGUE if c.tier in ("starter", "package")), *full)
    monkeypatch.setattr(checkpoints, "CATALOGUE", known)
    monkeypatch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in known})


def other_weights(checkpoint: Checkpoint, folder: Path) -> bytes:
    """A sound file of another network, in the format of the checkpoint."""
    state = {"layer.weight": torch.zeros(2, 3), "layer.bias": torch.zeros(2)}
    if checkpoint.filename.endswith(".safetensors"):
        return save(state)
    torch.save(state, folder / "other.pth")
    return (folder / "other.pth").read_bytes()


def publish(
    server: hub_server.Hub, checkpoint: Checkpoint, content: bytes, **beside: bytes
) -> Checkpoint:
    """Put a file and what lies beside it on the hub; the checkpoint with the file's own sum."""
    told = published.load(checkpoint.key)
    if web_files.is_address(checkpoint):
        folder = f"{server.url}/{WEB}/resolve/main"
        sha256 = server.put(WEB, checkpoint.filename, content)
        return replace(checkpoint, source=folder, sha256=sha256)
    for name in checkpoint.extra_files:
        field = name.removesuffix("_config.json").removesuffix(".json")
        config = json.dumps(told.get(field) or {}).encode()
        server.put(checkpoint.source, name, beside.get(field, config))
    sha256 = server.put(checkpoint.source, checkpoint.filename, content)
    return replace(checkpoint, sha256=sha256, revision=None)


# --- picked, and auto ---


@pytest.mark.parametrize("full", FULL, ids=ids)
def test_where_the_file_does_not_fit_the_starter_answers(
    server, monkeypatch, builds, tmp_path, full
):
    full = publish(server, full, other_weights(full, tmp_path))
    listed(monkeypatch, full)
    monkeypatch.setattr(resolver, "on_gpu", lambda: True)  # where the largest SAMs are auto too
    starter = checkpoints.starter(full.task, full.scale if full.scale > 1 else None)
    for key in (full.key, "auto", full.key):
        info = ask(full, key)
        assert (info.checkpoint, info.tier) == (starter.key, "starter")
        if key == "auto" and full.by_name_only:
            assert not info.note, "auto never takes it"
            continue
        assert info.note.startswith(f"{full.title} could not be loaded: ")
        assert f". {starter.title} answered instead." in info.note  # the guard may add its own
        assert "choose another file" not in info.note and "\n" not in info.note
    assert builds == [full.key, starter.key], "the file was read once, the starter too"
    assert full.title not in ask(full, starter.key).note


@pytest.mark.parametrize("kind", ["cut", "noise", "empty", "no config", "broken config"])
def test_every_kind_of_bad_file_gives_the_starter(server, monkeypatch, kind):
    full = checkpoints.by_key("detr-r50")
    content = {"cut": save({"w": torch.zeros(999)})[:700], "noise": os.urandom(5000), "empty": b""}
    configs = {"no config": b"{}", "broken config": b"<html>"}
    beside = {"config": configs[kind]} if kind in configs else {}
    sound = save({"w": torch.zeros(9)})
    full = publish(server, full, content.get(kind, sound), **beside)
    listed(monkeypatch, full)
    for key in (full.key, "auto"):
        info = ask(full, key)
        assert info.tier == "starter" and "DETR ResNet-50 could not be loaded" in info.note


def test_auto_takes_the_next_best_full_one(server, monkeypatch, builds):
    import timm

    arch = "vit_tiny_patch16_224"
    made = save(timm.create_model(arch, num_classes=1000).state_dict())
    bad, good = (
        Checkpoint(
            key, "classify", "timm", f"lab/{key}", "MIT", title, "net.safetensors", arch=arch
        )
        for key, title in (("bad", "Bad net"), ("good", "Good net"))
    )
    server.put(bad.source, bad.filename, save({"w": torch.zeros(9)}))
    server.put(good.source, good.filename, made)
    listed(monkeypatch, bad, good)
    assert ask(good).checkpoint == "good"
    assert ask(bad).checkpoint == "classify-starter"
    info = ask(bad, "auto")
    assert (info.checkpoint, info.tier) == ("good", "full")
    assert info.note.startswith("Bad net could not be loaded: net.safetensors does not fit")
    assert info.note.endswith(" Good net answered instead.")
    assert ask(good).note == "", "the note belongs to the request that got something else"
    assert builds == ["good", "bad", "classify-starter"]


def test_a_file_that_was_damaged_in_the_cache_is_named(server, monkeypatch):
    full = checkpoints.by_key("vit-tiny")
    full = publish(server, full, save({"w": torch.zeros(9)}))
    listed(monkeypatch, full)
    resolver.resolve(full.key, "classify")
    blob = hf_client.cached(full.source, full.filename, None).resolve()
    blob.write_bytes(b"x" * blob.stat().st_size)
    os.utime(blob, ns=(1, 1))
    info = ask(full, "auto")
    assert info.tier == "starter" and "its file was damaged and is removed" in info.note


# --- what is remembered ---


def test_a_file_is_tried_again_after_it_changed(server, monkeypatch, builds, tmp_path):
    full = replace(checkpoints.by_key("deit-small"), arch="vit_tiny_patch16_224", sha256=None)
    full = replace(publish(server, full, save({"w": torch.zeros(9)})), sha256=None)
    listed(monkeypatch, full)
    assert ask(full).tier == "starter"
    import timm

    blob = hf_client.cached(full.source, full.filename, None)
    blob.unlink()  # another program fetched it anew
    blob.write_bytes(save(timm.create_model("vit_tiny_patch16_224").state_dict()))
    assert ask(full).tier == "full"
    assert builds == [full.key, "classify-starter", full.key]


def test_a_file_is_tried_again_after_a_while(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    path.write_bytes(b"x")
    failures.remember(path, DamagedFile("net.pth is damaged."))
    for memory in (True, False):
        with pytest.raises(DamagedFile, match=r"^net\.pth is damaged\.$"):
            failures.refuse(path, memory)
    monkeypatch.setattr(failures, "AGAIN", 0.0)
    failures.refuse(path)
    failures.forget()


def test_many_first_requests_read_a_bad_file_once(server, monkeypatch, builds, tmp_path):
    full = publish(server, FULL[0], other_weights(FULL[0], tmp_path))
    listed(monkeypatch, full)
    tiers: list[str] = []
    gate = threading.Barrier(8)

    def work() -> None:
        gate.wait()
        tiers.append(ask(full).tier)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert tiers == ["starter"] * 8
    assert builds.count(full.key) == 1


def test_the_picker_knows_what_auto_is_now(server, monkeypatch, tmp_path):
    from demos.shell import picker

    full = publish(server, FULL[0], other_weights(FULL[0], tmp_path))
    listed(monkeypatch, full)
    resolver.resolve(full.key, full.task)
    assert full.title in picker.describe("auto", full.task)
    ask(full, "auto")
    assert checkpoints.starter(full.task).title in picker.describe("auto", full.task)


# --- who gets no other file ---


def test_an_own_file_that_was_picked_is_refused_with_its_sentence(shelf, builds):
    path = shelf.folder / "mine.safetensors"
    path.write_bytes(save({"w": torch.zeros(9)}))
    key = shelf.add("classify", path, arch="vit_tiny_patch16_224")
    for _ in range(3):
        with pytest.raises(CheckpointError, match=r"^mine\.safetensors does not fit its model"):
            classify.predict(IMAGE, key)
    assert builds == [key]


def test_where_nothing_can_be_loaded_the_reason_is_told(server, monkeypatch, tmp_path):
    """Also where the starter is bad: the sentence of the last one that was tried."""
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"nothing")
    full = publish(server, FULL[0], other_weights(FULL[0], tmp_path))
    starter = Checkpoint(
        "bad-starter", full.task, "timm", str(bad), "MIT", "Bad starter", tier="starter"
    )
    monkeypatch.setattr(checkpoints, "CATALOGUE", (starter, full))
    monkeypatch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in (starter, full)})
    for _ in range(2):
        with pytest.raises(DamagedFile, match=r"^bad\.safetensors is damaged"):
            ask(full, "bad-starter")
        with pytest.raises(CheckpointError, match="No starter can take its place"):
            ask(full)
        with pytest.raises(CheckpointError, match=r"^bad\.safetensors is damaged"):
            ask(full, "auto")


# --- too large ---


def test_auto_gives_way_where_the_memory_is_too_small(server, settings, monkeypatch, builds):
    import timm

    full = checkpoints.by_key("vit-tiny")
    full = publish(server, full, save(timm.create_model("vit_tiny_patch16_224").state_dict()))
    listed(monkeypatch, full)
    resolver.resolve(full.key, "classify")
    settings(VISION_HUB_CACHE_MB="21")
    with pytest.raises(OutOfMemory, match="choose a smaller checkpoint"):
        ask(full)  # who picked it is told, and can pick another
    for _ in range(2):
        info = ask(full, "auto")
        assert info.checkpoint == "classify-starter"
        assert re.fullmatch(
            r"ViT-Ti/16 could not be loaded: ViT-Ti/16 needs about 23 MB and the memory for models "
            r"is 21 MB\. EfficientNet-Lite0 \+ ViT answered instead\.",
            info.note,
        )
    settings(VISION_HUB_CACHE_MB="100")  # a new start
    assert ask(full, "auto").checkpoint == full.key


def test_memory_that_came_free_is_noticed(tmp_path, monkeypatch):
    path = tmp_path / "net.pth"
    path.write_bytes(b"x")
    failures.remember(path, OutOfMemory("There is too little memory."))
    failures.refuse(path)  # a picked one is tried all the same
    with pytest.raises(OutOfMemory):
        failures.refuse(path, memory=True)
    monkeypatch.setattr(failures, "AGAIN_MEMORY", 0.0)
    failures.refuse(path, memory=True)
    failures.forget()


# --- the device decides ---


@pytest.mark.parametrize(("on_gpu", "expected"), [(True, "sam-vit-h"), (False, "sam-vit-b")])
def test_a_large_model_in_the_cache_is_auto_on_a_gpu_only(server, monkeypatch, on_gpu, expected):
    fulls = [
        publish(server, c, c.key.encode()) for c in FULL if c.key in ("sam-vit-h", "sam-vit-b")
    ]
    listed(monkeypatch, *fulls)
    monkeypatch.setattr(resolver, "on_gpu", lambda: on_gpu)
    resolver.resolve("sam-vit-h", "segment")
    first = resolver.resolve("auto", "segment").checkpoint.key
    assert first == ("sam-vit-h" if on_gpu else "segment-starter")
    resolver.resolve("sam-vit-b", "segment")
    assert resolver.resolve("auto", "segment").checkpoint.key == expected


def test_the_device_that_models_run_on_decides(settings):
    from core.serving import devices

    settings(VISION_HUB_DEVICE="cpu")
    assert devices.device().type == "cpu" and not resolver.on_gpu()
    settings(VISION_HUB_DEVICE="cuda")
    assert resolver.on_gpu()
    devices.set_lost(True)  # a card that failed is no card
    assert not resolver.on_gpu()
    devices.set_lost(False)


# --- precision ---


def test_no_precision_is_measured_of_a_file_that_does_not_load(
    server, settings, monkeypatch, tmp_path
):
    full = publish(server, FULL[0], other_weights(FULL[0], tmp_path))
    listed(monkeypatch, full)
    resolver.resolve(full.key, full.task)
    settings(VISION_HUB_PRECISION="auto")
    monkeypatch.setattr(precision, "is_supported", lambda where: True)
    kept: list[str] = []
    monkeypatch.setattr(precision, "keep", lambda r, where, same: kept.append(r.checkpoint.key))
    agreement.settle(full.task)
    assert kept == ["classify-starter", trunk.KEY, "lenet-starter"]
    assert get_settings().precision == "auto"
