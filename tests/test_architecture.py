"""The layers: app, demos, core tasks, runtime and weights, plain data. Imports go down only.

Every import is read from the source, also those inside functions and those by name, so that a
lazy `import torch` in a tab is found as well as one at the top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("core", "demos", "training", "benchmarks", "scripts")
MODELS = {"torch", "torchvision", "timm", "transformers", "segment_anything", "spandrel"}
ABOVE_CORE = {
    "gradio",
    "gradio_client",
    "demos",
    "app",
    "training",
    "benchmarks",
    "scripts",
    "tests",
}
# Plain data and NumPy/Pillow: importable in a moment, on a machine without PyTorch.
PLAIN = {
    "allocator",
    "checkpoints",
    "checks",
    "coco",
    "decode_budget",
    "decoding",
    "draw",
    "errors",
    "export",
    "images",
    "outlines",
    "pixels",
    "png",
    "prompts",
    "regions",
    "settings",
    "snippet_parts",
    "snippets",
    "snippets_transformers",
    "types",
}
ABOVE_TASKS = {"agreement", "warm"}  # run each task once


def tasks(root: Path = ROOT) -> set[str]:
    """A task is a module of core that has a tab of its name; so a new one is found by itself."""
    tabs = {file.stem for file in (root / "demos").glob("[!_]*.py")}
    return {file.stem for file in (root / "core").glob("[!_]*.py")} & tabs


def imported(source: str, package: str = "") -> Iterator[str]:
    """Dotted names of all that a source imports, wherever in it.

    `from a import b` gives a and a.b, because b may be a module. `package` is where relative
    imports begin.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            name = called.id if isinstance(called, ast.Name) else called
            first = node.args[0]
            by_name = name in ("import_module", "__import__") and isinstance(first, ast.Constant)
            if by_name and isinstance(first.value, str):
                yield first.value


def forbidden(path: str, task_names: set[str]) -> set[str]:
    """Dotted names that a file must not import, given by its path inside the repository."""
    parts = Path(path).with_suffix("").parts
    if parts[0] in ("demos", "app"):
        return MODELS | {"training", "benchmarks", "scripts", "tests"}
    if parts[0] == "training":
        return {"gradio", "demos", "app", "tests"}
    if parts[0] != "core":
        return {"tests"}
    modules = {f"core.{name}" for name in task_names | ABOVE_TASKS}
    if parts[1] in ABOVE_TASKS:
        return ABOVE_CORE
    if parts[1] in task_names:
        return ABOVE_CORE | modules - {f"core.{parts[1]}"}
    if parts[1] in PLAIN:
        plain = {f"core.{name}" for name in PLAIN}
        other = {f"core.{file.stem}" for file in (ROOT / "core").glob("[!_]*.py")} - plain
        return ABOVE_CORE | MODELS | other | {"core.models"}
    if parts[1] == "models":
        services = {"core.runtime", "core.weights", "core.transforms"}
        return ABOVE_CORE | modules | services | {"transformers", "PIL"}
    return ABOVE_CORE | modules


def violations(path: str, source: str, task_names: set[str]) -> list[str]:
    """One line for each import that breaks a layer."""
    package = ".".join(Path(path).parts[:-1])
    banned = forbidden(path, task_names)
    names = sorted(set(imported(source, package)))
    return [
        f"{path} imports {name}"
        for name in names
        if any(name == one or name.startswith(f"{one}.") for one in banned)
    ]


def sources() -> list[str]:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return [file.relative_to(ROOT).as_posix() for file in [*files, *ROOT.glob("*.py")]]


@pytest.mark.parametrize("path", sources())
def test_imports_go_down_only(path):
    assert violations(path, (ROOT / path).read_text("utf-8"), tasks()) == []


def test_lists_are_not_empty():
    """A folder that was renamed would otherwise pass every test."""
    assert {"classify", "detect", "segment", "reconstruct", "restore"} <= tasks()
    assert {(ROOT / "core" / f"{name}.py").is_file() for name in PLAIN} == {True}
    found = sources()
    assert "app.py" in found
    assert {path.split("/")[0] for path in found if "/" in path} >= {"core", "demos", "training"}


PLANTED = [
    ("core/images.py", "import gradio", "gradio"),
    ("core/runtime.py", "import gradio as gr", "gradio"),
    ("core/models/vit.py", "from gradio.themes import Base", "gradio.themes"),
    ("core/classify.py", "def f():\n    import gradio\n", "gradio"),
    ("core/classify.py", "from core import detect", "core.detect"),
    ("core/classify.py", "from core.detect import predict", "core.detect"),
    ("core/classify.py", "from . import segment", "core.segment"),
    ("core/classify.py", "from .restore import steps", "core.restore"),
    ("core/runtime.py", "from core import classify", "core.classify"),
    ("core/weights.py", "if True:\n    import training.common", "training.common"),
    ("core/own.py", "from training import classify", "training"),
    ("core/types.py", "import torch", "torch"),
    ("core/errors.py", "from core import runtime", "core.runtime"),
    ("core/checkpoints.py", "def f():\n    import torch", "torch"),
    ("core/images.py", "from torch.nn import functional", "torch.nn"),
    ("core/draw.py", "try:\n    import torchvision\nexcept ImportError: pass", "torchvision"),
    ("core/settings.py", "class A:\n    import torch\n", "torch"),
    ("core/models/sam.py", "from core import runtime", "core.runtime"),
    ("demos/classify.py", "import torch", "torch"),
    ("demos/classify.py", "def f():\n    from torch import nn", "torch"),
    ("demos/_ui.py", "import timm.layers", "timm.layers"),
    ("demos/_ui.py", "from transformers import pipeline", "transformers"),
    ("demos/new/deep.py", "import spandrel, os", "spandrel"),
    (
        "demos/segment.py",
        "async def f():\n    with a:\n        import segment_anything",
        "segment_",
    ),
    ("demos/segment.py", "import importlib\nimportlib.import_module('torch')", "torch"),
    ("demos/segment.py", "__import__('torch.nn')", "torch.nn"),
    ("demos/segment.py", "f = lambda: __import__('timm')", "timm"),
    ("demos/restore.py", "from training import common", "training"),
    ("app.py", "import torch", "torch"),
    ("training/denoise.py", "import gradio", "gradio"),
]


@pytest.mark.parametrize(("path", "source", "name"), PLANTED)
def test_planted_import_is_found(path, source, name):
    """Also below what the file really holds: a violation among many good imports counts."""
    found = violations(path, source, tasks())
    assert found
    assert found[0].startswith(f"{path} imports {name}")
    if (ROOT / path).is_file():
        whole = (ROOT / path).read_text("utf-8") + "\n" + source
        assert set(found) <= set(violations(path, whole, tasks()))


ALLOWED = [
    ("core/classify.py", "import torch\nfrom core import images, runtime, metrics"),
    ("core/runtime.py", "import torch\nfrom core.types import RunInfo"),
    ("core/draw.py", "import numpy, PIL\nfrom core.types import Masks"),
    ("core/metrics.py", "import torch"),
    ("core/warm.py", "from core import classify, detect"),
    ("demos/classify.py", "import gradio\nfrom core import classify, draw\ntorch = None"),
    ("demos/classify.py", "import torchlike\n'import torch'\n# import torch"),
    ("app.py", "from demos import _page"),
    ("training/detect.py", "import torch\nfrom core import state_dicts"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_is_allowed_passes(path, source):
    assert violations(path, source, tasks()) == []


def test_a_new_tab_is_a_task_at_once(tmp_path):
    for folder, name in (("core", "depth"), ("demos", "depth"), ("demos", "_ui"), ("core", "_ui")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.py").touch()
    assert tasks(tmp_path) == {"depth"}
    assert violations("core/depth.py", "from core import classify", tasks() | {"depth"})


def test_core_has_no_import_cycle():
    """Of imports that run when a module is imported; lazy ones may point anywhere below."""
    edges: dict[str, set[str]] = {}
    for path in sources():
        if not path.startswith("core/"):
            continue
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        name = path.removesuffix(".py").replace("/", ".")
        edges[name] = set(imported(ast.unparse(tree), "core"))
    edges = {name: found & set(edges) for name, found in edges.items()}
    while free := [name for name, below in edges.items() if not below]:
        for name in free:
            del edges[name]
        edges = {name: below - set(free) for name, below in edges.items()}
    assert edges == {}
