"""Who has to wait sees their place in the queue."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import gradio as gr
import pytest

from core.errors import InputError
from demos.shell import ui
from tests.browser import chromium, page_of, tab
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, hub

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SECONDS = 1000 * PATIENCE


def test_the_place_in_the_queue_is_shown():
    go_on = threading.Event()

    def slow() -> str:
        go_on.wait(PATIENCE)
        return "<b>done</b>"

    with gr.Blocks() as page:
        out = gr.HTML(elem_id="out", min_height=80)
        button = gr.Button("Go", elem_id="go")
        ui.on_device([button.click], slow, [], [out], queue=ui.LONG_QUEUE)
    page.queue(api_open=False)
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        with chromium() as browser, ExitStack() as opened:
            pages = [opened.enter_context(page_of(browser)) for _ in range(ui.LONG_QUEUE[1] + 1)]
            for one in pages:
                one.goto(page.local_url, timeout=SECONDS)
                one.locator("#go").click(timeout=SECONDS)
                one.locator("#out").get_by_text("processing").or_(
                    one.locator("#out").get_by_text("queue: 1/1")
                ).first.wait_for(timeout=SECONDS)
            pages[-1].locator("#out").get_by_text("queue: 1/1").first.wait_for(timeout=SECONDS)
            go_on.set()
            pages[-1].locator("#out b").wait_for(timeout=SECONDS)
    finally:
        go_on.set()
        page.close()


def test_everything_mode_shows_it_too(monkeypatch):
    from core import segment

    go_on = threading.Event()

    def stream(*_: object, **__: object):
        go_on.wait(PATIENCE)
        raise InputError("It went on.")
        yield

    monkeypatch.setattr(segment, "everything_stream", stream)
    with hub() as url, chromium() as browser, ExitStack() as opened:
        try:
            for number in range(ui.LONG_QUEUE[1] + 1):
                one = opened.enter_context(page_of(browser))
                one.set_default_timeout(SECONDS)
                one.goto(url)
                tab(one, "Segment")
                one.locator("#segment-said [data-turn]").wait_for(state="attached")
                picture = one.locator("#picture input[type=file]").first
                picture.set_input_files(EXAMPLES / "coffee.jpg")
                second = "#segment-said [data-turn='2']"  # after the example of the arrival
                one.locator(second).wait_for(state="attached")
                status = one.locator("#segment-canvas .pp-status")
                status.get_by_text("Ready").first.wait_for()
                one.locator("#segment-canvas [data-act=everything]").click()
                line = one.locator("#everything-info")
                words = "Prompting" if number < ui.LONG_QUEUE[1] else "queue: 1/1"
                line.get_by_text(words).first.wait_for()
        finally:
            go_on.set()
