"""Downloads in the background: shared, cancelled, continued, and those at startup."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

import gradio as gr
import pytest

from core import checkpoints
from core.checkpoints import CATALOGUE, RECOMMENDED, by_key, recommended, to_preload
from core.errors import Busy
from core.settings import Settings, get_settings
from core.sources import downloads, hf_client, resolver, transfer
from tests.conftest import PATIENCE, wait_for
from tests.test_weights import CONTENT, FULL, REPO, catalogue, resolve, server  # noqa: F401


@pytest.fixture
def hub(server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(downloads, "_jobs", {})
    monkeypatch.setenv("VISION_HUB_PROBE_SECONDS", "30")  # on a busy machine
    monkeypatch.setenv("VISION_HUB_STALL_SECONDS", "30")
    get_settings.cache_clear()
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    yield server
    server.poured.set()
    for job in downloads.running():
        assert job.ended.wait(PATIENCE)


def part():
    """How much of a file that is not complete lies in the cache."""
    return sum(p.stat().st_size for p in hf_client.cache_dir().rglob(f"*{transfer.PART}"))


# --- one download for all ---


def test_a_download_ends_with_the_checkpoint_ready_and_auto_takes_it(hub):
    job = downloads.start(FULL, "anna")
    assert job.ended.wait(PATIENCE)
    assert (job.state, job.share, job.sentence) == ("done", 1.0, "Full net is ready.")
    assert resolve("auto").checkpoint == FULL
    hub.faults["*"] = "500"  # from now on offline
    hf_client.forget_probe()
    assert resolve("auto").path.read_bytes() == CONTENT


def test_all_visitors_share_one_download_and_its_progress(hub):
    hub.faults[REPO] = "drip"
    job = downloads.start(FULL, "anna")
    assert downloads.start(FULL, "ben") is job
    wait_for(lambda: 0 < job.share < 1)
    assert job.sentence == "Downloading Full net: 0 of 0 MB"
    assert resolver.going(FULL.key) == (job.share, job.sentence)
    assert downloads.running() == [job]
    hub.poured.set()
    assert job.ended.wait(PATIENCE) and job.state == "done"
    assert hub.downloads("model.safetensors") == 1
    assert resolver.going(FULL.key) is None and downloads.running() == []


def test_a_request_that_waits_for_a_download_sees_its_progress(hub):
    hub.faults[REPO] = "drip"
    job = downloads.start(FULL, "anna")
    wait_for(lambda: job.share > 0)
    seen = []

    def told(share, sentence):
        seen.append(sentence)
        hub.poured.set()

    assert resolver.resolve(FULL.key, FULL.task, told).tier == "full"
    assert seen and seen[0].startswith("Downloading Full net")
    assert hub.downloads("model.safetensors") == 1


def test_it_is_cancelled_when_nobody_wants_it_and_then_continued(hub):
    hub.faults[REPO] = "drip"
    for visitor in ("anna", "ben"):
        job = downloads.start(FULL, visitor)
    wait_for(lambda: job.share > 0)
    downloads.cancel(FULL.key, "anna")
    share = job.share
    wait_for(lambda: job.share > share)
    downloads.cancel(FULL.key, "ben")
    assert job.ended.wait(PATIENCE)
    assert (job.state, resolver.is_ready(FULL)) == ("cancelled", False)
    had = part()
    assert 0 < had < len(CONTENT)
    hub.faults.clear()
    again = downloads.start(FULL, "ben")
    assert again is not job and again.ended.wait(PATIENCE)
    assert (again.state, hub.ranges, part()) == ("done", [had], 0)
    assert resolve("auto").path.read_bytes() == CONTENT


def test_a_cancelled_download_is_offered_again_before_it_has_ended(hub, monkeypatch):
    from demos.shell import offers

    with gr.Blocks():
        line = offers.Offer("classify", "classify")
    monkeypatch.setattr(offers, "offered", lambda *_: [FULL])
    monkeypatch.setattr(offers, "words_html", lambda *_: "Take it.")
    hub.faults[REPO] = "drip"
    job = downloads.start(FULL, "anna")
    wait_for(lambda: job.share > 0)
    assert "progress" in line.shown("auto", None, "anna")[1]
    job.wanted.clear()  # as `cancel` does; the thread learns it with the next bytes
    monkeypatch.setattr(job, "ended", threading.Event())
    assert line.shown("auto", None, "anna")[1] == "Take it."


def test_a_failure_is_a_sentence_and_the_next_click_tries_again(hub):
    hub.faults[REPO] = "404"
    job = downloads.start(FULL, "anna")
    assert job.ended.wait(PATIENCE)
    assert (job.state, job.sentence) == (
        "failed",
        "Full net was removed from Hugging Face or made private.",
    )
    hub.faults.clear()
    assert downloads.start(FULL, "anna").ended.wait(PATIENCE)
    assert resolver.is_ready(FULL)


def test_downloads_are_limited(hub, monkeypatch):
    monkeypatch.setattr(downloads, "MOST", 1)
    hub.faults[REPO] = "drip"
    downloads.start(FULL, "anna")
    with pytest.raises(Busy, match="try again later"):
        downloads.start(replace(FULL, key="other"), "ben")


def test_a_file_that_changed_on_the_hub_is_not_continued(hub):
    hub.faults[REPO] = "stall"
    job = downloads.start(FULL, "anna")
    wait_for(lambda: part() > 0)
    downloads.cancel(FULL.key, "anna")
    hub.put(REPO, "model.safetensors", CONTENT[::-1])
    hub.closing.set()
    assert job.ended.wait(PATIENCE)
    hub.faults.clear()
    hub.ranges.clear()  # of the first one's retries
    assert downloads.start(FULL, "ben").ended.wait(PATIENCE)
    assert resolve("auto").path.read_bytes() == CONTENT[::-1] and hub.ranges == []


# --- at startup ---


def test_preloading_waits_for_the_hub_and_says_so(hub, caplog):
    caplog.set_level(logging.INFO, "core.sources.downloads")
    hub.faults["*"] = "500"
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        hub.faults.clear()
        hf_client.forget_probe()

    downloads.preload([FULL], wait).join(PATIENCE)
    assert pauses == [downloads.PAUSES[0]] and resolver.is_ready(FULL)
    assert "Full net is downloaded" in caplog.messages
    hub.requests.clear()
    downloads.preload([FULL], wait).join(PATIENCE)
    assert hub.requests == [], "it is ready"


def test_nothing_is_preloaded_or_tried_again_where_downloads_are_switched_off(
    hub, caplog, monkeypatch
):
    caplog.set_level(logging.INFO, "core.sources.downloads")
    monkeypatch.setenv("VISION_HUB_OFFLINE", "1")
    get_settings.cache_clear()
    pauses = []
    downloads.preload([FULL], pauses.append).join(PATIENCE)
    assert caplog.messages == ["Downloads are switched off on this server. Nothing is preloaded."]
    assert not pauses and not hub.requests


def test_a_preload_that_a_visitor_joins_does_not_end_with_their_cancel(hub):
    hub.faults[REPO] = "drip"
    thread = downloads.preload([FULL])
    wait_for(lambda: downloads.running() and downloads.running()[0].share > 0)
    job = downloads.start(FULL, "anna")
    downloads.cancel(FULL.key, "anna")
    share = job.share
    wait_for(lambda: job.share > share)
    hub.poured.set()
    thread.join(PATIENCE)
    assert job.state == "done"


@pytest.mark.parametrize("on_gpu", [False, True])
def test_every_place_has_a_recommended_checkpoint(on_gpu):
    assert {task for task, _ in RECOMMENDED} == {c.task for c in CATALOGUE if c.tier == "full"}
    for task, scale in RECOMMENDED:
        found = recommended(task, on_gpu, scale)
        assert found and all((c.task, c.tier, c.scale) == (task, "full", scale) for c in found)
        if not on_gpu:
            assert all(0 < c.gmacs <= checkpoints.SLOW and c.size_mb < 500 for c in found)
        # What was downloaded is what "auto" then takes before the starter.
        order = checkpoints.by_preference(task, on_gpu)
        others = [c for c in order if c.tier != "full"]
        assert all(order.index(c) < min(map(order.index, others)) for c in found)


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_is_not_for_everybody_comes_only_by_its_key(on_gpu):
    barred = [c for c in CATALOGUE if c.non_commercial]
    assert {c.key for c in barred} >= {"vit-mae-base", "vit-mae-large"}
    for choice in ("recommended", "all", "recommended, all"):
        wanted, unknown = to_preload(choice, on_gpu)
        assert wanted and not unknown and not {*barred} & {*wanted}
        assert len(wanted) == len({*wanted})
    assert to_preload("vit-mae-base", on_gpu) == ([by_key("vit-mae-base")], [])


def test_words_that_name_nothing_are_told():
    assert to_preload("vit-tiny nonsense, detect-starter", False) == (
        [by_key("vit-tiny")],
        ["nonsense", "detect-starter"],
    )
    assert to_preload("", False) == to_preload("none", False) == ([], [])


@pytest.mark.parametrize(
    ("set_to", "space", "preloaded"),
    [
        (None, None, ""),
        (None, "me/hub", "recommended"),
        ("none", "me/hub", "none"),
        ("all", "", "all"),
    ],
)
def test_a_space_preloads_what_is_recommended(monkeypatch, set_to, space, preloaded):
    for name, value in (("VISION_HUB_PRELOAD", set_to), ("SPACE_ID", space)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert Settings().preloaded == preloaded
    get_settings.cache_clear()
