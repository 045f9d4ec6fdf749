"""Requirements, Makefile, container and Space say what the code needs."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import pytest
from dockerfile_parse import DockerfileParser
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
SYSTEMS = (("linux", "x86_64"), ("darwin", "arm64"), ("win32", "AMD64"))
RUN_PARTS = ("app.py", "core", "demos", "scale", "vision_hub")
DEV_PARTS = ("training", "benchmarks", "scripts", "tests")
#: run by hand, in environments that hold older libraries
APART = {ROOT / "tests" / "published_keys" / "make.py"}
#: for those who want it; imported only where a setting asks for it
EXTRAS = ("requirements-mcp.txt", "requirements-scale.txt")
#: module -> distribution of what only the benchmark of the starters needs
NOT_INSTALLED = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless"}


# --- requirements ---


def requirements(name: str) -> list[Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith("-r ")]


def machine(python: str, system: str, processor: str) -> dict[str, str]:
    return {
        **default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": system,
        "platform_machine": processor,
    }


def applying(name: str, environment: dict[str, str]) -> dict[str, Requirement]:
    found: dict[str, Requirement] = {}
    for requirement in requirements(name):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            key = canonicalize_name(requirement.name)
            assert key not in found, f"{key} twice in {name}"
            found[key] = requirement
    return found


def weight_packages() -> list[str]:
    """Those that bring a weight file and are not imported."""
    from core import checkpoints

    return [c.source for c in checkpoints.CATALOGUE if c.tier == "package"]


def third_party_imports(parts: tuple[str, ...]) -> dict[str, str]:
    """Top-level module -> one file that imports it."""
    ours = {p.stem for p in ROOT.iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    ours |= {p.stem for p in (ROOT / "scripts").glob("*.py")}  # tests import some by their folder
    found: dict[str, str] = {}
    for part in parts:
        path = ROOT / part
        files = [path] if path.is_file() else sorted(path.rglob("*.py"))
        for file in (one for one in files if one not in APART):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    names = [node.module or ""]
                else:
                    continue
                for name in (n.partition(".")[0] for n in names):
                    if name not in ours and name not in sys.stdlib_module_names:
                        found[name] = str(file.relative_to(ROOT))
    return found


@pytest.mark.parametrize(
    ("parts", "files"),
    [
        (RUN_PARTS, ("requirements.txt", *EXTRAS)),
        (
            DEV_PARTS,
            ("requirements.txt", *EXTRAS, "requirements-dev.txt", "requirements-bench.txt"),
        ),
    ],
    ids=["run", "dev"],
)
def test_every_import_is_required(parts: tuple[str, ...], files: tuple[str, ...]):
    listed = {canonicalize_name(r.name) for name in files for r in requirements(name)}
    distributions = metadata.packages_distributions()
    imports = third_party_imports(parts)
    assert len(imports) > 5
    for module, file in imports.items():
        known = distributions.get(module, [NOT_INSTALLED.get(module, module)])
        names = {canonicalize_name(n) for n in known}
        assert names & listed, f"{file} imports {module}, which {files[-1]} does not name"


def test_everything_required_is_used():
    distributions = metadata.packages_distributions()
    modules = third_party_imports((*RUN_PARTS, *DEV_PARTS))
    used = {canonicalize_name(d) for m in modules for d in distributions.get(m, [m])}
    used |= {canonicalize_name(Requirement(source).name) for source in weight_packages()}
    unused = {canonicalize_name(r.name) for r in requirements("requirements.txt")} - used
    assert unused == set()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "processor"), SYSTEMS, ids=[s for s, _ in SYSTEMS])
def test_constraints_pin_what_is_required(python: str, system: str, processor: str):
    environment = machine(python, system, processor)
    pins = applying("constraints.txt", environment)
    for name in ("requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"):
        for key, requirement in applying(name, environment).items():
            assert key in pins, f"{key} of {name} has no line in constraints.txt"
            (pin,) = pins[key].specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version), f"{requirement}: {pin.version}"


def test_installed_versions_fit_the_requirements():
    environment = dict(default_environment())
    for name in ("requirements.txt", "requirements-mcp.txt", "requirements-dev.txt"):
        for key, requirement in applying(name, environment).items():
            installed = metadata.version(key)
            assert requirement.specifier.contains(installed, prereleases=True), requirement


FILES = [
    *("requirements.txt", *EXTRAS, "requirements-dev.txt", "requirements-bench.txt"),
    "constraints.txt",
]


@pytest.mark.parametrize("name", FILES)
def test_no_package_source_is_named(name: str):
    for line in (ROOT / name).read_text("utf-8").splitlines():
        assert "://" not in line
        assert not line.startswith("-") or line.startswith("-r requirements")


# --- make ---


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


@pytest.fixture
def installed(clone: Path) -> Path:
    binaries = clone / ".venv" / "bin"
    binaries.mkdir(parents=True)
    later = time.time() + 60
    for file in (
        binaries / "python",
        clone / ".venv/.installed-run",
        clone / ".venv/.installed-dev",
    ):
        file.touch()
        os.utime(file, (later, later))
    return clone


def test_a_fresh_clone_installs_first(clone: Path):
    for target, wanted in (("run", "-r requirements.txt"), ("test", "-r requirements-dev.txt")):
        lines = make(clone, "-n", target).stdout
        assert "-m venv .venv" in lines
        assert f"install -c constraints.txt {wanted}" in lines


def test_a_second_call_installs_nothing(installed: Path):
    assert make(installed, "-n", "run").stdout.split() == [".venv/bin/python", "app.py"]
    assert "install" not in make(installed, "-n", "test").stdout


@pytest.mark.parametrize("changed", ["requirements.txt", "constraints.txt"])
def test_a_changed_requirement_installs_again(installed: Path, changed: str):
    later = time.time() + 120
    os.utime(installed / changed, (later, later))
    for target in ("run", "test"):
        assert "pip --disable-pip-version-check install" in make(installed, "-n", target).stdout


def test_a_wrong_python_gets_a_sentence(clone: Path):
    old = clone / "old-python"
    old.write_text("#!/bin/sh\nexit 1\n")  # what the version check answers on another version
    old.chmod(0o755)
    done = make(clone, "run", f"PYTHON={old}")
    assert done.returncode != 0
    assert "Vision Hub needs Python 3.10, 3.11, 3.12 or 3.13" in done.stdout
    assert not (clone / ".venv").exists()


def test_a_python_without_venv_gets_a_sentence(clone: Path):
    bare = clone / "bare-python"
    bare.write_text('#!/bin/sh\ncase "$1" in -m) mkdir -p .venv/bin; exit 1;; esac\n')
    bare.chmod(0o755)
    done = make(clone, "run", f"PYTHON={bare}")
    assert done.returncode != 0
    assert "python3-venv" in done.stdout
    assert not (clone / ".venv").exists()  # half an environment would pass for a whole one


def test_starters_asks_for_what_is_missing(installed: Path):
    done = make(installed, "starters")
    assert done.returncode != 0
    assert "TASK=denoise" in done.stdout


def test_help_lists_every_target(installed: Path):
    text = (ROOT / "Makefile").read_text("utf-8")
    targets = next(x for x in text.splitlines() if x.startswith(".PHONY:")).split()[1:]
    told = {line.split()[1] for line in make(installed, "help").stdout.splitlines()}
    assert told == set(targets)


def test_ci_runs_the_checks_and_requires_a_browser():
    script = ROOT / ".ci" / "run"
    text = script.read_text("utf-8")
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert "set -euo pipefail" in text
    assert "export VISION_HUB_REQUIRE_BROWSER=1" in text
    assert text.index("make check") < text.index("make test")


# --- container ---


@pytest.fixture(scope="module")
def dockerfile(tmp_path_factory: pytest.TempPathFactory) -> DockerfileParser:
    copy = tmp_path_factory.mktemp("docker") / "Dockerfile"
    shutil.copy(ROOT / "Dockerfile", copy)  # the parser opens the file for writing
    return DockerfileParser(path=str(copy))


def instructions(dockerfile: DockerfileParser, kind: str) -> list[str]:
    return [i["value"] for i in dockerfile.structure if i["instruction"] == kind]


def test_dockerfile_passes_the_linter():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed on this kind of machine")
    done = subprocess.run(
        [str(hadolint), "--no-color", str(ROOT / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stdout


def test_the_documented_build_arguments_exist(dockerfile: DockerfileParser):
    """Those of the commands at the top of the file, which docker would silently ignore."""
    arguments = {a.split("=")[0] for a in instructions(dockerfile, "ARG")}
    used = re.findall(r"--build-arg (\w+)=", (ROOT / "Dockerfile").read_text("utf-8"))
    assert used and set(used) <= arguments


def test_the_server_does_not_run_as_root(dockerfile: DockerfileParser):
    kinds = [i["instruction"] for i in dockerfile.structure]
    users = instructions(dockerfile, "USER")
    assert users and users[-1].isdigit() and int(users[-1]) > 0  # a number, so hosts can check
    assert kinds.index("USER") < kinds.index("CMD")


def test_what_is_written_lies_in_the_users_home(dockerfile: DockerfileParser):
    values = dockerfile.envs
    for name in ("HOME", "HF_HOME", "TORCH_HOME", "GRADIO_TEMP_DIR", "XDG_CACHE_HOME"):
        assert values[name].startswith("/home/user"), name


def test_served_port_and_health(dockerfile: DockerfileParser):
    values = dockerfile.envs
    assert values["VISION_HUB_HOST"] == "0.0.0.0"
    assert instructions(dockerfile, "EXPOSE") == [values["PORT"]]
    program = ast.literal_eval(instructions(dockerfile, "CMD")[-1])
    assert (ROOT / program[-1]).is_file()


def test_health_check_follows_the_server(dockerfile: DockerfileParser):
    """The check's own code answers 0 for a server that is well and another code for none."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Well(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    command = ast.literal_eval(instructions(dockerfile, "HEALTHCHECK")[0].partition("CMD ")[2])
    with HTTPServer(("127.0.0.1", 0), Well) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ask = [sys.executable, *command[1:]]
        bare = {name: v for name, v in os.environ.items() if name != "VISION_HUB_PORT"}
        for port in ({"PORT": ""}, {"PORT": "1", "VISION_HUB_PORT": ""}):  # the first one counts
            environment = {**bare, **port, list(port)[-1]: str(server.server_port)}
            done = subprocess.run(ask, env=environment, check=False, timeout=PATIENCE)
            assert done.returncode == 0
        server.shutdown()
    done = subprocess.run(ask, env=environment, check=False, timeout=PATIENCE, capture_output=True)
    assert done.returncode != 0


def test_dockerignore_keeps_what_runs_and_drops_the_rest():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    patterns = [p for line in lines if (p := line.strip()) and not p.startswith("#")]

    def ignored(path: str) -> bool:
        return any(fnmatch.fnmatch(path, p.removeprefix("**/")) for p in patterns)

    for kept in ("app.py", "core", "demos", "weights", "examples", "requirements.txt", "NOTICE"):
        assert not ignored(kept), kept
    assert not ignored("constraints.txt")
    for dropped in (".git", ".venv", "data", "runs", "tests", "__pycache__", "x.log"):
        assert ignored(dropped), dropped
