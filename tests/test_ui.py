"""What the tabs share, and the Segment tab's handlers, without a server or a model."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr
import numpy as np
import pytest

import app
from core.errors import InputError
from core.settings import get_settings
from core.types import Masks, RunInfo
from demos import _api, _ui, classify, segment

GREY = np.full((8, 10, 3), 127, np.uint8)
INFO = RunInfo("net", "starter", "cpu", "fp32", {}, {})


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    for name in ("HOST", "PORT", "AUTH", "SHARE"):
        monkeypatch.delenv(name, raising=False)
    get_settings.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    get_settings.cache_clear()


def session_and_event(seq: int = 1) -> tuple[segment.Session, gr.EventData]:
    state = {"id": "a", "digest": "d", "gesture": None, "newest": 0, "choice": 0}
    data = {"picture": "a", "seq": seq, "points": [[1, 2, 1]], "box": None}
    return state, gr.EventData(None, data)


def masks(count: int = 1) -> Masks:
    return Masks(np.ones((count, 8, 10), bool), np.linspace(0.9, 0.5, count, dtype="f4"), INFO)


def is_nothing(answer: tuple[object, ...]) -> bool:
    return all(part == gr.skip() for part in answer)


def test_sizes_are_written_as_people_write_them():
    assert "2565 MB" in _ui.describe("sam-vit-h", "segment")
    assert not any("e+" in title for title, _ in _ui._choices("segment"))


def test_an_unforeseen_error_shows_no_more_than_one_sentence():
    def broken() -> None:
        raise RuntimeError("the secret path /home/anna")

    with pytest.raises(gr.Error) as caught:
        _ui.guarded(broken)()
    assert "anna" not in caught.value.message and caught.value.message.endswith(".")


def test_null_in_a_call_is_the_default_and_numbers_are_numbers():
    seen = []

    def task(image, checkpoint="auto", top_k=5, sigma=None):
        seen.append((checkpoint, top_k, sigma))

    call = _api._checked(task, ("image", "text", "number", "number"))
    call(GREY, None, None, None)
    assert seen == [("auto", 5, None)]
    for wrong in (float("nan"), float("inf"), "3", [1], True):
        with pytest.raises(InputError, match="top_k must be a number"):
            call(GREY, "auto", wrong, None)


def test_a_call_without_a_picture_says_so():
    with pytest.raises(gr.Error, match="picture"):
        _ui.guarded(classify.classify)(None)


def test_points_that_are_no_list_are_refused():
    with pytest.raises(InputError, match="list"):
        segment.segment(GREY, points=5)


def test_a_click_is_answered_and_kept(monkeypatch):
    state, event = session_and_event()
    monkeypatch.setattr(segment, "_masks", lambda *_: masks(3))
    canvas, _, radio = segment._prompt(GREY, "auto", state, event)
    assert canvas["seq"] == 1 and canvas["mask"] and "Mask of 100.0%" in canvas["status"]
    assert len(radio.choices) == 3 and state["gesture"] == event._data


def test_an_answer_to_a_picture_that_was_changed_meanwhile_is_dropped(monkeypatch):
    state, event = session_and_event()

    def slow(*_: object) -> Masks:
        next(segment._load(None, "auto", state))  # the visitor clears the picture
        return masks()

    monkeypatch.setattr(segment, "_masks", slow)
    assert is_nothing(segment._prompt(GREY, "auto", state, event))
    late = session_and_event(2)[1]
    assert is_nothing(segment._prompt(GREY, "auto", state, late))


def test_only_the_newest_of_overtaking_clicks_is_answered(monkeypatch):
    state, first = session_and_event(1)
    second = session_and_event(2)[1]
    answers = []

    def overtaken(*_: object) -> Masks:
        if not answers:
            answers.append(None)
            answers[0] = segment._prompt(GREY, "auto", state, second)
        return masks()

    monkeypatch.setattr(segment, "_masks", overtaken)
    assert is_nothing(segment._prompt(GREY, "auto", state, first))
    assert answers[0][0]["seq"] == 2


def test_a_forgotten_session_and_a_fault_are_said_on_the_canvas(monkeypatch):
    state, event = session_and_event()
    assert segment._prompt(GREY, "auto", None, event)[0]["status"] == segment.FORGOTTEN

    def broken(*_: object) -> Masks:
        raise RuntimeError("the secret path /home/anna")

    monkeypatch.setattr(segment, "_masks", broken)
    said = segment._prompt(GREY, "auto", state, event)[0]["status"]
    assert said.startswith("Something went wrong") and "anna" not in said


def test_without_host_the_address_is_left_to_gradio(environment):
    class Page:
        def launch(self, **options: object) -> dict[str, object]:
            return options

    assert app.launch(Page())["server_name"] is None  # Spaces set GRADIO_SERVER_NAME
    environment.setenv("HOST", "0.0.0.0")
    get_settings.cache_clear()
    assert app.launch(Page())["server_name"] == "0.0.0.0"


def test_a_wrong_setting_is_named_and_no_password_shown(environment):
    environment.setenv("PORT", "many")
    environment.setenv("AUTH", "onlysecret")
    with pytest.raises(SystemExit) as caught:
        app.main()
    assert "PORT" in str(caught.value) and "AUTH" in str(caught.value)
    assert "onlysecret" not in str(caught.value)
