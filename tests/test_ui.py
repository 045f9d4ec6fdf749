"""What the tabs share, without a server or a model."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import gradio as gr
import numpy as np
import pytest
from uvicorn.middleware.proxy_headers import _TrustedHosts

import app
from core.checkpoints import CATALOGUE, by_key
from core.errors import InputError
from core.settings import get_settings
from core.types import Classification, RunInfo
from demos import _page, classify, segment
from demos.server.guard import Guard
from demos.shell import api, picker, ui, words

GREY = np.full((8, 10, 3), 127, np.uint8)


class Page:
    """In the place of the page: what it would be launched with."""

    local_url, share_url, space_id = "http://127.0.0.1:7860/", None, None
    fns: ClassVar[dict[int, Any]] = {}
    places = None

    def launch(self, **options: Any) -> dict[str, Any]:
        self.trusted = os.environ.get("FORWARDED_ALLOW_IPS")
        return options

    def block_thread(self) -> None:
        """A real one would serve here for ever."""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in (
        "HOST",
        "PORT",
        "VISION_HUB_HOST",
        "VISION_HUB_PORT",
        "AUTH",
        "SHARE",
        "SPACE_ID",
        "VISION_HUB_RATE",
    ):
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    get_settings.cache_clear()


def test_sizes_are_written_as_people_write_them():
    assert "2565 MB" in picker.describe("sam-vit-h", "segment")
    assert not any("e+" in title for title, _ in picker.choices("segment"))


def test_the_picker_says_what_reading_a_picture_costs():
    labels = {key: title for title, key in picker.choices("segment")}
    for key in ("sam2.1-hiera-tiny", "slimsam-50"):
        cost = by_key(key).encode
        assert 0 < cost < 1
        assert f"encode {cost:g} x ViT-B" in labels[key]
        assert f"takes {cost:g} times the CPU time of SAM ViT-B" in picker.describe(key, "segment")
    assert "encode 1 x ViT-B" in labels["sam-vit-b"]
    assert not any("encode" in title for title, _ in picker.choices("classify"))


def test_an_unforeseen_error_shows_no_more_than_one_sentence():
    def broken() -> None:
        raise RuntimeError("the secret path /home/anna")

    with pytest.raises(gr.Error) as caught:
        ui.guarded(broken)()
    assert "anna" not in caught.value.message and caught.value.message.endswith(".")


def test_null_in_a_call_is_the_default_and_numbers_are_numbers():
    seen = []

    def task(image, checkpoint="auto", top_k=5, sigma=None):
        seen.append((checkpoint, top_k, sigma))

    call = api._checked(task, ("image", "text", "number", "number"))
    call(GREY, None, None, None)
    assert seen == [("auto", 5, None)]
    for wrong in (float("nan"), float("inf"), "3", [1], True):
        with pytest.raises(InputError, match="top_k must be a number"):
            call(GREY, "auto", wrong, None)


def test_a_call_without_a_picture_says_so():
    with pytest.raises(gr.Error, match="picture"):
        ui.guarded(classify.classify)(None)


def test_points_that_are_no_list_are_refused():
    with pytest.raises(InputError, match="list"):
        segment.segment(GREY, points=5)


@pytest.fixture
def launched(environment, monkeypatch):
    """What `app.launch` hands to Gradio where the environment has these variables."""
    monkeypatch.setattr(app.sessions, "install", lambda page: None)
    environment.setenv("FORWARDED_ALLOW_IPS", "x")  # so that it is put back
    environment.delenv("FORWARDED_ALLOW_IPS")

    def launch(page: Page | None = None, **variables: str) -> dict[str, Any]:
        for name, value in variables.items():
            environment.setenv(name, value)
        get_settings.cache_clear()
        return app.launch(page or Page())

    return launch


def test_without_host_the_address_is_left_to_gradio(launched):
    assert launched()["server_name"] is None  # Spaces set GRADIO_SERVER_NAME
    assert launched(HOST="0.0.0.0")["server_name"] == "0.0.0.0"
    assert launched(HOST="x86_64-conda-linux-gnu")["server_name"] is None
    options = launched(HOST="0.0.0.0", VISION_HUB_HOST="127.0.0.1", PORT="1", VISION_HUB_PORT="2")
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 2)


def test_on_a_space_visitors_are_told_apart(launched):
    page = Page()
    launched(page)
    assert page.trusted is None
    launched(page, SPACE_ID="somebody/hub")
    hosts = _TrustedHosts(page.trusted)  # as uvicorn reads it
    assert "10.20.3.4" in hosts and "203.0.113.9" not in hosts
    for said in ("203.0.113.9", "203.0.113.9, 10.20.3.4", "1.2.3.4, 203.0.113.9"):
        address = hosts.get_trusted_client_address(said)
        assert address[0] == "203.0.113.9", "what the visitor made up counts for nothing"


@pytest.mark.parametrize(
    ("variables", "per_minute"),
    [
        ({}, 0),
        ({"AUTH": "anna:secret"}, 0),
        ({"SHARE": "1"}, 120),
        ({"SPACE_ID": "somebody/hub"}, 120),
        ({"SHARE": "1", "AUTH": "anna:secret"}, 120),
        ({"VISION_HUB_RATE": "7"}, 7),
        ({"SHARE": "1", "VISION_HUB_RATE": "7"}, 7),
        ({"SPACE_ID": "somebody/hub", "VISION_HUB_RATE": "0"}, 0),
    ],
)
def test_where_strangers_can_come_each_has_a_limit(launched, variables, per_minute):
    options = launched(**variables)
    middleware, *_ = options["app_kwargs"]["middleware"]
    assert middleware.cls is Guard and middleware.kwargs["rules"].per_minute == per_minute
    assert options["share"] is ("SHARE" in variables)


@pytest.mark.parametrize(
    ("variables", "login", "open_routes"),
    [
        ({}, None, ["/healthz", "/status"]),
        ({"SHARE": "1"}, None, ["/healthz", "/status"]),
        ({"AUTH": "anna:se:cret"}, ("anna", "se:cret"), ["/healthz"]),
    ],
)
def test_a_login_closes_the_meter_and_other_sites_out(launched, variables, login, open_routes):
    options = launched(**variables)
    assert options["auth"] == login
    assert [route.path for route in options["app_kwargs"]["routes"]] == open_routes
    middleware, *_ = options["app_kwargs"]["middleware"]
    assert middleware.kwargs["rules"].login is (login is not None)


def test_a_hub_that_runs_sweeps_and_warms_up(environment, monkeypatch):
    done = list[str]()
    monkeypatch.setattr(app.allocator, "tune", lambda: done.append("tune"))
    monkeypatch.setattr(app.collector, "spare_libraries", lambda: None)
    monkeypatch.setattr(app._page, "build", Page)
    monkeypatch.setattr(app, "launch", lambda page, **_: done.append("launch"))
    monkeypatch.setattr(app.files, "keep_sweeping", lambda: done.append("sweep"))
    monkeypatch.setattr(app._page, "warm_up", lambda **_: done.append("warm up"))
    app.main()
    assert done == ["tune", "launch", "sweep", "warm up"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"HOST": "x86_64-conda-linux-gnu"}, ["HOST is not an address of this machine"]),
        ({"HOST": "127.0.0.1"}, []),
        ({"HOST": "my-machine", "VISION_HUB_HOST": "127.0.0.1"}, []),
        ({"SHARE": "1"}, ["There is no share link", "The app is only at http://127.0.0.1:7860/"]),
        ({}, []),
    ],
)
def test_the_log_says_what_may_surprise(environment, monkeypatch, caplog, variables, words):
    monkeypatch.setattr(app.allocator, "tune", lambda: None)
    monkeypatch.setattr(app.collector, "spare_libraries", lambda: None)
    monkeypatch.setattr(app._page, "build", Page)
    monkeypatch.setattr(app, "launch", lambda page, **_: None)
    monkeypatch.setattr(app.files, "keep_sweeping", lambda: None)
    monkeypatch.setattr(app._page, "warm_up", lambda **_: None)
    for name, value in variables.items():
        environment.setenv(name, value)
    get_settings.cache_clear()
    with caplog.at_level("INFO", "vision-hub"):
        app.main()
    told = "\n".join(caplog.messages)
    for sentence in (
        "HOST is not an address of this machine",
        "downloads its tunnel program for the share link once",
    ):
        assert (sentence in told) == (sentence in words)


def test_a_wrong_setting_is_named_and_no_password_shown(environment):
    environment.setenv("PORT", "many")
    environment.setenv("AUTH", "onlysecret")
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert "PORT" in str(caught.value) and "AUTH" in str(caught.value)
    assert "onlysecret" not in str(caught.value)


def test_an_answer_of_detect_makes_no_further_round_trip():
    """The boxes to hide or show come with the answer."""
    page = _page.build()
    ids = {getattr(block, "elem_id", None): number for number, block in page.blocks.items()}
    run = next(fn for fn in page.fns.values() if (ids["detect-run"], "click") in fn.targets)
    assert ids["detect-result"] in [block._id for block in run.outputs]
    answered = {block._id for block in run.outputs}
    assert not [
        fn
        for fn in page.fns.values()
        if answered & {number for number, event in fn.targets if event != "click"}
    ]
    public = next(fn for fn in page.fns.values() if fn.api_name == "detect")
    assert len(public.outputs) == 3


def test_classes_are_searched_and_their_number_is_said():
    names = (*(f"cat {i}" for i in range(300)), "<b>Dog</b>")
    every = classify.chips_html(names, "")
    assert every.count("<li>") == 200 and "200 of 301 classes" in every
    found = classify.chips_html(names, "  DOG ")
    assert "1 class with dog in the name" in found and "&lt;b&gt;Dog&lt;/b&gt;" in found
    none = classify.chips_html(names, "<zebra>")
    assert none.startswith("<p>0 classes with &lt;zebra&gt; in the name</p>")


def test_the_details_of_an_answer_explain_its_words():
    info = RunInfo("segment-starter", "starter", "cpu", "fp32", metric="mean IoU 0.5 & more <b>")
    said = ui.info_html(info)
    for word in ("starter", "IoU", "bf16, fp32"):
        assert said.count(f"<dt>{word}</dt>") == 1, word
    assert "<dt>PSNR</dt>" not in said and "<dt>full</dt>" not in said
    known = {*words.TIERS, *words.TERMS}
    assert {tier for c in CATALOGUE if (tier := c.tier)} <= known
    assert all(f"<dt>{html.escape(word)}</dt>" in words.all_words() for word in known)


def test_a_doubt_stands_above_the_bars_and_is_part_of_the_answer():
    assert classify.doubt_html("") == ""
    assert "only 5%" in classify.doubt_html("only 5%")
    info = RunInfo("net", "own", "cpu")
    for doubt in ("", "None of them."):
        found = Classification(("a",), np.ones(1, np.float32), info, doubt)
        assert found.about().get("doubt", "") == doubt


def test_events_without_progress_report_to_the_head_of_the_page():
    """Each component that an event reports to costs the browser a search of the page's tree."""
    page = _page.build()
    hidden = [fn for fn in page.fns.values() if fn.show_progress == "hidden"]
    assert len(hidden) > 20
    (place,) = {block._id for fn in hidden for block in fn.show_progress_on}
    assert place == min(page.blocks)
