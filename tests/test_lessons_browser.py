"""The renderer of lessons in a real browser, with two lessons of the test below a picture."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import app
from core.errors import InputError
from demos import _page
from demos.shell import api, examples, lesson, lesson_view
from demos.shell.lesson import Check, Lesson, NotYet, Show, Slider
from demos.shell.shared import SharedPicture
from tests.browser import page_again
from tests.conftest import PATIENCE, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.slow]
RUNS: list[tuple[Any, ...]] = []
STEP = threading.Event()


def quick(picture: Any, checkpoint: str, level: float, loud: bool) -> tuple[str, Any]:
    RUNS.append(("quick", picture.size, checkpoint, level))
    if level == 3:
        raise InputError("Level 3 is too much.")
    if level == 4:
        raise NotYet("Do something first.")
    grey = np.full((8, 8, 3), 99, np.uint8)
    return f"<p>{picture.size[1]} wide, {checkpoint}, level {level:g}, {loud}</p>", grey


def long(picture: Any) -> Iterator[Any]:
    RUNS.append(("long", picture.size))
    yield 0.25
    while not STEP.wait(0.05):
        yield 0.5
    yield "<p>long is done</p>"


LESSONS = [
    Lesson(
        key="quick",
        title="Quick",
        tab="a",
        about="About quick.",
        run=quick,
        shows=(Show("html", "text"), Show("lossless", "grey", "Grey")),
        controls=(Slider("level", "Level", 1, 5, 1), Check("loud", "Loud")),
        code=lambda checkpoint, level: f"print({checkpoint!r}, {level:g})\n",
    ),
    Lesson(
        key="slow",
        title="Slow",
        tab="a",
        about="About slow.",
        run=long,
        needs=("picture",),
        shows=(Show("html", "text"),),
        is_long=True,
    ),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pages = tmp_path_factory.mktemp("learn")
    (pages / "quick.md").write_text("# All about quick\n\nA page to read.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lesson, "LEARN", pages)
        patch.setattr(examples, "first", lambda: None)
        patch.setattr(lesson_view, "lessons_of", lambda tab: LESSONS if tab == "a" else [])
        with _page.Page(analytics_enabled=False) as page:
            api.begin()
            shared = SharedPicture({"a": (), "b": ()})
            checkpoint = gr.Radio(["one", "two"], value="one", elem_id="checkpoint")
            with gr.Tabs():
                for key in ("a", "b"):
                    with gr.Tab(f"Tab {key}", elem_id=f"tab-{key}") as tab:
                        shared.opens(tab, key)
                        gr.HTML(f"<p id='here-{key}'>{key}</p>")
                        lesson_view.render(key, shared.picture, shared.turns[key], checkpoint)
            shared.wire(page)
        page.queue(api_open=False)
        app.launch(
            page, server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True
        )
        yield str(page.local_url)
        page.close()


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    RUNS.clear()
    STEP.clear()
    with page_again(browser) as opened:
        opened.set_default_timeout(1000 * PATIENCE)
        opened.goto(url)
        opened.locator("#lesson-quick").wait_for()
        opened.wait_for_function("window.visionHub")
        yield opened
        STEP.set()


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, width in (("small", 40), ("large", 60)):
        made[name] = tmp_path / f"{name}.png"
        Image.new("RGB", (width, 30), "teal").save(made[name])
    made["broken"] = tmp_path / "broken.png"
    made["broken"].write_bytes(made["small"].read_bytes()[:40])
    return made


def choose(page: Any, path: Path) -> None:
    turns = "[...document.querySelectorAll('[id$=-turn] textarea')].map((one) => one.value).join()"
    before = page.evaluate(turns)
    page.locator("#picture input[type=file]").first.set_input_files(path)
    page.wait_for_function(f"old => {turns} !== old", arg=before)


def fold(page: Any, key: str) -> None:
    page.locator(f"#lesson-{key} > button").first.click()


def shows(page: Any, key: str, text: str) -> None:
    page.locator(f"#lesson-{key}").get_by_text(text).first.wait_for()


def test_it_runs_when_opened_and_follows_picture_and_checkpoint(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    assert RUNS == []
    fold(page, "quick")
    shows(page, "quick", "40 wide, one, level 1, False")
    page.locator("#lesson-quick-grey img").wait_for()
    assert len(RUNS) == 1
    page.locator("#checkpoint input").nth(1).click()
    shows(page, "quick", "40 wide, two, level 1, False")
    choose(page, pictures["large"])
    shows(page, "quick", "60 wide, two, level 1, False")
    assert len(RUNS) == 3
    page.locator("#lesson-quick-refresh").click()
    wait_for(lambda: len(RUNS) == 4)
    page.locator("#lesson-quick-loud input").click()
    shows(page, "quick", "60 wide, two, level 1, True")
    assert len(RUNS) == 5


def test_a_closed_lesson_never_runs_and_is_empty_when_it_opens_again(
    page: Any, pictures: Any
) -> None:
    choose(page, pictures["small"])
    fold(page, "quick")
    shows(page, "quick", "40 wide, one")
    fold(page, "quick")
    page.locator("#checkpoint input").nth(1).click()
    choose(page, pictures["large"])
    page.wait_for_function("document.querySelector('#lesson-quick-text')?.innerText.trim() === ''")
    fold(page, "slow")  # what was sent before it has been begun before it
    wait_for(lambda: RUNS[-1][0] == "long")
    assert len(RUNS) == 2
    fold(page, "quick")
    shows(page, "quick", "60 wide, two")
    assert len(RUNS) == 3


def test_a_lesson_on_a_tab_that_is_not_seen_waits(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    fold(page, "quick")
    shows(page, "quick", "40 wide, one")
    page.get_by_role("tab", name="Tab b").click()
    page.locator("#here-b").wait_for()
    choose(page, pictures["large"])
    page.locator("#checkpoint input").nth(1).click()
    page.get_by_role("tab", name="Tab a").click()
    shows(page, "quick", "60 wide, two")
    assert [run[1:3] for run in RUNS] == [((30, 40), "one"), ((30, 60), "two")]


def test_without_a_picture_and_with_a_refused_one_it_says_so(page: Any, pictures: Any) -> None:
    fold(page, "quick")
    shows(page, "quick", lesson_view.lesson_run.WAITING)
    choose(page, pictures["small"])
    shows(page, "quick", "40 wide")
    page.locator('#picture [aria-label="Remove Image"]').click()
    shows(page, "quick", lesson_view.lesson_run.WAITING)
    assert page.locator("#lesson-quick-text").inner_text().strip() == ""
    assert page.locator("#lesson-quick-grey img").count() == 0
    choose(page, pictures["broken"])
    page.locator("#lesson-quick-said [role=alert]").wait_for()
    assert len(RUNS) == 1


def test_what_fails_empties_the_outputs_and_says_why(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    fold(page, "quick")
    shows(page, "quick", "40 wide, one, level 1")
    number = page.locator("#lesson-quick-level input[type=number]")
    for level, kind, said in (("3", "alert", "Level 3 is too"), ("4", "", "Do something first")):
        number.fill(level)
        number.press("Enter")
        number.blur()
        shows(page, "quick", said)
        assert page.locator("#lesson-quick-text").inner_text().strip() == ""
        assert bool(kind) == bool(page.locator("#lesson-quick-said [role=alert]").count())
    number.fill("5")
    number.press("Enter")
    number.blur()
    shows(page, "quick", "level 5")
    assert page.locator("#lesson-quick-said").inner_text().strip() == ""


def test_code_and_page_are_folded_inside(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    fold(page, "quick")
    shows(page, "quick", "40 wide")
    fold(page, "quick-code")
    shows(page, "quick-code", "print")
    assert "print('one', 1)" in page.locator("#lesson-quick-code").inner_text()
    fold(page, "quick-learn")
    shows(page, "quick-learn", "All about quick")
    assert page.locator("#lesson-slow-learn").count() == 0  # it has no page


def test_a_long_lesson_shows_its_progress_and_can_be_cancelled(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    fold(page, "slow")
    shows(page, "slow", "50% done.")
    page.locator("#lesson-slow-cancel").click()
    shows(page, "slow", "Cancelled")
    page.locator("#lesson-slow-cancel").wait_for(state="hidden")
    STEP.set()
    page.locator("#lesson-slow-refresh").click()
    shows(page, "slow", "long is done")
    page.locator("#lesson-slow-cancel").wait_for(state="hidden")


def test_a_new_picture_ends_what_runs_for_the_old_one(page: Any, pictures: Any) -> None:
    choose(page, pictures["small"])
    fold(page, "slow")
    shows(page, "slow", "50% done.")
    choose(page, pictures["large"])
    wait_for(lambda: RUNS == [("long", (30, 40)), ("long", (30, 60))])
    STEP.set()
    shows(page, "slow", "long is done")
