"""The private names of Gradio that we use are there, and the start names those that are not."""

from __future__ import annotations

import ast
from pathlib import Path

import gradio as gr
import pytest
from gradio import queueing, state_holder
from packaging.requirements import Requirement

from demos import _page
from demos.gradio_patches import check
from tests.conftest import in_a_new_process

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def page():
    return _page.build()


def test_nothing_is_missing(page):
    check.check()
    check.check(page)


def test_every_planted_name_is_named(page, monkeypatch):
    known = check.USED["demos/gradio_patches/queue.py"]
    planted = ("queue.no_such_name", "event._nor_this", "nowhere.at_all", "page.nor_here")
    monkeypatch.setitem(check.USED, "demos/gradio_patches/queue.py", (*known, *planted))
    with pytest.raises(RuntimeError, match=gr.__version__) as caught:
        check.check(page)
    assert all(f"{name} (demos/gradio_patches/queue.py)" in str(caught.value) for name in planted)
    assert not any(f" {name} " in str(caught.value) for name in known)


def test_names_that_gradio_drops_are_named(page, monkeypatch):
    monkeypatch.delattr(queueing.Queue, "clean_events")
    monkeypatch.delattr(queueing, "Event")
    monkeypatch.delattr(state_holder.SessionState, "_update_config")
    with pytest.raises(RuntimeError) as caught:
        check.check(page)
    for name in ("queue.clean_events", "queueing.Event", "event.alive", "session_hash"):
        assert name in str(caught.value)
    assert "state_holder.SessionState._update_config (demos/gradio_patches/sessions.py)" in str(
        caught.value
    )


def test_imports_from_inside_gradio_are_listed():
    """Those of modules that Gradio's documentation does not name."""
    used = {name for names in check.USED.values() for name in names}
    listed = {".".join(name.split(".")[:2]) for name in used}
    missing = []
    for path in (ROOT / "demos").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradio."):
                module = str(node.module).split(".", 1)[1]
                missing += [f"{module}.{one.name}" for one in node.names]
    assert missing
    assert [name for name in missing if name not in {*listed, "utils.get_upload_folder"}] == []


def test_only_this_minor_version_is_installed():
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    wanted = Requirement(next(line for line in lines if line.startswith("gradio=")))
    assert wanted.specifier.contains("6.31.5") and not wanted.specifier.contains("6.32.0")


def test_the_start_names_all_that_is_missing_and_not_the_first_alone():
    code = (
        "from gradio import queueing, state_holder\n"
        "del queueing.Event, state_holder.StateHolder\n"
        "import app\n"
    )
    done = in_a_new_process(code)
    assert done.returncode == 1
    said = done.stderr.strip().splitlines()[-1]
    assert "queueing.Event (" in said and "state_holder.StateHolder (" in said, done.stderr
