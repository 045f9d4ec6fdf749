"""The catalogue: every entry is complete, fits its library, and is in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import encoders
from core import checkpoints
from core.checkpoints import CATALOGUE, TASKS, Checkpoint
from core.settings import Settings
from core.sources import checksums, resolver, state_dicts
from scripts import checkpoint_table

ROOT = Path(__file__).resolve().parent.parent
FULL = [c for c in CATALOGUE if c.tier == "full"]
STARTERS = [c for c in CATALOGUE if c.tier == "starter"]


def ids(checkpoint: Checkpoint) -> str:
    return checkpoint.key


def millions(model: torch.nn.Module) -> float:
    return sum(p.numel() for p in model.parameters()) / 1e6


# --- every entry ---


@pytest.mark.parametrize("checkpoint", CATALOGUE, ids=ids)
def test_an_entry_is_complete(checkpoint):
    assert checkpoint.title and checkpoint.licence and checkpoint.task in TASKS
    assert re.fullmatch(r"[a-z0-9.-]+", checkpoint.key)
    assert checkpoint.sha256 is None or checksums.SHA256.fullmatch(checkpoint.sha256)
    assert checkpoint.revision is None or re.fullmatch(r"[0-9a-f]{40}", checkpoint.revision)
    assert (checkpoint.scale > 1) == (checkpoint.task == "super_resolve")


@pytest.mark.parametrize("checkpoint", FULL, ids=ids)
def test_a_full_entry_says_what_a_picker_shows(checkpoint):
    assert re.fullmatch(r"[\w.-]+/[\w.-]+|https://[\w./-]+[^/]", checkpoint.source)
    assert checkpoint.filename.endswith((".safetensors", ".pth", ".bin"))
    assert checkpoint.size_mb > 0 and checkpoint.params_m > 0
    # fp32: 4 bytes a parameter; buffers (SwinIR's masks) come on top
    assert checkpoint.size_mb >= 3.9 * checkpoint.params_m


def test_keys_are_unique():
    keys = [c.key for c in CATALOGUE]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_has_a_starter_and_a_full_checkpoint(task):
    listed = checkpoints.of_task(task)
    wanted = {"starter"} if task == "semantic" else {"starter", "full"}  # none under a free licence
    assert {c.tier for c in listed} - {"package"} == wanted
    assert listed[0].tier == "starter"
    assert checkpoints.starter(task) == listed[0]


def test_look_up_by_key_and_scale():
    assert checkpoints.by_key("detr-r50").task == "detect"
    assert checkpoints.by_key("nonsense") is None
    assert checkpoints.starter("super_resolve", 4).scale == 4
    assert checkpoints.starter("super_resolve", 3) is None


def test_the_non_commercial_licence_of_mae_is_shown():
    for checkpoint in checkpoints.of_task("reconstruct"):
        if checkpoint.tier == "full":
            assert "non-commercial" in checkpoint.licence and "Apache" in checkpoint.note


# --- what the libraries say ---


@pytest.mark.parametrize("checkpoint", [c for c in FULL if c.loader == "timm"], ids=ids)
def test_timm_knows_the_same_model(checkpoint):
    import timm

    config = timm.get_pretrained_cfg(checkpoint.arch)
    assert config.hf_hub_id == checkpoint.source
    assert config.license == checkpoint.licence.lower()
    with torch.device("meta"):
        model = timm.create_model(checkpoint.arch)
    assert millions(model) == pytest.approx(checkpoint.params_m, rel=0.01)


@pytest.mark.parametrize("checkpoint", [c for c in FULL if c.loader == "sam"], ids=ids)
def test_segment_anything_builds_the_same_size(checkpoint):
    from segment_anything import sam_model_registry

    with torch.device("meta"):
        model = sam_model_registry[checkpoint.arch]()
    assert millions(model) == pytest.approx(checkpoint.params_m, rel=0.01)


@pytest.mark.parametrize(
    ("key", "layers", "width", "mlp", "heads"),
    [("vit-mae-base", 12, 768, 3072, 12), ("vit-mae-large", 24, 1024, 4096, 16)],
)
def test_transformers_builds_the_same_mae(key, layers, width, mlp, heads):
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = ViTMAEConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        intermediate_size=mlp,
        num_attention_heads=heads,
    )
    with torch.device("meta"):
        model = ViTMAEForPreTraining(config)
    assert millions(model) == pytest.approx(checkpoints.by_key(key).params_m, rel=0.01)


@pytest.mark.parametrize("key", ["sam2.1-hiera-tiny", "slimsam-50"])
def test_transformers_builds_the_same_sam(key):
    """SAM 2.1 tiny is the library's default, SlimSAM-50 a ViT-B of half the width."""
    with torch.device("meta"):
        model = encoders.network(key)
    listed = checkpoints.by_key(key)
    assert millions(model) == pytest.approx(listed.params_m, abs=0.05)
    assert listed.arch == model.config.model_type


def test_the_file_of_sam2_is_that_of_the_network_for_videos():
    from transformers import Sam2VideoConfig, Sam2VideoModel

    with torch.device("meta"):
        model = Sam2VideoModel(Sam2VideoConfig())
    listed = checkpoints.by_key("sam2.1-hiera-tiny")
    assert 4 * millions(model) == pytest.approx(listed.size_mb, abs=0.1)
    assert "7.5 M" in listed.note
    assert millions(model) - listed.params_m == pytest.approx(7.5, abs=0.1)


SEGMENT = {
    True: "sam2.1-hiera-large sam2.1-hiera-base-plus sam-vit-h sam-vit-l sam-vit-b "
    "sam2.1-hiera-small sam2.1-hiera-tiny slimsam-50 segment-starter",
    False: "sam2.1-hiera-small sam2.1-hiera-tiny slimsam-50 sam2.1-hiera-base-plus sam-vit-b "
    "segment-starter sam2.1-hiera-large sam-vit-h sam-vit-l",
}


@pytest.mark.parametrize("on_gpu", [True, False])
def test_auto_prefers_the_best_on_a_gpu_and_what_can_be_waited_for_on_a_processor(on_gpu):
    order = [c.key for c in checkpoints.by_preference("segment", on_gpu)]
    assert order == SEGMENT[on_gpu].split()


@pytest.mark.parametrize("task", TASKS)
def test_auto_prefers_any_full_checkpoint_that_can_be_waited_for_to_a_starter(task):
    for on_gpu in (True, False):
        order = checkpoints.by_preference(task, on_gpu)
        assert set(order) == {c for c in checkpoints.of_task(task) if not c.by_name_only}
        first = [c.tier for c in order].index("starter")
        dear = {c.key for c in order[first:] if c.tier == "full"}
        large = {"sam-vit-h", "sam-vit-l", "sam2.1-hiera-large"}
        assert dear == (set() if on_gpu or task != "segment" else large)
        quick = [c.gmacs <= checkpoints.QUICK for c in order[:first]]
        assert on_gpu or quick == sorted(quick, reverse=True)


# --- starters on disk ---


@pytest.mark.parametrize("checkpoint", STARTERS, ids=ids)
def test_a_starter_file_is_what_its_entry_says(checkpoint):
    file = ROOT / checkpoint.source
    if not file.exists():
        assert not resolver.is_ready(checkpoint)
        pytest.skip("not trained yet")
    assert state_dicts.read_header(file)[0] == checkpoint.task
    assert file.stat().st_size <= 12e6
    assert file.with_suffix(".md").is_file()


def test_the_sums_of_the_shipped_files_are_theirs():
    """Remade by `(cd weights && sha256sum *.safetensors > SHA256SUMS)`."""
    folder = checkpoints.ROOT / "weights"
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    files = sorted(folder.glob("*.safetensors"))
    assert lines == [f"{checksums.file_sha256(file)}  {file.name}" for file in files]


def test_every_file_in_weights_is_listed():
    on_disk = {f"weights/{f.name}" for f in (ROOT / "weights").glob("*.safetensors")}
    assert on_disk <= {c.source for c in STARTERS}


# --- documentation and settings ---


def test_the_table_in_the_documentation_is_up_to_date():
    assert checkpoint_table.PAGE.read_text("utf-8") == checkpoint_table.page()


def test_the_table_names_every_checkpoint():
    page = checkpoint_table.page()
    assert all(f"| `{c.key}` |" in page for c in CATALOGUE)


def test_the_catalogue_and_the_settings_need_no_torch():
    code = (
        "import sys, json, core.checkpoints, core.settings;"
        "import core.sources.resolver, core.sources.own_files;"
        "print(json.dumps([m for m in ('torch', 'timm', 'transformers') if m in sys.modules]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert json.loads(run.stdout) == []


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("VISION_HUB_PORT", raising=False)
    for name, value in {
        "PORT": "8123",
        "SHARE": "1",
        "AUTH": "anna:se:cret",
        "VISION_HUB_CHECKPOINTS": "~/models",
        "VISION_HUB_CACHE_MB": "500",
        "VISION_HUB_DEVICE": "cpu",
    }.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.port, settings.share, settings.cache_mb) == (8123, True, 500)
    assert settings.login == ("anna", "se:cret")
    assert settings.checkpoints == Path.home() / "models"
    assert "se:cret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("VISION_HUB_PORT", "many"),
        ("AUTH", "anna"),
        ("VISION_HUB_DEVICE", "abacus"),
        ("VISION_HUB_STALL_SECONDS", "0"),
    ],
)
def test_settings_refuse_what_makes_no_sense(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=name):
        Settings()


def bare(monkeypatch, **variables):
    for name in ("HOST", "PORT", "VISION_HUB_HOST", "VISION_HUB_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("localhost", "localhost"),
        ("x86_64-conda-linux-gnu", None),  # conda's compilers
        ("my-machine.example.org", None),  # tcsh, zsh: a name, whatever it stands for
        ("203.0.113.7", None),  # an address of another machine
        ("127.0.0.1:80", None),
        ("", None),
    ],
)
def test_a_host_that_other_programs_set_counts_only_as_an_address(monkeypatch, host, address):
    assert bare(monkeypatch, HOST=host).address == address
    assert bare(monkeypatch, HOST=host, VISION_HUB_HOST="0.0.0.0").address == "0.0.0.0"


@pytest.mark.parametrize(
    ("variables", "port"),
    [
        ({}, 7860),
        ({"PORT": "1"}, 1),
        ({"PORT": "1", "VISION_HUB_PORT": "2"}, 2),
        ({"PORT": "1", "VISION_HUB_PORT": ""}, 1),
        ({"VISION_HUB_PORT": "tcp://10.0.0.1:7860"}, 7860),  # Kubernetes, of a service of our name
        ({"PORT": "1", "VISION_HUB_PORT": "tcp://10.0.0.1:7860"}, 1),
        ({"VISION_HUB_PORT": "0"}, 0),
    ],
)
def test_the_port_of_our_own_name_comes_first(monkeypatch, variables, port):
    assert bare(monkeypatch, **variables).port == port


def test_variables_that_are_named_like_a_field_are_other_programs(monkeypatch):
    for name in ("DEVICE", "RATE", "BATCH", "STALL", "PROBE", "PRECISION"):
        monkeypatch.setenv(name, "something")
    assert Settings().stall == 45


def test_empty_settings_mean_the_default(monkeypatch):
    monkeypatch.setenv("PORT", "")
    monkeypatch.setenv("VISION_HUB_CHECKPOINTS", "")
    assert (Settings().port, Settings().checkpoints) == (7860, None)
