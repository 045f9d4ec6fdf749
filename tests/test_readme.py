"""Code in the README and in docs/ runs in order, and the tables match tabs, endpoints, settings."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.startup import free_port
from scripts import api_docs
from tests.conftest import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
API = (ROOT / "docs/api.md").read_text("utf-8")
SETTINGS = (ROOT / "docs/settings.md").read_text("utf-8")
JS_CLIENT = "@gradio/client@2.7.0"
WITH_MCP = "1" if importlib.util.find_spec("mcp") else "0"
ADDRESS = "http://127.0.0.1:7860"  # as the pages have it

# Page -> expressions over the variables that its blocks leave behind; all must be true.
CHECKS = {
    "README.md": [
        "masks.masks.shape[1:] == (400, 600)",  # coffee.jpg
        "len(classes['confidences']) == 3",
    ],
    "docs/python.md": [
        "len(masks.masks) >= 1",
        "again.info.cache['embedding'] == 'hit'",
        "places.similarity.shape[0] == places.grid[0] * places.grid[1]",
        "why.label == 'tiger cat' and all(one.values.max() > 0 for one in why.maps)",
        "round(scores.cross_entropy('tabby, tabby cat'), 2) > 0",
        "Path('filled.png').is_file()",
        "larger.image.shape == (600, 902, 3)",  # twice chelsea.jpg
    ],
    "docs/api.md": [
        "Path(drawn).is_file() and Path(overlay).is_file()",
        "Path(restored).suffix == '.png'",
        "int(pixels.sum()) == best['area'] > 0",
        "not answer.isError and 'Egyptian cat' in answer.content[0].text",
    ],
}


def blocks(language: str, page: str) -> list[tuple[int, str]]:
    """(line of the file, code) of every fenced block in that language."""
    text = (ROOT / page).read_text("utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: m.start(1)].count("\n") + 1, m.group(1)) for m in found]


def as_script(page: str, url: str) -> str:
    """All Python blocks of a page as one file with the page's line numbers, then its checks."""
    lines: list[str] = []
    for line, code in blocks("python", page):
        lines += [""] * (line - 1 - len(lines))
        lines += code.replace(ADDRESS, url).splitlines()
    lines += ["from pathlib import Path", *(f"assert {check}" for check in CHECKS[page])]
    return "\n".join(lines)


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
            env=environment(PORT=port, VISION_HUB_MCP=WITH_MCP),
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
    """Each page for itself, in one process, since the libraries take seconds to import."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    scripts = [tmp_path / f"{Path(page).name}.py" for page in CHECKS]
    for page, script in zip(CHECKS, scripts, strict=True):
        script.write_text(as_script(page, url), "utf-8")
    each = "import runpy, sys\nfor script in sys.argv[1:]:\n    runpy.run_path(script)"
    done = subprocess.run(
        [sys.executable, "-c", each, *map(str, scripts)],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_commands_work(url: str):
    classify, monitor = [code for _, code in blocks("bash", "docs/api.md") if "curl" in code]
    event, data = shell(classify, url).splitlines()[:2]
    assert event == "event: complete"
    classes, info = json.loads(data.removeprefix("data: "))
    assert len(classes["confidences"]) == 3 and info["checkpoint"] == "classify-starter"
    for command in monitor.splitlines():
        assert json.loads(shell(command, url))


def shell(commands: str, url: str) -> str:
    """What these commands print."""
    done = subprocess.run(
        ["bash", "-euc", commands.replace(ADDRESS, url)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """A folder with the JavaScript client, which npm downloads the first time."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node is not installed")
    folder = Path(tempfile.gettempdir()) / f"vision-hub-node-{os.getuid()}-{JS_CLIENT[-5:]}"
    if not (folder / "node_modules/@gradio/client/package.json").is_file():
        folder.mkdir(mode=0o700, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", JS_CLIENT]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        if done.returncode != 0:
            pytest.skip(f"npm cannot install {JS_CLIENT}: {done.stderr[-200:]}")
    return folder


@pytest.mark.slow
def test_javascript_works(url: str, node_folder: Path):
    ((_, code),) = blocks("javascript", "docs/api.md")
    script = node_folder / f"{free_port()}.mjs"
    script.write_text(code.replace(ADDRESS, url).replace("examples/", f"{ROOT}/examples/"), "utf-8")
    try:
        done = subprocess.run(
            ["node", str(script)], capture_output=True, text=True, check=False, timeout=PATIENCE
        )
    finally:
        script.unlink()
    assert done.returncode == 0 and done.stderr == "", done.stderr
    classified, detected, segmented = done.stdout.splitlines()
    assert classified == "Egyptian cat classify-starter"
    assert detected.startswith(url) and "[ 451, 300 ]" in detected
    assert segmented.startswith(url) and int(segmented.split()[-1]) > 0


def test_the_endpoints_are_documented_as_they_are():
    """The tables are made from the code (scripts/api_docs.py)."""
    found = api_docs.endpoints()
    assert api_docs.page(found) == API, "run python -m scripts.api_docs"
    assert all(one.summary.endswith(".") for one in found)
    assert all(p.meaning.endswith(".") for one in found for p in one.parameters)
    assert {one.name for one in found if not one.returns} == {"checkpoints", "status"}


@pytest.mark.slow
def test_the_table_is_what_the_server_offers(url: str):
    """Read back from the page, and compared with what a client sees."""
    from tests.live import client_of

    client = client_of(url)
    offered = client.view_api(print_info=False, return_format="dict")["named_endpoints"]
    documented = endpoints()
    assert {name for name, _, _ in documented} | {"/checkpoints", "/status"} == set(offered)
    for name, parameters, returns in documented:
        told = {} if parameters.startswith("no image") else {"image": None}
        for key, value in re.findall(r"`(\w+)=([^`]+)`", parameters):
            told[key] = json.loads(value)
        given = {p["parameter_name"]: p["parameter_default"] for p in offered[name]["parameters"]}
        assert told == given, name
        assert len(returns.split(",")) == len(offered[name]["returns"]), name


def endpoints() -> list[tuple[str, str, str]]:
    """Name, parameters and results of each row of the table in docs/api.md."""
    return re.findall(r"^\| `(/\w+)` \| (.*?) \| (.*?) \|$", API, re.MULTILINE)


def test_the_readme_names_the_same_endpoints():
    table = re.findall(r"^\| \w+ \| .* \| (`/.*`) \|$", README, re.MULTILINE)
    named = [name for cell in table for name in re.findall(r"`(/\w+)`", cell)]
    assert named == [name for name, _, _ in endpoints()] != []


@pytest.mark.parametrize("page", CHECKS)
def test_every_block_compiles(page: str):
    assert blocks("python", page)
    for line, code in blocks("python", page):
        compile("\n" * (line - 1) + code, page, "exec", ast.PyCF_ONLY_AST)


def test_the_commands_of_the_command_line_parse():
    from vision_hub import cli

    lines = [line for _, code in blocks("console", "README.md") for line in code.splitlines()]
    commands = [line.split()[2:] for line in lines if line.startswith("$ vision-hub ")]
    assert len(commands) >= 4
    for command in commands:
        cli.parser().parse_args(command)


def test_settings_table_is_what_the_settings_are():
    from core.settings import Settings

    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", SETTINGS, re.MULTILINE))
    known = {str(f.validation_alias): f for f in Settings.model_fields.values()}
    assert set(known) - {"HF_HUB_CACHE", "SPACE_ID", "SPACES_ZERO_GPU", "PORT", "HOST"} == set(rows)
    assert rows["VISION_HUB_PORT"] == "`7860`" and "`PORT` and `HOST` do the same" in SETTINGS
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
    for _, code in [block for page in CHECKS for block in blocks("python", page)]:
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
        "SECURITY.md",
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
