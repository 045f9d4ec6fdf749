"""Weight files: what is read, what is refused, and with which sentence; for every task."""

from __future__ import annotations

import os
import pickle
import threading
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core import classify, detect, reconstruct, restore, segment
from core.errors import CheckpointError, DamagedFile
from core.serving import runtime
from core.sources import state_dicts
from tests import nets

IMAGE = np.zeros((40, 40, 3), np.uint8)
STATE = {"w": torch.arange(6).float().view(2, 3), "n": torch.tensor(3)}


# --- the starter format ---


def test_starter_file_round_trip(tmp_path):
    path = tmp_path / "net.safetensors"
    config = {"labels": ["ä", "b"], "size": 3}
    state_dicts.save_starter(path, STATE, "classify", config)
    assert state_dicts.read_header(path) == ("classify", config)
    assert state_dicts.starter_config(path, "classify") == config
    assert state_dicts.starter_config(path, "detect") is None
    read = state_dicts.read(path)
    assert read["w"].dtype == torch.float32
    assert read["n"].dtype == torch.int64
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)
    assert path.stat().st_size < 2 * 6 + 8 + 300  # floats take two bytes


def test_views_of_one_tensor_can_be_saved(tmp_path):
    whole = torch.arange(12).float()
    state_dicts.save_starter(tmp_path / "a.safetensors", {"a": whole, "b": whole[3:]}, "x", {})
    assert torch.equal(state_dicts.read(tmp_path / "a.safetensors")["b"], whole[3:])


def test_other_files_have_no_header(tmp_path):
    path = tmp_path / "net.safetensors"
    save_file({"w": STATE["w"]}, path)
    assert state_dicts.read_header(path) == ("", {})
    assert state_dicts.starter_config(path, "classify") is None
    assert state_dicts.starter_config(tmp_path / "net.pth", "classify") is None


def test_float32_bytes(tmp_path):
    path = tmp_path / "net.safetensors"
    state = {
        "half": torch.zeros(10, 3).half(),
        "brain": torch.zeros(5).bfloat16(),
        "double": torch.zeros(7).double(),
        "long": torch.zeros(4).long(),
        "byte": torch.zeros(9).byte(),
        "flag": torch.zeros(2).bool(),
        "scalar": torch.tensor(1.0),
    }
    save_file(state, path)
    read = state_dicts.read(path)
    assert state_dicts.float32_bytes(path) == sum(t.nbytes for t in read.values())
    assert state_dicts.float32_bytes(path) == 4 * (30 + 5 + 7 + 1) + 8 * 4 + 9 + 2


# --- reading ---


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "params", "params_ema"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_wrappers_come_off(tmp_path, wrapper, suffix):
    path = tmp_path / f"net{suffix}"
    torch.save({wrapper: STATE, "epoch": 3} if wrapper else STATE, path)
    read = state_dicts.read(path)
    assert set(read) == set(STATE)
    assert all(torch.equal(read[name], STATE[name]) for name in STATE)


def test_averaged_weights_come_first(tmp_path):
    torch.save({"params": {"w": torch.zeros(1)}, "params_ema": STATE}, tmp_path / "net.pth")
    assert set(state_dicts.read(tmp_path / "net.pth")) == set(STATE)


class Malicious:
    """Unpickling this runs a command."""

    def __init__(self, witness):
        self.witness = witness

    def __reduce__(self):
        return os.mkdir, (str(self.witness),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("forced", [False, True])
def test_code_in_a_file_does_not_run(tmp_path, monkeypatch, suffix, forced):
    if forced:  # torch would then trust any pickle that does not ask otherwise
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    witness, path = tmp_path / "it-ran", tmp_path / f"net{suffix}"
    torch.save({"w": torch.zeros(2), "x": Malicious(witness)}, path)
    with pytest.raises(DamagedFile, match="damaged or is not a weight file"):
        state_dicts.read(path)
    path.write_bytes(pickle.dumps(Malicious(witness)))
    with pytest.raises(DamagedFile):
        state_dicts.read(path)
    assert not witness.exists()
    pickle.loads(path.read_bytes())
    assert witness.exists()  # the file was a real threat


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("mapped", [True, False])
def test_truncated_file(tmp_path, suffix, share, mapped):
    path = tmp_path / f"net{suffix}"
    state = {f"layer{i}": torch.randn(50, 50) for i in range(4)}
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DamagedFile, match=f"net{suffix} is damaged"):
        state_dicts.read(path, mapped)
    if suffix == ".safetensors":
        with pytest.raises(DamagedFile):
            state_dicts.read_header(path)
        with pytest.raises(DamagedFile):
            state_dicts.float32_bytes(path)


@pytest.mark.parametrize("content", [[1, 2], "text", {"w": "text"}, torch.zeros(3), {"model": 4}])
def test_no_table_of_weights(tmp_path, content):
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(DamagedFile, match="plain table of weights"):
        state_dicts.read(tmp_path / "net.pth")


def test_absent_file(tmp_path):
    for name in ("net.pth", "net.safetensors"):
        with pytest.raises(CheckpointError, match="does not exist"):
            state_dicts.read(tmp_path / name)


def test_file_of_the_user_may_be_written_over(tmp_path):
    """A mapped file that gets shorter would end the process with a bus error."""
    path = tmp_path / "net.safetensors"
    save_file({"w": torch.ones(100_000)}, path)
    read = state_dicts.read(path, mapped=False)["w"]
    with path.open("r+b") as file:
        file.truncate(1000)
    assert read.sum() == 100_000


def test_json_beside(tmp_path):
    path = tmp_path / "net.pth"
    assert state_dicts.json_beside(path, "config.json") == {}
    (tmp_path / "config.json").write_text('{"a": 1}')
    assert state_dicts.json_beside(path, "config.json") == {"a": 1}
    for content in ("[1]", "{", "\udcff"):
        (tmp_path / "config.json").write_text(content, errors="surrogateescape")
        with pytest.raises(DamagedFile, match=r"config\.json beside net\.pth"):
            state_dicts.json_beside(path, "config.json")


# --- into a model ---


def linear():
    with torch.device("meta"):
        return torch.nn.Linear(3, 2)


def test_assign_equals_ordinary_loading():
    torch.manual_seed(0)
    ordinary, x = torch.nn.Linear(3, 2), torch.randn(4, 3)
    built = state_dicts.assign(linear(), ordinary.state_dict(), "net")
    assert torch.equal(built(x), ordinary(x))
    assert not built.training
    assert not any(p.requires_grad for p in built.parameters())
    assert not state_dicts.has_meta(built)
    assert state_dicts.has_meta(linear())


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "2 weights missing, 0 unknown"),
        ({"weight": torch.zeros(2, 3)}, r"1 weights missing, 0 unknown \(for example bias\)"),
        (
            {"weight": torch.zeros(2, 3), "bias": torch.zeros(2), "extra": torch.zeros(1)},
            r"0 weights missing, 1 unknown \(for example extra\)",
        ),
        ({"weight": torch.zeros(5, 3), "bias": torch.zeros(2)}, "shapes do not fit"),
    ],
)
def test_assign_refuses(state, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        state_dicts.assign(linear(), state, "net.pth")


# --- every task refuses files that do not fit ---


def case(name):
    """(task, state, starter config, run the task)"""
    if name == "classify":
        model, config = nets.vit()
        return name, model, config, lambda: classify.predict(IMAGE)
    if name == "detect":
        model, config = nets.detr()
        return name, model, config, lambda: detect.predict(IMAGE)
    if name == "segment":
        model, config = nets.own_sam()
        return name, model, config, lambda: segment.predict(IMAGE, [[5, 5, 1]])
    if name == "reconstruct":
        model, config = nets.mae()
        return name, model, config, lambda: reconstruct.predict(IMAGE)
    if name == "denoise":
        return name, nets.nafnet(), {}, lambda: restore.denoise(IMAGE)
    return name, nets.compact(2), {}, lambda: restore.super_resolve(IMAGE)


TASKS = ["classify", "detect", "segment", "reconstruct", "denoise", "super_resolve"]


@pytest.mark.parametrize("name", TASKS)
def test_tasks_refuse_files_that_do_not_fit(shelf, name):
    task, model, config, run = case(name)
    path = shelf.folder / "net.safetensors"
    shelf.add(task, path, tier="starter", scale=2 if task == "super_resolve" else 1)
    good = model.state_dict()
    last = [n for n, t in good.items() if t.is_floating_point() and t.ndim][-1]
    faults = {
        "missing": {n: t for n, t in good.items() if n != last},
        "surplus": {**good, "unheard.of": torch.zeros(3)},
        "shape": {**good, last: torch.zeros(*good[last].shape, 2)},
        "empty": {},
    }
    for fault, state in faults.items():
        state_dicts.save_starter(path, state, task, config)
        with pytest.raises(CheckpointError, match=r"^net\.safetensors .*[^.]\.$") as caught:
            run()
        sentence = str(caught.value)
        assert "\n" not in sentence, fault
        assert len(sentence) < 200, fault
        assert runtime.models().stats()["models"] == [], fault
    path.write_bytes(b"not a weight file at all")
    with pytest.raises(DamagedFile):
        run()
    state_dicts.save_starter(path, good, task, config)
    run()  # the next try works


@pytest.mark.parametrize("name", TASKS)
def test_tasks_refuse_headers_that_do_not_fit(shelf, name):
    task, model, config, run = case(name)
    path = shelf.folder / "net.safetensors"
    shelf.add(task, path, tier="starter", scale=2 if task == "super_resolve" else 1)
    if not config:
        pytest.skip("spandrel reads the architecture from the weights")
    for damaged in ({}, {next(iter(config)): {}}, dict.fromkeys(config)):
        state_dicts.save_starter(path, model.state_dict(), task, damaged)
        with pytest.raises(CheckpointError, match=r"^net\.safetensors "):
            run()


def test_transformers_loads_one_model_at_a_time():
    """It patches the whole process meanwhile, and two loads at once leave the patches behind."""
    inside, most = 0, 0

    class Slow(torch.nn.Module):
        @classmethod
        def from_pretrained(cls, *_: object, **__: object):
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1
            return cls(), {"missing_keys": [], "unexpected_keys": []}

    def load():
        state_dicts.from_pretrained(Slow, object(), {}, "a")

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
