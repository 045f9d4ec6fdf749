"""The Segment tab's answers to gestures, without a server or a model."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData

from core import images
from core import segment as task
from core.errors import InputError
from core.types import Masks, RunInfo
from demos import segment
from demos.canvas.component import PointPrompter
from demos.segment import picture as segment_picture
from demos.segment import session as segment_session
from demos.shell import picture as _picture
from demos.shell import result

INFO = RunInfo("net", "starter", "cpu", "fp32", {}, {})
PICTURE = images.Picture("d", (8, 10), lambda: np.full((8, 10, 3), 127, np.uint8))


def session() -> segment.Session:
    return segment.Session("a", "d")


def event(seq: int = 1) -> gr.EventData:
    one = {"id": 1, "rev": seq, "name": "Object 1", "color": "#3366cc", "points": [[1, 2, 1]]}
    data = {"picture": "a", "seq": seq, "gesture": "include", "active": 1}
    return gr.EventData(None, {**data, "objects": [one], "want": [1]})


def masks(count: int = 1) -> Masks:
    scores = np.linspace(0.9, 0.5, count, dtype="f4")
    names = ("largest", "middle", "smallest") if count == 3 else ()
    return Masks(np.ones((count, 8, 10), bool), scores, INFO, None, scores, names)


def prompt(state: segment.Session | None, what: gr.EventData) -> tuple[Any, ...]:
    return segment._prompt(PICTURE, "auto", 0, state, what)


def is_nothing(answer: tuple[Any, ...]) -> bool:
    return all(part == gr.skip() for part in answer)


def test_a_click_is_answered_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_session, "masks", lambda *_: masks(3))
    state = session()
    canvas, info = prompt(state, event())
    assert "Mask A (largest), 100.0% of the picture" in canvas["status"] and "net" in info
    (painted,) = canvas["masks"]
    assert painted["rev"] == 1 and [c["name"] for c in painted["choices"]] == [
        "A (largest)",
        "B (middle)",
        "C (smallest)",
    ]
    assert [one.points for one in state.objects()] == [[[1, 2, 1]]]


def test_an_answer_to_a_picture_that_was_changed_meanwhile_is_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    state = session()

    def slow(*_: object) -> Masks:
        segment_picture.left(None, "auto", 0, state)  # the visitor clears the picture
        return masks()

    monkeypatch.setattr(segment_session, "masks", slow)
    assert is_nothing(prompt(state, event()))
    assert is_nothing(prompt(state, event(2)))


def test_only_the_newest_of_overtaking_clicks_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    state = session()
    answers: list[Any] = []

    def overtaken(*_: object) -> Masks:
        if not answers:
            answers.append(None)
            answers[0] = prompt(state, event(2))
        return masks()

    monkeypatch.setattr(segment_session, "masks", overtaken)
    assert is_nothing(prompt(state, event(1)))
    assert answers[0][0]["masks"][0]["rev"] == 2


def test_nothing_stays_of_the_picture_before_one_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said = list[str]()
    monkeypatch.setattr(gr, "Warning", said.append)
    state = session()
    picture = _picture.PictureIn().preprocess(ImageData(path="/nowhere/a.png"))
    outputs = [PointPrompter(), gr.HTML(), gr.State(), gr.DownloadButton()]
    answer = result.Answer("segment", "Choose one.").answering(
        segment_picture.loading(outputs[3:]), outputs, True, segment_picture.left
    )
    for _ in range(2):
        ((line, canvas, info, kept, file),) = answer("1", "", picture, "auto", 0, state, None)
        assert canvas.props["picture"] is None and info == "" and kept is None and state.gone
        assert not file.interactive and 'role="alert"' in line
        assert "Please upload a picture file." in line
    assert said == ["Please upload a picture file."]


def test_what_the_encoder_refuses_is_said_on_the_canvas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gr, "Warning", lambda _: None)

    def refuse(*_: object) -> None:
        raise InputError("The picture is too narrow.")

    monkeypatch.setattr(task, "embed", refuse)
    *_, (canvas, info, kept) = segment_picture.load(PICTURE, "auto", 0, session())
    assert canvas["status"] == "The picture is too narrow." and info == ""
    assert kept == gr.skip()  # the prompts stay


def test_a_gesture_on_another_picture_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_session, "masks", lambda *_: masks())
    assert is_nothing(prompt(segment.Session("b", "e"), event()))


def test_a_forgotten_session_and_a_fault_are_said_on_the_canvas(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert prompt(None, event())[0]["status"] == segment.FORGOTTEN

    def broken(*_: object) -> Masks:
        raise RuntimeError("the secret path /home/anna")

    monkeypatch.setattr(segment_session, "masks", broken)
    said = prompt(session(), event())[0]["status"]
    assert said.startswith("Something went wrong") and "anna" not in said
