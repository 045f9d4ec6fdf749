"""The files of the guides work as they stand and cost what they say; the docs name what exists."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ("docs/adding-a-tab.md", "docs/adding-a-lesson.md")
PAGES = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", *GUIDES]
TAB = ("core/noise.py", "demos/noise.py", "tests/test_noise.py")  # only in the guides
LESSON = (
    "core/lessons/temperature.py",
    "demos/lessons/temperature.py",
    "tests/test_temperature.py",
)
LEARN = "docs/learn/temperature.md"
NEW = (*TAB, *LESSON)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the guides' files in it; nothing else is edited."""
    folder = tmp_path_factory.mktemp("clone")
    packages = ("core", "demos", "scale", "training", "benchmarks", "scripts", "vision_hub")
    for name in (*packages, "docs/learn"):
        # With its bytecode, which stays valid, but not what is being written.
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    (folder / "tests").mkdir()
    for name in ("app.py", "pyproject.toml", "tests/__init__.py", "tests/live.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("examples", "weights"):
        (folder / name).symlink_to(ROOT / name)
    for guide in GUIDES:
        for name, code in guide_files(guide).items():
            assert not (folder / name).exists(), name
            (folder / name).write_text(code, "utf-8")
    return folder


def guide_files(guide: str) -> dict[str, str]:
    """Path -> content, as the headings of a guide name them."""
    text = (ROOT / guide).read_text("utf-8")
    pattern = r"^## [^\n]*`([\w/]+\.(?:py|md))`\n.*?^```(?:python|markdown)\n(.*?)^```$"
    return dict(re.findall(pattern, text, re.MULTILINE | re.DOTALL))


def touched(folder: Path) -> set[str]:
    """The files of a copy that the repository has not, or has with other content."""
    files = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
    kept = {name for name in files if not {"__pycache__", ".mypy_cache"} & set(name.parts)}
    return {
        name.as_posix()
        for name in kept
        if not (ROOT / name).is_file() or (ROOT / name).read_bytes() != (folder / name).read_bytes()
    }


def run(folder: Path, *arguments: str) -> None:
    settings = {k: v for k, v in os.environ.items() if not k.startswith("VISION_HUB_")}
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env={**settings, "VISION_HUB_OFFLINE": "1", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_a_tab_and_a_lesson_cost(clone: Path):
    """Three files each, and for a lesson the page that one reads; the tests below run them."""
    assert tuple(guide_files(GUIDES[0])) == TAB
    assert tuple(guide_files(GUIDES[1])) == (*LESSON, LEARN)
    assert touched(clone) == {*NEW, LEARN}


@pytest.mark.slow
def test_the_guides_code_passes_its_own_tests_and_those_of_all_lessons(clone: Path):
    for name in (
        "test_lessons.py",
        "test_segment_everything.py",
        "conftest.py",
        "nets.py",
        "sams.py",
    ):
        shutil.copy(ROOT / "tests" / name, clone / "tests")
    run(
        clone,
        "pytest",
        "-p",
        "no:cacheprovider",
        *(TAB[-1], LESSON[-1], "tests/test_lessons.py"),
        "-k",
        "test_noise or test_temperature or lesson_has or page",
    )


def test_the_guides_code_passes_the_linter(clone: Path):
    run(clone, "ruff", "check", "--no-cache", *NEW)
    run(clone, "ruff", "format", "--no-cache", "--check", *NEW)


def test_the_guides_code_keeps_to_the_layers(clone: Path):
    shutil.copy(ROOT / "tests" / "test_architecture.py", clone / "tests")
    exact = "tests/test_architecture.py::test_every_room_exists"  # it lists today's tasks
    run(
        clone, "pytest", "-p", "no:cacheprovider", "tests/test_architecture.py", "--deselect", exact
    )


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str):
    text = (ROOT / page).read_text("utf-8")
    named = re.findall(r"`((?:[\w.-]+/)+(?:[\w.-]+\.\w+)?|[A-Z]\w+\.(?:md|txt))`", text)
    for name in named:
        if name not in (*NEW, LEARN):
            assert (ROOT / name).exists(), name


@pytest.mark.parametrize("page", PAGES)
def test_named_functions_exist(page: str):
    text = (ROOT / page).read_text("utf-8")
    for name in re.findall(r"`((?:core|demos)\.[\w.]+?)`", text):
        module, found = name.split("."), None
        for cut in range(len(module), 0, -1):
            try:
                found = importlib.import_module(".".join(module[:cut]))
            except ModuleNotFoundError:
                continue
            for part in module[cut:]:
                found = getattr(found, part)
            break
        assert found is not None, name


def test_the_layers_list_every_room():
    """The block in architecture.md names every folder of core and of demos."""
    block = (ROOT / "docs/architecture.md").read_text("utf-8").split("```")[1]
    rooms = [file.parent for top in ("core", "demos") for file in (ROOT / top).rglob("__init__.py")]
    assert len(rooms) > 15
    for room in rooms:
        assert f"{room.name}/" in block, room
