"""Checkpoints whose file lies at an address: the same care as with files of the hub."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from core.checkpoints import CATALOGUE, Checkpoint, by_key
from core.errors import CheckpointError, DamagedFile
from core.settings import get_settings
from core.sources import downloads, hf_client, resolver, transfer, web_files
from tests.conftest import PATIENCE, wait_for
from tests.test_weights import CONTENT, REPO, catalogue, server  # noqa: F401

SUM = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def net(server, monkeypatch) -> Checkpoint:  # noqa: F811
    """A checkpoint whose address is a folder of the local server."""
    folder = f"{server.url}/{REPO}/resolve/main"
    made = Checkpoint(
        "web-net", "classify", "torchvision", folder, "MIT", "Web net", "net.pth", sha256=SUM
    )
    server.put(REPO, "net.pth", CONTENT)
    catalogue(monkeypatch, made)
    monkeypatch.setattr(web_files, "ALLOWED", (folder,))
    monkeypatch.setattr(downloads, "_jobs", {})
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    monkeypatch.setenv("VISION_HUB_PROBE_SECONDS", "30")  # on a busy machine
    monkeypatch.setenv("VISION_HUB_STALL_SECONDS", "30")
    get_settings.cache_clear()
    yield made
    server.poured.set()
    for job in downloads.running():
        assert job.ended.wait(PATIENCE)


def resolve(key: str = "web-net") -> resolver.Resolved:
    return resolver.resolve(key, "classify")


def test_it_is_fetched_once_and_needs_no_server_then(net, server, monkeypatch):  # noqa: F811
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert not resolver.is_ready(net)
    found = resolve()
    assert (found.tier, found.note, found.path.read_bytes()) == ("full", "", CONTENT)
    assert server.tokens == []  # the token is for Hugging Face alone
    server.faults["*"] = "500"
    hf_client.forget_probe()
    assert resolve("auto").path == found.path
    assert server.downloads("net.pth") == 1


def test_a_cancelled_download_goes_on_where_it_stopped(net, server):  # noqa: F811
    server.faults[REPO] = "drip"
    job = downloads.start(net, "anna")
    wait_for(lambda: 0 < job.share < 1)
    assert job.sentence == "Downloading Web net: 0 of 0 MB"
    downloads.cancel(net.key, "anna")
    assert job.ended.wait(PATIENCE) and job.state == "cancelled"
    del server.faults[REPO]
    assert resolve().path.read_bytes() == CONTENT
    assert server.ranges and server.ranges[0] > 0


def test_a_cut_transfer_is_continued(net, server):  # noqa: F811
    server.faults[REPO] = "cut-once"
    assert resolve().path.read_bytes() == CONTENT
    assert server.ranges


def test_another_content_is_refused_and_removed(net, server):  # noqa: F811
    server.faults[REPO] = "flipped"
    with pytest.raises(DamagedFile, match="Web net arrived damaged and was removed"):
        resolve()
    assert not resolver.is_ready(net)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("500", "Web net could not be fetched: 127.0.0.1 cannot send files at the moment."),
        ("429", "Web net could not be fetched: 127.0.0.1 limits requests at the moment."),
    ],
)
def test_where_it_cannot_be_had_the_starter_answers(net, server, fault, sentence):  # noqa: F811
    server.faults[REPO] = fault
    found = resolve()
    assert (found.tier, found.note) == ("starter", f"{sentence} Starter net answered instead.")


def test_offline(net, monkeypatch):
    monkeypatch.setenv("VISION_HUB_OFFLINE", "1")
    get_settings.cache_clear()
    assert resolve().note == (
        "Web net could not be fetched: downloads are switched off on this server."
        " Starter net answered instead."
    )


def test_a_file_that_was_removed_is_told(net, server):  # noqa: F811
    server.faults[REPO] = "404"
    with pytest.raises(CheckpointError, match=r"^Web net was removed from 127\.0\.0\.1\.$"):
        resolve()


def test_only_known_folders_and_known_sums(net, monkeypatch, server):  # noqa: F811
    catalogue(monkeypatch, replace(net, source=f"{server.url}/other"))
    with pytest.raises(CheckpointError, match=r"127\.0\.0\.1 is not allowed"):
        resolve()
    assert not any("other" in path for _, path in server.requests)
    catalogue(monkeypatch, replace(net, sha256=None))
    with pytest.raises(CheckpointError, match="no checksum"):
        resolve()


def test_the_catalogue_has_only_such_addresses():
    found = [c for c in CATALOGUE if web_files.is_address(c)]
    assert found
    for checkpoint in found:
        assert checkpoint.source.startswith("https://")
        assert checkpoint.source in web_files.ALLOWED
        assert checkpoint.sha256 and not checkpoint.extra_files
        # torchvision puts the first digits of the sum into the name.
        assert checkpoint.sha256[:8] in checkpoint.filename


@pytest.mark.parametrize("size", [(300, 400), (97, 256), (700, 333)])
def test_pictures_are_prepared_as_torchvision_does(size):
    from torchvision.models import AlexNet_Weights, GoogLeNet_Weights

    from core import classify
    from tests.test_published import file_of, keys_of

    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    checkpoint = by_key("googlenet")
    with file_of(checkpoint, keys_of("googlenet")) as resolved:
        built = classify._build(resolved)
    for weights in (AlexNet_Weights, GoogLeNet_Weights):
        wanted = weights.IMAGENET1K_V1.transforms()(Image.fromarray(rgb))
        assert torch.allclose(built.extra.transform(rgb)[0], wanted, atol=1e-6)
    assert len(built.extra.labels) == 1000
