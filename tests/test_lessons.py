"""Every lesson is whole: its page, its code, its arguments; and those of Segment say what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from core import images, segment
from core.lessons import encoder_features, prompt_to_mask, which_click_helped
from core.sam.insight import ClickGain
from demos import discover, lessons_of
from demos.lessons import which_click_helped as click_view
from demos.segment.session import Session
from demos.shell import lesson, lesson_run, result
from demos.shell.lesson import Action, Lesson, NotYet, Show, Slider
from tests.live import EXAMPLES
from tests.test_segment_everything import gesture

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "demos" / "lessons").glob("[!_]*.py"))
LESSONS = [one for tab in discover() for one in lessons_of(tab.key)]
CLICKS = [[40, 30, 1], [60, 20, 0], [22.5, 48, 1]]


def ids(one: Lesson) -> str:
    return one.key


# --- every lesson ---


def test_every_file_is_a_lesson_of_a_tab():
    assert len(LESSONS) == len(FILES) >= 3
    assert len({one.key for one in LESSONS}) == len(LESSONS)


@pytest.mark.parametrize("one", LESSONS, ids=ids)
def test_a_lesson_has_a_page_of_one_screen_with_its_title(one):
    text = one.page.read_text("utf-8")
    assert text.startswith(f"# {one.title}\n")
    assert len(text.splitlines()) <= 60
    for part in ("What you see", "Why", "Try this", "Be careful"):
        assert f"**{part}.**" in text


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "learn").glob("*.md")), ids=str)
def test_every_page_belongs_to_a_lesson(page):
    assert page.stem in {one.key for one in LESSONS}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_view_has_its_work_in_core(file):
    assert (ROOT / "core" / "lessons" / file.name).is_file()


# --- the contract ---


def made(**fields: Any) -> Lesson:
    given = {"run": lambda picture: "", "shows": (Show("html", "a"),), **fields}
    return Lesson(key="one", title="One", tab="classify", about="", **given)


def test_a_function_that_asks_for_the_unknown_is_refused():
    with pytest.raises(TypeError, match=r"one: .* nose"):
        made(run=lambda picture, nose: "")
    with pytest.raises(TypeError, match="nose"):
        made(code=lambda nose: "")
    with pytest.raises(TypeError, match="nose"):
        made(controls=(Action("a", "A", lambda nose: ""),))
    with pytest.raises(TypeError, match="generator"):
        made(is_long=True)
    assert made(run=lambda level: "", controls=(Slider("level", "L", 0, 1, 0),)).needs


def answers(one: Lesson, *values: Any) -> list[tuple[Any, ...]]:
    return list(lesson_run.running(one, list(one.needs))({}, "1", *values))


def test_a_checkpoint_that_is_not_accepted_gets_the_sentence_and_no_run():
    def accepts(checkpoint: Any) -> str:
        return "" if checkpoint.tier == "starter" else f"{checkpoint.title} has no positions."

    one = made(accepts=accepts, run=lambda checkpoint: checkpoint)
    array = np.zeros((8, 8, 3), np.uint8)
    assert answers(one, array, "classify-starter") == [("", "classify-starter")]
    [(said, text)] = answers(one, array, "vit-tiny")
    assert "ViT-Ti/16 has no positions." in said and "alert" not in said and text == ""
    [(said, _)] = answers(one, array, "detr-r50")
    assert "alert" in said and "another task" in said
    assert answers(one_with_code(accepts), array, "vit-tiny")[0][-1] == (
        "# ViT-Ti/16 has no positions.\n"
    )
    assert answers(one_with_code(accepts), array, "classify-starter") == [
        ("", "", "print('classify-starter')\n")
    ]


def one_with_code(accepts: Any) -> Lesson:
    return made(accepts=accepts, code=lambda checkpoint: f"print({checkpoint!r})\n")


def test_arrays_and_pictures_are_one_for_a_lesson():
    one = made(run=lambda picture: picture.digest)
    array = np.zeros((8, 8, 3), np.uint8)
    assert answers(one, array, "auto") == answers(one, images.picture(array), "auto")
    [(said, _)] = answers(one, None, "auto")
    assert lesson_run.WAITING in said


def test_an_input_that_could_not_be_read_becomes_the_sentence():
    run = lesson_run.running(made(), ["picture", "checkpoint"])
    [(said, _)] = run(*[result.Refused("No such file.")] * 4)
    assert "No such file." in said and "alert" in said


def test_only_the_run_that_was_begun_last_answers():
    runs = lesson_run.Runs()
    first = runs.begin("1")
    assert runs.wants(first)
    second = runs.begin("1")
    assert runs.wants(second) and not runs.wants(first)
    runs.ask("2")  # another picture; its run waits in the queue
    assert not runs.wants(second)
    assert runs.wants(runs.begin("2"))
    for nonsense in ("", None, "x", "9" * 5000):
        runs.ask(nonsense)


def test_the_code_is_python_that_calls_the_lesson():
    text = lesson.code_of(encoder_features.look, "a'b.png", checkpoint="auto")
    compile(text, "code", "exec")
    assert "encoder_features.look(" in text and '"a\'b.png"' in text


# --- the lessons of Segment ---


def test_the_gains_are_those_of_segment_and_the_most_helpful_is_found(sam, picture):
    image = picture(90, 64)
    reference = segment.predict(image, CLICKS).masks[0]
    found = which_click_helped.measure(image, CLICKS, reference=reference)
    assert list(found.rows) == segment.click_gains(image, CLICKS, reference=reference)
    rows = (ClickGain(1, 0.9, None, 0.3, 0.3), ClickGain(2, 0.9, 0.5, 0.7, 0.4))
    assert which_click_helped.ClickGains(rows).most_helpful is rows[1]
    assert which_click_helped.measure(image, CLICKS).most_helpful is None
    worse = (ClickGain(1, 0.9, None, 0.0, 0.0), ClickGain(2, 0.9, 0.5, 0.0, 0.0))
    assert which_click_helped.ClickGains(worse).most_helpful is None
    chart = click_view.chart_html(which_click_helped.ClickGains(rows), ["Box", "Click 1"])
    assert "Click 1 helped most." in chart and "+0.40" in chart


def test_the_path_of_a_prompt_has_the_parts_of_segment(sam, picture):
    image = picture(90, 64)
    found = prompt_to_mask.trace(image, CLICKS)
    assert list(found.parts) == segment.parts(image, CLICKS)
    assert found.weights == sum(part.parameters for part in found.parts) > 0
    assert found.svg().count('id="part-') == len(found.parts)


def test_the_features_are_seen_without_another_pass(sam, picture, forwards):
    image = picture(90, 45)
    segment.embed(image)
    passes = len(forwards)
    found = encoder_features.look(image)
    assert len(forwards) == passes and found.info.cache["embedding"] == "hit"
    np.testing.assert_array_equal(found.colours, segment.embedding_picture(image))
    features, _ = segment.features(image)
    assert found.channels == features.shape[0]
    table = features.reshape(found.channels, -1).T.astype(float)
    singular = np.linalg.svd(table - table.mean(0), compute_uv=False) ** 2
    assert found.explained == pytest.approx(singular[:3] / singular.sum())
    assert encoder_features.explained(np.ones((2, 3, 4), np.float32)) == (0.0, 0.0)


def test_segments_lessons_wait_for_a_prompt_of_this_picture():
    array = np.asarray(Image.open(EXAMPLES / "coins.jpg").convert("RGB"))
    shown = images.picture(array)
    for session in (None, Session("a", "of another picture"), Session("a", shown.digest)):
        with pytest.raises(NotYet, match="Click an object"):
            click_view._run(shown, "segment-starter", session)


@pytest.mark.slow
def test_the_code_that_a_lesson_shows_runs_alone(tmp_path):
    """Each of Segment's in its own namespace, in one process: the imports take most of the time."""
    Image.open(EXAMPLES / "coins.jpg").save(tmp_path / "coins.png")
    shown = images.picture(tmp_path / "coins.png")
    session = Session("a", shown.digest)
    gesture(session, {"points": [[100, 100, 1], [70, 40, 0]]})
    values = {"picture": shown, "checkpoint": "segment-starter", "session": session, "smallest": 0}
    codes = []
    for one in lessons_of("segment"):
        assert one.code is not None
        code = one.code(**lesson.asked(one.code, values))
        codes.append(re.sub(r"'picture.png'", "'coins.png'", code))
    each = "import sys\nfor code in sys.argv[1:]:\n    exec(code, {}), print('=')"
    done = subprocess.run(
        [sys.executable, "-c", each, *codes],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "VISION_HUB_OFFLINE": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("=\n")
    assert len(said) == len(codes) + 1 and all(text.strip() for text in said[:-1])


def test_a_lesson_needs_what_its_tab_hands_over(monkeypatch):
    from demos.shell import lesson_view

    monkeypatch.setattr(
        lesson_view, "lessons_of", lambda tab: [made(needs=("session",), run=lambda session: "")]
    )
    with gr.Blocks(), pytest.raises(KeyError, match="session"):
        lesson_view.render("classify", gr.Image(), gr.Textbox())
