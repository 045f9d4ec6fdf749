"""The line that offers a full checkpoint, in a browser, against a local server as the hub."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
from huggingface_hub import constants
from safetensors.torch import save

from core import checkpoints
from core.checkpoints import CATALOGUE, Recommended
from core.serving import runtime
from core.settings import get_settings
from core.sources import downloads, hf_client
from tests import hub_server
from tests.browser import DESKTOP, PHONE, page_of
from tests.conftest import wait_for
from tests.live import EXAMPLES, hub

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ARCH = "test_vit.r160_in1k"  # a network of 0.4 M parameters for tests
DONE = "#classify-said [data-turn='{turn}']:not([data-working])"
PICTURE = EXAMPLES / "coffee.jpg"
SHOWN = "name => document.querySelector('#picture img')?.src.includes(name)"


@pytest.fixture(scope="module")
def content():
    return save(timm.create_model(ARCH).state_dict())


@pytest.fixture
def server(monkeypatch, tmp_path, settings, content):
    """A hub with two small networks under the names of the recommended ones, and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(downloads, "_jobs", {})
    known = tuple(
        replace(c, source=f"lab/{c.key}", arch=ARCH, revision=None, sha256=None)
        if c.key in ("vit-small", "vit-tiny")
        else c
        for c in CATALOGUE
    )
    monkeypatch.setattr(checkpoints, "CATALOGUE", known)
    monkeypatch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in known})
    offers = {("classify", 1): Recommended("vit-small", "vit-small", "vit-tiny")}
    monkeypatch.setattr(checkpoints, "RECOMMENDED", offers)
    with hub_server.serve() as local:
        for key in ("vit-small", "vit-tiny"):
            local.put(f"lab/{key}", "model.safetensors", content)
        settings(
            HF_ENDPOINT=local.url,
            HF_HUB_CACHE=str(tmp_path / "cache"),
            VISION_HUB_OFFLINE="0",
            VISION_HUB_PROBE_SECONDS="30",
        )
        hf_client.forget_probe()
        yield local
    hf_client.forget_probe()


def chip(page):
    return page.locator("#classify-info .info").text_content()


def answered(page, turn=1):
    """Wait for the answer to the picture of that number."""
    page.locator(DONE.format(turn=turn)).wait_for(state="attached")


def use(page, name):
    return page.locator("#classify-offer").get_by_role("button", name=name, exact=True)


def test_first_visit_one_click_full_answer_then_offline(browser, server):
    server.faults["lab/vit-small"] = "drip"
    with hub() as url:
        with page_of(browser, viewport=DESKTOP) as page, page_of(browser) as other:
            page.goto(url)
            answered(page)
            page.locator("#picture input[type=file]").first.set_input_files(PICTURE)
            answered(page, 2)
            offer = page.locator("#classify-offer")
            offer.wait_for()
            assert "Answered by the starter." in offer.inner_text()
            assert use(page, "Use ViT-Ti/16, 22.9 MB").is_visible()
            before = page.locator("#classify-result").inner_text()
            use(page, "Use ViT-S/16, 88.2 MB").focus()
            page.keyboard.press("Enter")
            page.locator("#classify-offer progress").wait_for()
            offer.get_by_text("Downloading ViT-S/16").wait_for()
            # Somebody else who comes now sees the same download, but cannot end it.
            other.goto(url)
            other.locator("#classify-offer progress").wait_for()
            assert not other.locator("#classify-offer-cancel").is_visible()
            server.poured.set()
            page.locator("#classify-info .info").get_by_text("ViT-S/16").wait_for()
            answered(page, 2)
            full = page.locator("#classify-result").inner_text()
            assert full != before
            assert "full" in chip(page)
            page.locator("#classify-offer").wait_for(state="hidden")
            other.locator("#classify-offer").get_by_text("ViT-S/16 is ready.").wait_for()
            use(other, "Use ViT-S/16").click()
            other.locator("#classify-info .info").get_by_text("ViT-S/16").wait_for()
            # After a reload "auto" is what they took: the same picture gets the same answer.
            page.reload()
            answered(page)
            page.wait_for_function(SHOWN, arg=PICTURE.name)
            page.locator("#classify-info .info").get_by_text("ViT-S/16").wait_for()
            assert page.locator("#classify-result").inner_text() == full
            assert page.locator("#classify-checkpoint input").input_value().startswith("Auto")
            page.locator("#classify-about").get_by_text("ViT-S/16").wait_for(state="attached")
            assert not page.locator("#classify-offer").is_visible()
        assert server.downloads("model.safetensors") == 1
        # Offline, and as a new visitor: still the full one.
        server.faults["*"] = "500"
        hf_client.forget_probe()
        runtime.reset()
        with page_of(browser) as page:
            page.goto(url)
            page.locator("#classify-info .info").get_by_text("ViT-S/16").wait_for()
            assert not page.locator("#classify-offer").is_visible()


def test_on_a_phone_a_download_is_cancelled_and_continued(browser, server):
    server.faults["lab/vit-tiny"] = "drip"
    with hub() as url, page_of(browser, viewport=PHONE, touch=True) as page:
        page.goto(url)
        small = use(page, "Use ViT-Ti/16, 22.9 MB")
        small.wait_for()
        assert small.bounding_box()["height"] >= 40
        small.tap()
        cancel = page.locator("#classify-offer-cancel")
        cancel.wait_for()
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"] + 1, "the page scrolls sideways"
        cancel.tap()
        small.wait_for()
        wait_for(lambda: not downloads.running())
        assert downloads.of("vit-tiny").state == "cancelled"
        server.faults.clear()
        small.tap()
        page.locator("#classify-info .info").get_by_text("ViT-Ti/16").wait_for()
        assert server.ranges, "it went on where it had stopped"


def test_without_a_network_nothing_is_offered(browser, server):
    server.faults["*"] = "500"
    with hub() as url, page_of(browser) as page:
        page.goto(url)
        answered(page)
        wait_for(lambda: hf_client.last_verdict() is False)
        assert "EfficientNet-Lite0" in chip(page)
        assert not page.locator("#classify-offer").is_visible()
    get_settings.cache_clear()
