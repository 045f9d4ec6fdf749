"""A checkpoint of a known architecture costs one line; and every task says what others ask of it.

What a tab and a lesson cost is measured in `test_docs.py`, where their files are run.
"""

from __future__ import annotations

import difflib
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from core.checkpoints import CATALOGUE, TASK_SPECS
from core.start import agreement
from tests.conftest import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
LINE = (
    '    Checkpoint("deit-tiny", "classify", "timm", "timm/deit_tiny_patch16_224.fb_in1k", '
    '_APACHE, "DeiT-Ti/16", "model.safetensors", size_mb=22.9, params_m=5.7, gmacs=1.3, '
    'arch="deit_tiny_patch16_224.fb_in1k"),\n'
)
LOADED = """
import numpy, timm
from pathlib import Path
from safetensors.torch import save_file
from core import classify
from core.checkpoints import by_key
from core.serving import runtime
from core.sources import resolver

key = "deit-tiny"
assert key in {row["key"] for row in resolver.listing()}
found = resolver.find(key, "classify")
model = timm.create_model(found.arch)
path = Path("model.safetensors")
save_file(model.state_dict(), path)
resolver.resolve = lambda *_, **__: resolver.Resolved(found, "full", path.resolve())
answer = classify.predict(numpy.full((64, 64, 3), 99, numpy.uint8), key)
assert answer.info.checkpoint == key and len(answer.labels) == 5, answer
print("loaded")
"""


def run(folder: Path, *arguments: str) -> str:
    settings = {k: v for k, v in os.environ.items() if not k.startswith("VISION_HUB_")}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**settings, "VISION_HUB_OFFLINE": "1", "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code whose catalogue has one line more."""
    folder = tmp_path_factory.mktemp("clone")
    # Bytecode stays valid, but for what is being written.
    hidden = shutil.ignore_patterns("published_keys", "*.pyc.*")
    for name in ("core", "demos", "benchmarks", "scripts", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=hidden)
    for name in ("weights", "examples"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "pyproject.toml", folder)
    catalogue = folder / "core" / "checkpoints.py"
    before = catalogue.read_text("utf-8")
    catalogue.write_text(before.replace("    # Detect\n", f"{LINE}    # Detect\n"), "utf-8")
    changes = difflib.ndiff(before.splitlines(), catalogue.read_text("utf-8").splitlines())
    assert [line for line in changes if line[0] in "+-"] == [f"+ {LINE.rstrip()}"]
    return folder


@pytest.mark.slow
def test_a_line_more_is_listed_and_loaded_by_its_key(clone: Path) -> None:
    assert "deit-tiny" not in {c.key for c in CATALOGUE}
    assert "loaded" in run(clone, "-c", LOADED)


@pytest.mark.slow
def test_a_line_more_is_tested_without_a_new_test(clone: Path) -> None:
    arguments = ("-m", "pytest", "-p", "no:cacheprovider", "tests/test_checkpoints.py")
    said = run(clone, *arguments, "-vv", "-k", "deit-tiny")
    for test in ("an_entry_is_complete", "a_full_entry_says", "timm_knows_the_same_model"):
        assert test in said
    assert "3 passed" in said


@pytest.mark.parametrize("task", TASK_SPECS)
def test_a_task_names_what_is_there(task) -> None:
    spec = TASK_SPECS[task]
    module = importlib.import_module(f"core.{spec.module}")
    assert callable(getattr(module, spec.warm or task, None))
    assert (task in agreement._TASKS) == spec.half
    starters = {c.loader for c in CATALOGUE if c.task == task and c.tier == "starter"}
    assert starters == {spec.loader}


def test_every_module_is_warmed_once() -> None:
    warmed = [spec.module for spec in TASK_SPECS.values() if spec.warm]
    assert sorted(warmed) == sorted({spec.module for spec in TASK_SPECS.values()})
