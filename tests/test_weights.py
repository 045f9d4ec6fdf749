"""Where weight files come from: the order of sources, faults of the hub, time limits, checksums."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from core import checkpoints
from core.checkpoints import Checkpoint
from core.errors import (
    Busy,
    CheckpointError,
    DamagedFile,
    Gated,
    HubUnreachable,
    InputError,
    ResourceError,
)
from core.settings import get_settings
from core.sources import checksums, hf_client, resolver
from core.start import agreement, warm
from tests import hub_server
from tests.conftest import PATIENCE, wait_for

CATALOGUE = {c.key: c for c in checkpoints.CATALOGUE}
REPO = "lab/net"
CONTENT = os.urandom(300_000)
FULL = Checkpoint(
    "full-net", "classify", "timm", REPO, "MIT", "Full net", "model.safetensors", metric="90 %"
)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[hub_server.Hub]:
    """A local hub with one full checkpoint, an empty cache, and one starter on disk."""
    with hub_server.serve() as local:
        for name in ("HF_HUB_OFFLINE", "VISION_HUB_OFFLINE", "VISION_HUB_CHECKPOINTS"):
            monkeypatch.delenv(name, raising=False)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)  # read when the hub is imported
        monkeypatch.setenv("HF_ENDPOINT", local.url)
        monkeypatch.setenv("VISION_HUB_PROBE_SECONDS", "2")
        monkeypatch.setenv("VISION_HUB_STALL_SECONDS", "6")
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        local.put(REPO, "model.safetensors", CONTENT)
        (tmp_path / "weights").mkdir()
        (tmp_path / "weights/starter.safetensors").write_bytes(b"starter")
        monkeypatch.setattr(resolver, "ROOT", tmp_path)
        get_settings.cache_clear()
        hf_client.forget_probe()
        catalogue(monkeypatch, FULL)
        yield local
    get_settings.cache_clear()
    hf_client.forget_probe()


def catalogue(monkeypatch: pytest.MonkeyPatch, *full: Checkpoint) -> None:
    starter = Checkpoint(
        "starter-net",
        "classify",
        "timm",
        "weights/starter.safetensors",
        "Apache-2.0",
        "Starter net",
        tier="starter",
    )
    monkeypatch.setattr(checkpoints, "CATALOGUE", (starter, *full))
    monkeypatch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in (starter, *full)})


def ended(work: Callable[[], Any]) -> Any:
    """What `work` gives or raises; fails where it hangs, as the hub client does without limits."""
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done.result(PATIENCE)


def resolve(key: str = "full-net") -> resolver.Resolved:
    return resolver.resolve(key, "classify")


# --- the order of sources ---


def test_auto_takes_the_starter_and_asks_nobody(server):
    assert resolve("auto").tier == "starter"
    assert server.requests == []


def test_a_named_checkpoint_is_downloaded_and_then_auto_prefers_it(server):
    found = resolve()
    assert (found.tier, found.note, found.path.read_bytes()) == ("full", "", CONTENT)
    assert resolve("auto") == found


def test_a_cached_checkpoint_makes_no_request(server):
    resolve()
    server.requests.clear()
    assert resolve().tier == "full"
    assert server.requests == []


def test_a_cached_checkpoint_answers_when_the_hub_is_gone(server, monkeypatch):
    path = resolve().path
    server.faults["*"] = "silent"
    hf_client.forget_probe()
    server.requests.clear()
    assert ended(resolve).path == path
    assert server.requests == []


def test_a_pinned_revision_is_the_one_fetched(server, monkeypatch):
    catalogue(monkeypatch, replace(FULL, revision="f" * 40))
    assert "f" * 40 in resolve().path.parts
    assert all("/resolve/" + "f" * 40 in p for _, p in server.requests if "/resolve/" in p)


def test_extra_files_lie_beside_the_weights(server, monkeypatch):
    server.put(REPO, "config.json", b"{}")
    catalogue(monkeypatch, replace(FULL, extra_files=("config.json",)))
    assert resolve().path.with_name("config.json").read_bytes() == b"{}"


def test_a_missing_extra_file_means_not_at_hand(server, monkeypatch):
    resolve()
    with_config = replace(FULL, extra_files=("config.json",))
    assert resolver.is_ready(FULL)
    assert not resolver.is_ready(with_config)


def test_unknown_key_and_wrong_task_are_told_apart(server):
    with pytest.raises(InputError, match=r"no checkpoint called nonsense.*full-net"):
        resolve("nonsense")
    with pytest.raises(InputError, match="another task"):
        resolver.resolve("full-net", "detect")


def test_auto_without_any_file_says_what_to_do(server, tmp_path):
    (tmp_path / "weights/starter.safetensors").unlink()
    with pytest.raises(CheckpointError, match="pick one"):
        resolve("auto")


def test_auto_heeds_the_scale(server, monkeypatch, tmp_path):
    starters = [
        Checkpoint(f"x{s}", "super_resolve", "spandrel", f"x{s}.safetensors", "", tier="starter")
        for s in (2, 4)
    ]
    starters = [replace(c, scale=int(c.key[1])) for c in starters]
    monkeypatch.setattr(checkpoints, "CATALOGUE", tuple(starters))
    for starter in starters:
        (tmp_path / starter.source).write_bytes(b"")
    assert resolver.resolve("auto", "super_resolve", scale=4).checkpoint.key == "x4"
    with pytest.raises(CheckpointError, match="x3"):
        resolver.resolve("auto", "super_resolve", scale=3)


def test_a_full_checkpoint_goes_from_the_hub_into_a_result(server, monkeypatch):
    import numpy as np
    import timm
    from safetensors.torch import save

    from core import classify

    listed = CATALOGUE["vit-tiny"]
    content = save(timm.create_model(listed.arch).state_dict())
    sha256 = server.put(listed.source, listed.filename, content)
    catalogue(monkeypatch, replace(listed, sha256=sha256))
    result = classify.predict(np.full((30, 40, 3), 90, np.uint8), checkpoint="vit-tiny")
    assert (result.info.checkpoint, result.info.tier) == ("vit-tiny", "full")
    assert len(result.labels) == 5 and not result.labels[0].startswith("class ")


@pytest.mark.parametrize("key", ["sam2.1-hiera-tiny", "slimsam-50"])
def test_a_sam_of_transformers_goes_from_the_hub_into_masks(server, monkeypatch, tmp_path, key):
    """As the hub has them: SAM 2 as a network for videos, and no processor file is needed."""
    from core import segment
    from core.serving import runtime
    from tests import nets
    from tests.conftest import make_picture

    listed = CATALOGUE[key]
    model = nets.hf_sam() if key == "slimsam-50" else nets.hf_sam2(video=True)
    model.save_pretrained(tmp_path / "saved")
    weight_file = tmp_path / "saved" / listed.filename
    server.put(listed.source, listed.filename, weight_file.read_bytes())
    config = json.loads((tmp_path / "saved/config.json").read_text())
    if key == "slimsam-50":
        for part in ("vision_config", "prompt_encoder_config", "mask_decoder_config"):
            config[part]["model_type"] = ""  # as transformers 4.37 wrote it
        server.put(listed.source, "preprocessor_config.json", b"{}")
    server.put(listed.source, "config.json", json.dumps(config).encode())
    catalogue(monkeypatch, replace(listed, sha256=None))
    runtime.reset()
    image = make_picture(90, 64)
    for points, kept in (([[40, 30, 1]], "miss"), ([[40, 30, 1], [60, 20, 0]], "hit")):
        found = segment.predict(image, points, checkpoint=key)
        assert (found.info.checkpoint, found.info.tier) == (key, "full")
        assert found.info.cache["embedding"] == kept
        assert len(found.masks) == (3 if len(points) == 1 else 1)
    asked = {path.rsplit("/", 1)[1] for method, path in server.requests if method == "GET"}
    assert asked - {""} <= {listed.filename, *listed.extra_files}
    runtime.reset()


# --- a hub that does not answer: the starter does, with a note ---


@pytest.mark.parametrize("fault", ["silent", "500", "429"])
def test_a_dead_hub_gives_the_starter_and_is_remembered(server, fault):
    server.faults["*"] = fault
    found = ended(resolve)
    assert found.tier == "starter"
    assert found.note.startswith(
        "Full net could not be fetched: the Hugging Face server did not answer."
    )
    asked = len(server.requests)
    assert ended(resolve).tier == "starter"
    assert len(server.requests) == asked


@pytest.mark.parametrize("fault", ["silent", "500", "429", "wait", "proxy", "stall", "cut-always"])
def test_a_hub_that_fails_after_the_probe_gives_the_starter(server, fault):
    server.faults[REPO] = fault
    found = ended(resolve)
    assert found.tier == "starter"
    assert "Starter net answered instead." in found.note
    assert "://" not in found.note


def test_no_connection_gives_the_starter(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    get_settings.cache_clear()
    assert ended(resolve).tier == "starter"


@pytest.mark.parametrize("switch", ["VISION_HUB_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_makes_no_request(server, monkeypatch, switch):
    monkeypatch.setenv("VISION_HUB_OFFLINE", str(int(switch == "VISION_HUB_OFFLINE")))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", switch == "HF_HUB_OFFLINE")
    get_settings.cache_clear()
    found = resolve()
    assert found.tier == "starter" and "switched off on this server" in found.note
    assert server.requests == []


def test_a_dead_hub_without_a_starter_is_an_error(server, tmp_path):
    (tmp_path / "weights/starter.safetensors").unlink()
    server.faults["*"] = "500"
    with pytest.raises(HubUnreachable, match=r"Full net .* No starter"):
        resolve()


def test_a_live_verdict_is_remembered_and_can_be_forgotten(server):
    assert hf_client.is_reachable()
    assert hf_client.is_reachable()
    assert len(server.requests) == 1
    hf_client.forget_probe()
    assert hf_client.is_reachable()
    assert len(server.requests) == 2


def test_a_hub_that_came_back_is_noticed_soon(server, monkeypatch):
    server.faults["*"] = "500"
    assert resolve().tier == "starter"
    server.faults.clear()
    assert resolve().tier == "starter", "just asked"
    monkeypatch.setattr(hf_client, "REMEMBER_DOWN", 0.0)
    assert resolve().tier == "full"


def test_who_picks_a_checkpoint_makes_the_hub_be_asked_again(server):
    from demos.shell import picker

    server.faults["*"] = "500"
    assert resolve().tier == "starter"
    server.faults.clear()
    picker.describe("full-net", "classify")
    assert resolve().tier == "full"
    server.requests.clear()
    picker.describe("full-net", "classify")  # it is ready: there is nothing to ask for
    assert server.requests == []


def test_the_limits_of_a_slow_network_are_settings(server, monkeypatch):
    for name in ("PROBE", "STALL"):
        monkeypatch.delenv(f"VISION_HUB_{name}_SECONDS")
    get_settings.cache_clear()
    assert (get_settings().probe, get_settings().stall, hf_client.REMEMBER_DOWN) == (10, 45, 30)
    server.faults["*"] = "silent"
    monkeypatch.setenv("VISION_HUB_PROBE_SECONDS", "0.2")
    get_settings.cache_clear()
    assert ended(resolve).tier == "starter"


# --- a hub that answers no ---


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("404", CheckpointError, "removed"),
        ("401", Gated, "HF_TOKEN"),
        ("403", Gated, "HF_TOKEN"),
        ("gated", Gated, "licence"),
        ("bad-revision", CheckpointError, "version"),
        ("bad-file", CheckpointError, "file name"),
        ("flipped", DamagedFile, "damaged"),
    ],
)
def test_a_refusal_is_one_sentence(server, fault, error, words):
    server.faults[REPO] = fault
    with pytest.raises(error, match=words) as caught:
        ended(resolve)
    assert type(caught.value) is error
    message = str(caught.value)
    assert message.startswith("Full net") or "Full net" in message
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message


def test_after_a_refusal_the_next_request_works(server):
    server.faults[REPO] = "404"
    with pytest.raises(CheckpointError):
        resolve()
    server.faults.clear()
    assert resolve().tier == "full"


def test_a_cut_download_goes_on(server):
    server.faults[REPO] = "cut-once"
    assert ended(resolve).path.read_bytes() == CONTENT
    assert server.downloads("model.safetensors") == 2


def test_what_was_downloaded_is_measured_later(server, monkeypatch):
    asked, settled = threading.Event(), []
    monkeypatch.setattr(agreement, "settle", lambda task: settled.append(task) or asked.set())
    monkeypatch.setattr(warm, "LATER", 0.0)
    monkeypatch.setattr(resolver, "on_download", [warm.settle_later])
    resolve()
    assert asked.wait(PATIENCE) and settled == [FULL.task]
    resolve()  # now from the cache
    assert server.downloads("model.safetensors") == 1 and settled == [FULL.task]


def test_a_file_larger_than_the_disk_is_not_begun(server, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=len(CONTENT) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ResourceError, match="disk is full") as caught:
        resolve()
    assert str(hf_client.cache_dir()) not in str(caught.value)  # visitors read it
    assert server.downloads("model.safetensors") == 0


def test_a_disk_that_fills_up_says_so(server, monkeypatch):
    def no_space(*args: object, **options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(hf_client, "hf_hub_download", no_space)
    with pytest.raises(ResourceError, match="disk is full") as caught:
        resolve()
    assert str(hf_client.cache_dir()) not in str(caught.value)


def test_a_cache_that_cannot_be_written_says_so(server, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(ResourceError, match="cannot be written") as caught:
        resolve()
    assert str(tmp_path) not in str(caught.value)


# --- checksums ---


def test_a_wrong_pinned_sum_is_refused_and_the_next_try_downloads_again(server, monkeypatch):
    catalogue(monkeypatch, replace(FULL, sha256="0" * 64))
    with pytest.raises(DamagedFile):
        resolve()
    assert not resolver.is_ready(FULL)
    server.requests.clear()
    catalogue(monkeypatch, replace(FULL, sha256=server.put(REPO, "model.safetensors", CONTENT)))
    assert resolve().tier == "full"
    assert server.downloads("model.safetensors") == 1


@pytest.mark.parametrize("pinned", [True, False])
def test_a_cached_file_that_was_altered_is_fetched_again(server, monkeypatch, pinned):
    sha256 = server.put(REPO, "model.safetensors", CONTENT)
    catalogue(monkeypatch, replace(FULL, sha256=sha256 if pinned else None))
    blob = resolve().path.resolve()
    blob.write_bytes(bytes([CONTENT[0] ^ 1]) + CONTENT[1:])
    os.utime(blob, ns=(1, 1))
    found = resolve("auto")
    assert found.tier == "starter" and not blob.exists()
    assert found.note.startswith(
        "Full net could not be loaded: its file was damaged and is removed"
    )
    assert found.note.endswith("Starter net answered instead.")
    assert resolve("auto").note == ""
    assert resolve().path.read_bytes() == CONTENT


def test_a_file_is_hashed_once(server, monkeypatch):
    hashed: list[Path] = []
    real = checksums.file_sha256
    monkeypatch.setattr(checksums, "file_sha256", lambda p: hashed.append(p) or real(p))
    for _ in range(3):
        resolve()
    assert len(hashed) == 1


def test_a_changed_pin_is_checked_although_the_file_was_hashed(server, monkeypatch):
    resolve()
    catalogue(monkeypatch, replace(FULL, sha256="0" * 64))
    with pytest.raises(DamagedFile):
        resolve()


# --- many at once, progress, listing ---


@pytest.fixture
def one_may_wait():
    resolver.limit_waiting(1)
    yield
    resolver.limit_waiting(None)


def test_who_would_take_the_last_place_to_wait_for_a_download_is_told_at_once(server, one_may_wait):
    server.faults[REPO] = "drip"
    found: list[resolver.Resolved] = []
    first = threading.Thread(target=lambda: found.append(resolve()))
    first.start()
    wait_for(lambda: server.downloads("model.safetensors"))
    with pytest.raises(Busy, match=r"Full.* is still being fetched; please try again"):
        ended(resolve)
    assert resolve("auto").tier == "starter", "what is ready needs no place"
    assert not found  # at once: the first still waits
    server.poured.set()
    first.join(PATIENCE)
    assert found[0].tier == "full"
    assert resolve().tier == "full"
    assert server.downloads("model.safetensors") == 1


def test_sixteen_threads_make_one_download(server):
    server.faults[REPO] = "slow"
    found: list[resolver.Resolved] = []
    gate = threading.Barrier(16)

    def work() -> None:
        gate.wait()
        found.append(resolve())

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [f.tier for f in found] == ["full"] * 16
    assert server.downloads("model.safetensors") == 1


def test_progress_goes_up_to_one(server):
    server.faults[REPO] = "slow"
    told: list[tuple[float, str]] = []
    resolver.resolve("full-net", "classify", lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert all("Downloading Full net" in text for _, text in told)


def test_a_failing_progress_bar_does_not_break_the_cache(server):
    def broken(share: float, text: str) -> None:
        raise KeyboardInterrupt  # how a cancelled job ends

    with pytest.raises(KeyboardInterrupt):
        resolver.resolve("full-net", "classify", broken)
    assert not resolver.is_ready(FULL)
    assert resolve().path.read_bytes() == CONTENT


def test_listing_has_the_documented_fields(server):
    resolve()
    listed = {entry["key"]: entry for entry in resolver.listing()}
    assert set(listed) == {"starter-net", "full-net"}
    documented = {"key", "task", "tier", "available", "size_mb", "licence", "params"}
    assert all(documented <= set(entry) for entry in listed.values())
    assert listed["full-net"]["available"] is True
    assert listed["starter-net"]["tier"] == "starter"


def test_listing_asks_nobody(server):
    resolver.listing()
    assert server.requests == []


def test_limits_hold_for_other_users_of_the_hub_client(server, monkeypatch):
    """transformers and timm call the hub by themselves; a silent one must not hang them."""
    from huggingface_hub import HfApi

    hf_client.install_limits()
    monkeypatch.setenv("VISION_HUB_STALL_SECONDS", "3")
    get_settings.cache_clear()
    server.faults["*"] = "silent"
    with pytest.raises(Exception, match="timed out"):
        ended(lambda: HfApi(endpoint=server.url).model_info(REPO))
