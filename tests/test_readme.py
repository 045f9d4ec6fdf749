"""The README's code runs, in order, and what it says about endpoints, settings and files is so."""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.startup import free_port
from tests.conftest import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
ADDRESS = "http://127.0.0.1:7860"  # as the README says it

# What the blocks leave behind, checked after the last of them.
CHECKS = """
import json
print("CHECKED " + json.dumps({
    "masks": list(masks.masks.shape), "embedding": again.info.cache["embedding"],
    "filled": Path("filled.png").is_file(), "larger": list(larger.image.shape),
    "drawn": Path(drawn).is_file(), "overlay": Path(overlay).is_file(),
    "restored": Path(restored).suffix, "area": int(pixels.sum()) == best["area"],
    "confidences": len(document["masks"]) and len(client.predict(
        picture, top_k=4, api_name="/classify")[0]["confidences"]),
}))
"""


def blocks(language: str) -> list[tuple[int, str]]:
    """(line of the file, code) of every fenced block in that language."""
    found = re.finditer(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [(README[: m.start(1)].count("\n") + 1, m.group(1)) for m in found]


def as_script(url: str) -> str:
    """All Python blocks as one file whose line numbers are the README's."""
    lines: list[str] = []
    for line, code in blocks("python"):
        lines += [""] * (line - 1 - len(lines))
        lines += code.replace(ADDRESS, url).splitlines()
    return "\n".join(lines) + CHECKS


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of the hub; no request leaves the machine."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VISION_HUB_")}
    for name in ("AUTH", "SHARE", "HOST", "VISION_HUB_HOST", "VISION_HUB_PORT"):
        kept.pop(name, None)
    return {**kept, "VISION_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), **more}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A hub started as `make run` starts it."""
    log = tmp_path_factory.mktemp("hub") / "log"
    port = str(free_port())
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "app.py"],
            cwd=ROOT,
            env=environment(PORT=port),
            stdout=file,
            stderr=file,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(f"{address}/healthz"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(PATIENCE)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.slow
def test_python_blocks_run_in_order(url: str, tmp_path: Path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    script = tmp_path / "README.md.py"
    script.write_text(as_script(url), "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout.rpartition("CHECKED ")[2])
    assert left["masks"][0] >= 1
    assert left["masks"][1:] == [400, 600]  # coffee.jpg
    assert left["embedding"] == "hit"
    assert left["larger"] == [600, 902, 3]  # twice chelsea.jpg
    assert left["restored"] == ".png"
    assert left["confidences"] == 4
    assert left["filled"] and left["drawn"] and left["overlay"] and left["area"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_commands_work(url: str):
    commands = [c for _, code in blocks("bash") for c in code.splitlines() if c.startswith("curl")]
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            command.replace(ADDRESS, url).split(),
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)


@pytest.mark.slow
def test_endpoint_table_is_what_the_server_offers(url: str):
    from gradio_client import Client

    client = Client(url, verbose=False)
    offered = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    documented = re.findall(r"^\| `(/\w+)` \| (.*?) \| (.*?) \|$", README, re.MULTILINE)
    assert {name for name, _, _ in documented} | {"/checkpoints", "/status"} == set(offered)
    for name, parameters, returns in documented:
        told = {"image": None}
        for key, value in re.findall(r"`(\w+)=([^`]+)`", parameters):
            told[key] = json.loads(value)
        given = {p["parameter_name"]: p["parameter_default"] for p in offered[name]["parameters"]}
        assert told == given, name
        assert len(returns.split(",")) == len(offered[name]["returns"]), name


def test_every_block_compiles():
    for line, code in blocks("python"):
        compile("\n" * (line - 1) + code, "README.md", "exec", ast.PyCF_ONLY_AST)


def test_settings_table_is_what_the_settings_are():
    from core.settings import Settings

    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", README, re.MULTILINE))
    known = {str(f.validation_alias): f for f in Settings.model_fields.values()}
    assert set(known) - {"HF_HUB_CACHE", "SPACE_ID", "PORT", "HOST"} == set(rows)
    assert rows["VISION_HUB_PORT"] == "`7860`" and "`PORT` and `HOST` do the same" in README
    for name, told in rows.items():
        default = known[name].default
        if default is not None:
            said = told.split()[0].strip("`")
            number = isinstance(default, bool | float)
            assert said == (f"{default:g}" if number else str(default)), name


def test_python_calls_name_real_parameters():
    """`module.function(keyword=…)` of `core`, also where the slow test does not run."""
    from core import classify, detect, reconstruct, restore, segment

    modules = {m.__name__.rpartition(".")[2]: m for m in (classify, detect, reconstruct)}
    modules |= {"restore": restore, "segment": segment}
    seen = 0
    for _, code in blocks("python"):
        for call in (n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)):
            target = call.func
            if not (isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name)):
                continue
            if target.value.id in modules:
                function = getattr(modules[target.value.id], target.attr)
                inspect.signature(function).bind(*call.args, **{k.arg: 0 for k in call.keywords})
                seen += 1
    assert seen >= 5


def test_every_tab_is_in_the_table():
    from demos import discover

    table = re.findall(r"^\| (\w+) \| .* \| .* \| .* \|$", README, re.MULTILINE)
    assert [tab.title for tab in discover()] == [name for name in table if name != "Tab"]


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md")),
    ],
)
def test_links_lead_somewhere(name: str):
    page = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}
            assert anchor in slugs, target
