"""The user's own checkpoints: what each kind of file is taken for, and what is said where not."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.errors import CheckpointError
from core.settings import get_settings
from core.sources import own_files, resolver, state_dicts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """An empty folder that the settings name."""
    monkeypatch.setenv("VISION_HUB_CHECKPOINTS", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def found() -> dict[tuple[str, str], own_files.Checkpoint]:
    return {(c.key, c.task): c for c in own_files.scan().checkpoints}


def only_problem() -> str:
    scan = own_files.scan()
    assert scan.checkpoints == () and len(scan.problems) == 1
    return scan.problems[0]


def config(path: Path, **values: object) -> None:
    path.parent.mkdir(exist_ok=True)
    (path.parent / "config.json").write_text(json.dumps(values))


def nafnet(width: int = 4) -> dict[str, torch.Tensor]:
    from spandrel.architectures.NAFNet import NAFNet

    return NAFNet(
        width=width, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1]
    ).state_dict()


def compact(scale: int) -> dict[str, torch.Tensor]:
    from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact

    return SRVGGNetCompact(num_feat=8, num_conv=2, upscale=scale).state_dict()


def vit(folder: Path) -> None:
    """A tiny ViT in a folder, as timm itself writes one."""
    import timm
    from timm.models import save_for_hf

    model = timm.create_model("test_vit", num_classes=3)
    labels = {"label_names": ["cat", "dog", "owl"]}
    save_for_hf(model, folder, model_config=labels, safe_serialization=True)


# --- nothing there ---


def test_no_setting_means_nothing(monkeypatch):
    monkeypatch.delenv("VISION_HUB_CHECKPOINTS", raising=False)
    get_settings.cache_clear()
    assert own_files.scan() == own_files.Scan()


def test_an_empty_folder_means_nothing(folder):
    assert own_files.scan() == own_files.Scan()


def test_a_folder_that_is_not_there_is_a_sentence(folder, monkeypatch):
    monkeypatch.setenv("VISION_HUB_CHECKPOINTS", str(folder / "nowhere"))
    get_settings.cache_clear()
    assert only_problem() == "VISION_HUB_CHECKPOINTS names nowhere, which is not there."


def test_other_files_are_passed_over(folder):
    (folder / "readme.md").write_text("hello")
    (folder / ".hidden.pth").write_bytes(b"x")
    assert own_files.scan() == own_files.Scan()


# --- what a file is taken for ---


@pytest.mark.parametrize("task", ["classify", "detect", "segment", "reconstruct"])
def test_a_starter_file_tells_its_task(folder, task):
    state_dicts.save_starter(folder / "mine.safetensors", {"w": torch.ones(2, 3)}, task, {})
    checkpoint = found()[("own:mine.safetensors", task)]
    assert checkpoint.tier == "own"
    assert Path(checkpoint.source) == folder / "mine.safetensors"
    assert checkpoint.params_m == 6e-6


@pytest.mark.parametrize(("kind", "task"), [("detr", "detect"), ("vit_mae", "reconstruct")])
def test_a_folder_of_transformers_is_one_checkpoint(folder, kind, task):
    file = folder / "my-model/model.safetensors"
    config(file, model_type=kind)
    save_file({"w": torch.ones(1)}, file)
    torch.save({"w": torch.ones(1)}, file.with_name("pytorch_model.bin"))
    assert set(found()) == {("own:my-model", task)}
    assert found()[("own:my-model", task)].loader == "transformers"


@pytest.mark.parametrize(
    ("kind", "arch"), [("sam", "sam"), ("sam2", "sam2"), ("sam2_video", "sam2")]
)
def test_a_sam_of_transformers_is_told_by_its_config(folder, kind, arch):
    file = folder / "my-sam/model.safetensors"
    config(file, model_type=kind)
    save_file({"vision_encoder.w": torch.ones(1)}, file)
    assert set(found()) == {("own:my-sam", "segment")}
    checkpoint = found()[("own:my-sam", "segment")]
    assert (checkpoint.loader, checkpoint.arch) == ("transformers", arch)


def test_an_original_file_beside_that_of_transformers_is_told_apart(folder):
    """As in the repositories of Meta, where one folder holds both formats."""
    file = folder / "both/model.safetensors"
    config(file, model_type="sam2_video")
    save_file({"vision_encoder.w": torch.ones(1)}, file)
    original = {"image_encoder.trunk.pos_embed": torch.ones(1), "sam_mask_decoder.w": torch.ones(1)}
    torch.save({"model": original}, file.with_name("sam2.1_hiera_tiny.pt"))
    assert set(found()) == {("own:both", "segment")}
    assert own_files.scan().problems == (
        "both/sam2.1_hiera_tiny.pt is a SAM 2 in Meta's format; "
        "use the file that transformers reads.",
    )


@pytest.mark.parametrize(("width", "arch"), [(768, "vit_b"), (1024, "vit_l"), (1280, "vit_h")])
def test_an_original_sam_is_told_by_its_width(folder, width, arch):
    state = {
        "image_encoder.pos_embed": torch.zeros(1, 2, 2, width),
        "mask_decoder.iou_token.weight": torch.zeros(1, 256),
    }
    torch.save(state, folder / "sam.pth")
    checkpoint = found()[("own:sam.pth", "segment")]
    assert (checkpoint.loader, checkpoint.arch) == ("sam", arch)


def test_a_restoration_network_stands_under_both_tasks_that_it_may_do(folder):
    torch.save({"params": nafnet()}, folder / "net.pth")
    assert set(found()) == {("own:net.pth", "denoise"), ("own:net.pth", "deblur")}


@pytest.mark.parametrize("task", ["denoise", "deblur"])
def test_the_enclosing_folder_names_the_task(folder, task):
    (folder / task).mkdir()
    save_file(nafnet(), folder / task / "net.safetensors")
    assert set(found()) == {(f"own:{task}/net.safetensors", task)}


@pytest.mark.parametrize("scale", [2, 4])
def test_an_enlarging_network_is_super_resolution(folder, scale):
    torch.save({"params_ema": compact(scale)}, folder / "sr.pth")
    assert found()[("own:sr.pth", "super_resolve")].scale == scale


def test_a_single_file_can_be_named(folder, monkeypatch):
    torch.save(compact(2), folder / "one.pth")
    torch.save(compact(4), folder / "other.pth")
    monkeypatch.setenv("VISION_HUB_CHECKPOINTS", str(folder / "one.pth"))
    get_settings.cache_clear()
    assert set(found()) == {("own:one.pth", "super_resolve")}


# --- what is said where a file cannot be used ---


def script(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2)).save(str(path))


def pickled_code(path: Path) -> None:
    torch.save({"w": Path}, path)


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
@pytest.mark.parametrize(
    ("name", "write", "words"),
    [
        ("a.pt", script, "TorchScript"),
        ("a.pth", pickled_code, "more than plain weights"),
        ("a.pth", lambda p: p.write_bytes(b"not a model"), "damaged"),
        ("a.pth", lambda p: p.write_bytes(b""), "damaged"),
        ("a.safetensors", lambda p: p.write_bytes(b"not a model"), "damaged"),
        ("a.pth", lambda p: torch.save([1, 2], p), "plain table"),
        ("a.pth", lambda p: torch.save({"w.lora_A.weight": torch.ones(1)}, p), "LoRA"),
        ("a.pth", lambda p: torch.save({"w": torch.ones(1)}, p), "is not a network that"),
        ("a.onnx", lambda p: p.write_bytes(b"x"), "not a PyTorch weight file"),
        (
            "model-00001-of-00002.safetensors",
            lambda p: save_file({"w": torch.ones(1)}, p),
            "one part",
        ),
        (
            "a.pth",
            lambda p: torch.save({"patch_embed.proj.weight": torch.ones(1)}, p),
            "config.json",
        ),
        (
            "a.safetensors",
            lambda p: save_file({"vision_encoder.w": torch.ones(1)}, p),
            "is a SAM of transformers and needs its config.json beside it",
        ),
        (
            "a.pth",
            lambda p: torch.save(
                {"image_encoder.pos_embed": torch.ones(1, 7), "mask_decoder.x": torch.ones(1)}, p
            ),
            "image encoder other than",
        ),
    ],
)
def test_what_cannot_be_used_is_one_sentence(folder, name, write: Callable[[Path], None], words):
    write(folder / name)
    problem = only_problem()
    assert problem.startswith(name) and problem.endswith(".") and words in problem


def test_a_truncated_file_is_damaged(folder):
    save_file(nafnet(), folder / "cut.safetensors")
    content = (folder / "cut.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
    assert "damaged" in only_problem()


def test_unknown_kinds_of_config_are_named(folder):
    file = folder / "bert/model.safetensors"
    config(file, model_type="bert")
    save_file({"w": torch.ones(1)}, file)
    assert "bert model" in only_problem()
    config(file, architecture="no_such_net")
    assert "no_such_net" in only_problem()


def test_one_bad_file_does_not_hide_the_others(folder):
    (folder / "bad.pth").write_bytes(b"x")
    torch.save(compact(2), folder / "good.pth")
    assert set(found()) == {("own:good.pth", "super_resolve")}
    assert len(own_files.scan().problems) == 1


# --- again and again ---


def test_a_file_is_looked_at_once_until_it_changes(folder, monkeypatch):
    torch.save(compact(2), folder / "sr.pth")
    looks: list[Path] = []
    real = own_files._look
    monkeypatch.setattr(own_files, "_look", lambda f, *rest: looks.append(f) or real(f, *rest))
    own_files.scan()
    own_files.scan()
    assert len(looks) == 1
    torch.save(compact(4), folder / "sr.pth")
    assert found()[("own:sr.pth", "super_resolve")].scale == 4


# --- from file to result ---


def test_own_checkpoints_are_listed_and_never_chosen_by_auto(folder):
    vit(folder / "mine")
    listed = {entry["key"]: entry for entry in resolver.listing()}
    assert listed["own:mine"]["tier"] == "own" and listed["own:mine"]["available"] is True
    with suppress(CheckpointError):  # where there is no starter
        assert resolver.resolve("auto", "classify").tier != "own"


def test_an_own_timm_model_classifies(folder):
    from core import classify

    vit(folder / "mine")
    picture = np.full((40, 50, 3), 90, np.uint8)
    result = classify.predict(picture, checkpoint="own:mine")
    assert set(result.labels) == {"cat", "dog", "owl"}
    assert result.info.tier == "own"


def test_an_own_network_restores(folder):
    from core import restore

    torch.save(compact(2), folder / "sr.pth")
    picture = np.full((20, 24, 3), 90, np.uint8)
    assert restore.super_resolve(picture, checkpoint="own:sr.pth").image.shape == (40, 48, 3)


def test_an_own_detr_detects(folder):
    from transformers import DetrConfig, DetrForObjectDetection

    from core import detect

    sizes = {"encoder_layers": 1, "decoder_layers": 1, "d_model": 32, "num_queries": 5}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    config = DetrConfig(
        **sizes,
        **heads,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_labels=2,
        backbone="resnet18",
        use_timm_backbone=True,
        use_pretrained_backbone=False,
    )
    DetrForObjectDetection(config).save_pretrained(folder / "my-detr")
    picture = np.full((40, 50, 3), 90, np.uint8)
    result = detect.predict(picture, checkpoint="own:my-detr", threshold=0.0)
    assert result.info.tier == "own" and len(result.labels) > 0


def test_an_own_mae_reconstructs(folder):
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    from core import reconstruct

    encoder = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    decoder = {
        "decoder_hidden_size": 32,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 2,
    }
    config = ViTMAEConfig(
        **encoder,
        **decoder,
        image_size=32,
        patch_size=8,
        intermediate_size=32,
        decoder_intermediate_size=32,
    )
    ViTMAEForPreTraining(config).save_pretrained(folder / "my-mae")
    picture = np.full((40, 50, 3), 90, np.uint8)
    result = reconstruct.predict(picture, checkpoint="own:my-mae")
    assert result.patch_mask.shape == (4, 4) and result.info.tier == "own"
