"""The folder of a Space: what is in it, what it installs, and its upload to a local hub."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import HfApi, constants
from packaging.markers import default_environment
from packaging.requirements import Requirement

from core import checkpoints
from scripts import space
from tests import space_server
from tests.test_packaging import ROOT, requirements

TO = "anna/vision"
# of the hub's client, which sends the files
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return space.assemble(tmp_path_factory.mktemp("build") / "space")


@pytest.fixture(scope="module")
def front(folder: Path) -> dict[str, Any]:
    nothing, front, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    assert nothing == ""
    assert body.lstrip().startswith("# Vision Hub")
    return dict(yaml.safe_load(front))


def test_front_matter(front: dict[str, Any], folder: Path):
    assert front["title"] and front["sdk"] == "gradio" and front["license"] == "apache-2.0"
    assert (folder / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60
    assert not front["emoji"].isascii()
    colours = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert {front["colorFrom"], front["colorTo"]} <= colours


def test_the_front_matter_is_in_one_place():
    assert (ROOT / "README.md").read_text("utf-8").startswith("# Vision Hub")


def test_python_is_one_that_zerogpu_has(front: dict[str, Any]):
    """As its documentation listed them; a number that YAML reads as a float would lose digits."""
    assert front["python_version"] in ("3.10.13", "3.12.12")
    assert space.MACHINE["python_full_version"] == front["python_version"]


def test_every_task_is_preloaded_where_its_licence_allows(front: dict[str, Any]):
    lines = [line.split() for line in front["preload_from_hub"]]
    files = {(name, file) for name, some, *_ in lines for file in some.split(",")}
    revisions = {name: rest[0] if rest else None for name, _, *rest in lines}
    for task, scale in checkpoints.RECOMMENDED:
        best = checkpoints.recommended(task, on_gpu=False, scale=scale)[0]
        if best.non_commercial:
            assert task == "reconstruct" and best.source not in revisions
            continue
        assert revisions[best.source] == best.revision
        assert {(best.source, f) for f in (*best.extra_files, best.filename)} <= files
    named = {c.source for c in checkpoints.CATALOGUE if c.tier == "full"}
    assert set(front["models"]) <= named


def pins(folder: Path) -> dict[str, Requirement]:
    lines = (folder / "requirements.txt").read_text("utf-8").splitlines()
    return {r.name: r for r in map(Requirement, lines)}


def test_what_is_installed_was_tested(folder: Path, front: dict[str, Any]):
    """Everything in the tested version, or in a window that contains versions of it."""
    found = pins(folder)
    assert str(found["gradio"].specifier) == f"=={front['sdk_version']}"
    direct = {r.name.replace("_", "-"): r for r in requirements("requirements.txt")}
    assert set(direct) <= set(found)
    assert "starlette" in found and "anyio" in found and "pytest" not in found
    for name, requirement in found.items():
        if name in space.FREE:
            assert str(requirement.specifier) != ""
        else:
            (pin,) = requirement.specifier
            assert pin.operator == "=="
            if name in direct:
                assert direct[name].specifier.contains(pin.version)


def test_the_builds_of_zerogpu_and_of_gradio_have_room(folder: Path):
    """ZeroGPU chooses one of its versions of torch; gradio[mcp] wants an older pydantic."""
    found = pins(folder)
    for version in ("2.8.0", "2.9.1", "2.10.0", "2.11.0"):
        assert found["torch"].specifier.contains(version)
    assert not found["torch"].specifier.contains("2.12.0")
    assert found["pydantic"].specifier.contains("2.12.5")
    assert "pydantic-core" not in found and "triton" not in found
    wanted = next(r for r in requirements("requirements.txt") if r.name == "torch")
    assert wanted.specifier.contains("2.8.0")


def test_versions_for_another_python_are_left_out(folder: Path):
    environment = {**default_environment(), **space.MACHINE}
    for requirement in requirements("constraints.txt"):
        if requirement.marker and not requirement.marker.evaluate(environment):
            chosen = pins(folder).get(requirement.name)
            assert chosen is None or chosen.specifier != requirement.specifier


def test_the_folder_holds_what_runs_and_no_history(folder: Path):
    for name in ("app.py", "core/checkpoints.py", "demos/style.css", "weights", "NOTICE"):
        assert (folder / name).exists(), name
    names = {path.name for path in folder.rglob("*")}
    assert not names & {".git", "tests", "training", "__pycache__", "constraints.txt", ".gitignore"}
    for path in (ROOT / "core").rglob("*.py"):
        assert (folder / path.relative_to(ROOT)).is_file(), path


def test_assembling_again_leaves_nothing_of_before(tmp_path: Path):
    (tmp_path / "old.txt").write_text("from before")
    space.assemble(tmp_path)
    assert not (tmp_path / "old.txt").exists()


@pytest.mark.parametrize("way", ["xet", "lfs"])
def test_an_upload_makes_the_space_equal_to_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
):
    """Through the real client: first a new Space, then one that has a file too many."""
    if way == "xet":
        pytest.importorskip("hf_xet")
        monkeypatch.setenv("HF_XET_TELEMETRY_ENABLED", "0")
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", way == "lfs")
    local = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    with space_server.serve() as hub:
        hub.store = str(tmp_path)
        api = HfApi(hub.url, token="hf_secret")
        assert space.upload(folder, TO, "zero-a10g", api) == f"{hub.url}/spaces/{TO}"
        made = hub.made[TO]
        assert (made["type"], made["sdk"], made["hardware"]) == ("space", "gradio", "zero-a10g")
        assert set(hub.files[TO]) == set(local)
        hub.files[TO]["left-over.txt"] = b"x"
        space.upload(folder, TO, api=api)
        assert set(hub.files[TO]) == set(local)
        assert hub.tokens == {"Bearer hf_secret"}
        for name in ("app.py", "README.md", "weights/deblur-starter.safetensors"):
            sent, kept = hub.files[TO][name], local[name].read_bytes()
            assert sent == (space_server.digest(kept) if way == "xet" and name[0] == "w" else kept)
    stored = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    weights = sum(p.stat().st_size for n, p in local.items() if n.endswith(space_server.LARGE))
    assert (stored > 0.9 * weights) == (way == "xet")


def test_a_refused_upload_gets_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with space_server.serve() as hub:
        hub.refuses = True
        monkeypatch.setattr(space, "assemble", lambda: folder)
        monkeypatch.setattr(space, "HfApi", lambda: HfApi(hub.url, token="hf_wrong"))
        assert space.main([TO]) == 1
    said = capsys.readouterr().err
    assert "The upload failed" in said and "hf auth login" in said


def test_a_dry_run_sends_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(space, "assemble", lambda: folder)
    monkeypatch.setattr(space, "upload", lambda *_: pytest.fail("sent something"))
    assert space.main([TO, "--dry-run"]) == 0
    said = capsys.readouterr().out
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert f"{len(files)} files" in said and "README.md" in said and "Nothing was uploaded" in said


def test_without_a_zerogpu_nothing_of_spaces_is_imported():
    code = "import sys, app; sys.exit('spaces' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == 0
