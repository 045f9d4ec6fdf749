"""Everything mode on the Segment tab: what it leaves behind, and what a picked mask becomes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

from core import images
from core.errors import InputError
from core.imaging import coco
from core.sources import resolver
from demos.canvas.gestures import parse_gesture
from demos.lessons import which_click_helped
from demos.segment import everything, files
from demos.segment import session as _segment_session
from demos.segment.session import Session

pytestmark = pytest.mark.usefixtures("stock_layers")

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "coins.jpg"
OWN = (True, 0.0, 0.0)  # the checkpoint's thresholds


@pytest.fixture(scope="module")
def picture() -> images.Picture:
    return images.picture(EXAMPLE)


def run(picture: images.Picture, session: Session, side: int = 6) -> Any:
    return everything._run(picture, "segment-starter", session, side, 0, *OWN)


@pytest.fixture
def done(picture: images.Picture) -> tuple[Session, list[Any]]:
    session = Session("a", picture.digest)
    return session, list(run(picture, session))


def gesture(session: Session, *objects: dict[str, Any]) -> None:
    every = [
        {"id": i, "rev": i, "name": f"Object {i}", "color": "#3366cc", "points": [], **one}
        for i, one in enumerate(objects, 1)
    ]
    data = {"picture": session.id, "seq": 1, "gesture": "pick", "active": len(every)}
    session.note(parse_gesture({**data, "objects": every, "want": []}))


def pick(session: Session, x: int, y: int) -> str:
    """The key of the mask that was picked."""
    told = everything._pick(session, gr.EventData(None, {"picture": session.id, "x": x, "y": y}))
    assert told
    return list(session.given)[-1]


def inside(session: Session) -> tuple[int, int]:
    y, x = np.argwhere(session.found[0].mask)[0]
    return int(x), int(y)


def test_the_download_is_a_coco_data_set(done: tuple[Session, list[Any]]) -> None:
    from pycocotools.coco import COCO

    session, told = done
    file = Path(
        told[-1][2].value["path"] if isinstance(told[-1][2].value, dict) else told[-1][2].value
    )
    data = COCO(str(file))
    found = data.loadAnns(data.getAnnIds())
    assert len(found) == len(session.found) > 0
    for row, mask in zip(found, session.found, strict=True):
        np.testing.assert_array_equal(data.annToMask(row).astype(bool), mask.mask)


def test_it_ends_when_another_picture_takes_the_place(picture: images.Picture) -> None:
    session = Session("a", picture.digest)
    steps = run(picture, session, side=12)
    next(steps), next(steps)
    session.gone = True
    canvas, line, button = next(steps)
    assert canvas == gr.skip() and line == "" and not button.interactive
    with pytest.raises(StopIteration):
        next(steps)


def test_after_cancel_what_was_found_can_be_picked_and_taken_away(picture: images.Picture) -> None:
    session = Session("a", picture.digest)
    steps = run(picture, session, side=12)
    while not session.found:
        next(steps)
    steps.close()
    canvas, line, button = everything._cancelled(picture, session)
    assert f"Cancelled. The {len(session.found)} mask" in line
    assert canvas.value["everything"] is False
    assert button.interactive and canvas != gr.skip()
    assert everything._cancelled(picture, session) == (gr.skip(),) * 3  # it is over


def test_a_cancelled_run_ends_at_its_next_step_and_tells_nothing_more(
    picture: images.Picture,
) -> None:
    session = Session("a", picture.digest)
    steps = run(picture, session, side=12)
    next(steps), next(steps)
    everything._cancelled(picture, session)  # as where the page lost sight of the run
    assert list(steps) == []


def test_own_thresholds_begin_with_those_of_the_checkpoint() -> None:
    hidden = everything._defaults(True, "segment-starter")
    assert [one.visible for one in hidden] == [False, False, False]
    shown = everything._defaults(False, "segment-starter")
    assert [(one.visible, one.value) for one in shown] == [(True, 0.2), (True, 0.3), (True, True)]


def test_cancel_after_the_end_changes_nothing(
    done: tuple[Session, list[Any]], picture: images.Picture
) -> None:
    assert everything._cancelled(picture, done[0]) == (gr.skip(),) * 3


def test_one_mask_does_not_become_two_objects(done: tuple[Session, list[Any]]) -> None:
    session, _ = done
    x, y = inside(session)
    gesture(session, {"given": pick(session, x, y)})
    with pytest.raises(InputError, match="is already Object 1"):
        pick(session, x, y)


def test_code_of_a_picked_mask_makes_it_again(
    done: tuple[Session, list[Any]], picture: images.Picture, tmp_path: Path, monkeypatch: Any
) -> None:
    session, _ = done
    key = pick(session, *inside(session))
    gesture(session, {"given": key})
    texts = files._code(picture, "segment-starter", 0, session)
    monkeypatch.chdir(tmp_path)
    images.save_png(picture.load(), tmp_path / "picture.png")
    (tmp_path / "segment-starter.safetensors").symlink_to(
        resolver.resolve("segment-starter", "segment").path
    )
    for text in texts:
        names: dict[str, Any] = {}
        exec(compile(text, "copied.py", "exec"), names)
        np.testing.assert_array_equal(names["mask"], session.given[key].mask)
    with_files = files._files(picture, "segment-starter", 0, session)
    assert any(name.endswith("objects.zip") for name in with_files)


def test_code_of_a_picked_mask_names_the_checkpoint_of_its_run(
    done: tuple[Session, list[Any]], picture: images.Picture
) -> None:
    session, _ = done
    gesture(session, {"given": pick(session, *inside(session))})
    shown = files._code(picture, "segment-starter", 0, session)
    assert all("segment-starter" in text for text in shown)
    assert files._code(picture, "sam-vit-b", 0, session) == shown


def test_without_a_mask_the_line_says_what_to_do(picture: images.Picture) -> None:
    session = Session("a", picture.digest)
    *_, last = everything._run(picture, "segment-starter", session, 4, 0, False, 1.0, 1.0)
    assert "0 masks: lower the thresholds" in last[1]
    assert last[0].props["segments"] is None  # nothing to pick from


def test_excluding_alone_is_said_and_makes_no_object(picture: images.Picture) -> None:
    session = Session("a", picture.digest)
    gesture(session, {"points": [[5, 5, 0]]}, {"points": [[5, 5, 0], [60, 60, 1]]})
    assert [one.id for one in session.objects()] == [2]
    assert session.gesture is not None
    settings = _segment_session.settings_of(picture, "segment-starter", 0)
    with pytest.raises(InputError, match="Nothing is included yet"):
        _segment_session.masks(picture, session, settings, session.gesture.objects[0])


def test_scores_are_shown_as_the_shares_that_they_are() -> None:
    assert "guess: IoU 1.00," in _segment_session.describe(np.ones((2, 2), bool), 1.12, 0.9)


def test_document_of_the_endpoint_stays(done: tuple[Session, list[Any]]) -> None:
    found = done[0].found
    made = coco.document(found, [mask.score for mask in found], (160, 120))
    assert json.loads(json.dumps(made))["image_size"] == [160, 120]


def test_a_mask_made_on_the_canvas_is_a_reference(picture: images.Picture) -> None:
    session = Session("a", picture.digest)
    gesture(session, {"points": [[40, 30, 1], [70, 40, 0]]})
    said = which_click_helped._take(picture, "segment-starter", 0, session)
    assert "Object 1 is now the reference" in said
    assert which_click_helped.LESSON.controls[1].clears == ("reference",)  # the newest one counts
    chart = which_click_helped._run(picture, "segment-starter", session)
    last = re.findall(r'cell-number">([0-9.]+)', chart)[-1]
    assert "True IoU" in chart and last == "1.00"  # the prompts that made it lead back to it
    drawn = np.zeros((*picture.size, 3), np.uint8)
    drawn[:5, :5] = 255
    chart = which_click_helped._run(picture, "segment-starter", session, drawn)
    assert float(re.findall(r'cell-number">([0-9.]+)', chart)[-1]) < 0.5  # a loaded one goes first
