"""The files of docs/adding-a-tab.md work as they stand, and the docs name what exists."""

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
PAGES = ["README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/adding-a-tab.md"]
GUIDE = (ROOT / "docs" / "adding-a-tab.md").read_text("utf-8")
NEW = ("core/noise.py", "demos/noise.py", "tests/test_noise.py")  # only in the guide


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with the guide's files in it; nothing else is edited."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("core", "demos", "training", "benchmarks", "scripts", "vision_hub"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tests").mkdir()
    for name in ("app.py", "pyproject.toml", "tests/__init__.py", "tests/live.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("examples", "weights"):
        (folder / name).symlink_to(ROOT / name)
    for name, code in guide_files().items():
        assert not (folder / name).exists(), name
        (folder / name).write_text(code, "utf-8")
    return folder


def guide_files() -> dict[str, str]:
    """Path -> code, as the headings of the guide name them."""
    pattern = r"^## [^\n]*`([\w/]+\.py)`\n.*?^```python\n(.*?)^```$"
    return dict(re.findall(pattern, GUIDE, re.MULTILINE | re.DOTALL))


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


def test_the_guide_has_three_files():
    assert tuple(guide_files()) == NEW


@pytest.mark.slow
def test_the_guides_tab_passes_its_own_tests(clone: Path):
    run(clone, "pytest", "-p", "no:cacheprovider", "tests/test_noise.py")


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
        if name not in NEW:
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
