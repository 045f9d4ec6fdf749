"""Copied code in an empty folder, by a Python that does not know this project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from core import segment
from demos.canvas.gestures import parse_gesture
from demos.segment import everything
from demos.segment import files as segment_files
from demos.segment import session as _segment_session
from demos.segment.session import Session
from demos.server import files
from demos.shell.picture import PictureIn

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("stock_layers")]
ROOT = Path(__file__).resolve().parent.parent
CLICK = {"points": [[160, 130, 1]]}


def visit(name: str, mode: str = "RGB") -> tuple[Any, Session, Path]:
    """A picture under a visitor's name, as the page gets it, with one click on it."""
    file = files.result_path("upload.png")
    picture = Image.open(ROOT / "examples" / "coins.jpg").convert(mode)
    if mode == "RGBA":
        alpha = np.full(picture.size[::-1], 255, np.uint8)
        alpha[:, :90] = 0
        picture.putalpha(Image.fromarray(alpha))
    picture.save(file)
    taken = PictureIn().preprocess(ImageData(path=str(file), orig_name=name))
    session = Session("a", taken.digest)
    gesture(session, CLICK)
    return taken, session, file


def gesture(session: Session, one: dict[str, Any], choice: int | None = None) -> None:
    thing = {"id": 1, "rev": 1, "name": "Coin", "color": "#3366cc", "points": [], **one}
    number = 1 if session.gesture is None else session.gesture.seq + 1
    data = {"picture": session.id, "seq": number, "gesture": "include", "active": 1, "want": [1]}
    session.note(parse_gesture({**data, "objects": [{**thing, "choice": choice}]}))


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "copied.py").write_text(text, "utf-8")
    known = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return start(folder, known)


def start(folder: Path, known: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "copied.py"]
    return subprocess.run(
        command, check=False, cwd=folder, env=known, capture_output=True, text=True
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one, from which this project cannot be imported."""
    made = tmp_path / "empty"
    made.mkdir()
    probe = run("import core", made)
    if probe.returncode == 0:
        pytest.skip("this project is installed in the Python that runs the tests")
    (made / "copied.py").unlink()
    return made


ASKED = [("photo.png", "RGB", None), ("우리 집 고양이's.png", "RGBA", 2)]


@pytest.mark.parametrize(("name", "mode", "choice"), ASKED)
def test_the_code_of_the_library_runs_as_pasted(
    folder: Path, name: str, mode: str, choice: int | None
) -> None:
    picture, session, file = visit(name, mode)
    gesture(session, CLICK, choice)
    state = (picture, "segment-starter", 0.0, session)
    _, plain = segment_files._code(*state)
    assert repr(name) in plain
    missing = run(plain, folder)
    assert missing.returncode == 1 and f"{name} is not here" in missing.stderr
    (folder / name).write_bytes(file.read_bytes())
    assert "Traceback" not in missing.stderr
    button = segment_files._weights(plain, *state)
    given = Path(button.value["path"] if isinstance(button.value, dict) else button.value)
    (folder / "segment-starter.safetensors").write_bytes(given.read_bytes())
    done = run(plain, folder)
    assert done.returncode == 0, done.stderr
    settings = _segment_session.settings_of(picture, "segment-starter", 0)
    assert session.gesture is not None
    shown, *_ = segment_files.full_mask(picture, session, settings, session.gesture.objects[0])
    with Image.open(folder / "mask.png") as made:
        np.testing.assert_array_equal(np.asarray(made) > 0, shown)


def test_so_does_that_of_a_mask_of_everything_mode(folder: Path) -> None:
    picture, session, file = visit("coins of mine.png")
    list(everything._run(picture, "segment-starter", session, 6, 0, True, 0.0, 0.0))
    y, x = np.argwhere(session.found[0].mask)[0]
    data = {"picture": session.id, "x": int(x), "y": int(y)}
    everything._pick(session, gr.EventData(None, data))
    (key,) = session.given
    gesture(session, {"given": key})
    _, plain = segment_files._code(picture, "segment-starter", 0, session)
    (folder / "coins of mine.png").write_bytes(file.read_bytes())
    weights = ROOT / "weights" / "segment-starter.safetensors"
    (folder / weights.name).write_bytes(weights.read_bytes())
    done = run(plain, folder)
    assert done.returncode == 0, done.stderr
    with Image.open(folder / "mask.png") as made:
        np.testing.assert_array_equal(np.asarray(made) > 0, session.given[key].mask)


def test_the_code_with_core_needs_core_and_the_picture_alone(folder: Path) -> None:
    picture, session, file = visit("photo.png")
    ours, _ = segment_files._code(picture, "segment-starter", 0, session)
    assert ours.startswith("# Needs: Vision Hub's core package")
    (folder / "photo.png").write_bytes(file.read_bytes())
    known = {**os.environ, "PYTHONPATH": str(ROOT), "VISION_HUB_PRECISION": "fp32"}
    (folder / "copied.py").write_text(ours, "utf-8")
    done = start(folder, known)
    assert done.returncode == 0, done.stderr
    found = segment.predict(str(file), CLICK["points"], checkpoint="segment-starter", refine=0)
    with Image.open(folder / "mask.png") as made:
        overlap = (np.asarray(made) > 0) & found.masks[0]
    assert np.count_nonzero(overlap) > 0.99 * np.count_nonzero(found.masks[0])


@pytest.mark.parametrize("checkpoint", ["auto", "segment-starter"])
def test_the_weights_of_a_starter_alone_are_given_away(checkpoint: str, tmp_path: Path) -> None:
    picture, session, _ = visit("photo.png")
    button = segment_files._weights("import", picture, checkpoint, 0, session)
    assert button.interactive
    said = segment_files._weights("# Click first.", picture, checkpoint, 0, session)
    assert not said.interactive
