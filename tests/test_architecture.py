"""Rooms and ranks: imports go down only, and nothing imports in a circle.

A module's rank is that of its room, the folder it lies in. A module may import its own room and
rooms of a lower rank. Every import is read from the source, also those inside functions and those
by name, so that a lazy `import torch` in a tab is found as well as one at the top.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("core", "demos", "scale", "vision_hub", "training", "benchmarks", "scripts")
MODELS = {"torch", "torchvision", "timm", "transformers", "segment_anything", "spandrel"}
OUTSIDE_CORE = {"gradio", "gradio_client"}

#: Rooms from the bottom up; those of one line have one rank and do not import each other.
#: A name without a slash is a module of the folder itself; "tasks" and "tabs" are the rest of them.
CORE = (
    ("types", "errors", "settings", "checkpoints", "checks"),
    ("cpu/",),
    ("imaging/",),
    ("images",),
    ("export",),
    ("export_boxes",),
    ("sources/",),
    ("serving/",),
    ("nets/",),
    ("sam/", "restoring/"),
    ("tasks",),
    ("lessons/", "start/"),
)
DEMOS = (
    ("server/",),
    ("shell/",),
    ("gradio_patches/", "canvas/", "viewers/"),
    ("tabs",),
    ("lessons/",),
    ("_page",),
)
#: Rooms that start in a moment, on a machine without PyTorch.
PLAIN = {*CORE[0], "imaging/", "images", "export", "export_boxes"}
#: Modules of the bottom rank may import each other; a circle is found by its own test.
VALUES = set(CORE[0])


#: What the packages define themselves; `from demos import Tab` names no module.
DEFINED = {
    f"{folder}.{node.name}"
    for folder in ("core", "demos")
    for node in ast.parse((ROOT / folder / "__init__.py").read_text("utf-8")).body
    if isinstance(node, ast.FunctionDef | ast.ClassDef)
}


def parts_of(module: str) -> list[str]:
    return module.split(".")


def room(module: str, root: Path = ROOT) -> str:
    """The room of a dotted name below core or demos: a folder with a slash, a module, or the rest.

    A tab that is a folder (`demos/segment/`) counts as a tab, since it has a task of its name.
    """
    top, *rest = parts_of(module)
    if not rest:
        return ""
    ranks, other = (CORE, "tasks") if top == "core" else (DEMOS, "tabs")
    named = {name for line in ranks for name in line}
    if f"{rest[0]}/" in named:
        return f"{rest[0]}/"
    return rest[0] if rest[0] in named else other


def rank(module: str) -> int:
    """The rank of a module of core or demos, 0 at the bottom."""
    ranks = CORE if module.startswith("core") else DEMOS
    found = room(module)
    return next(i for i, line in enumerate(ranks) if found in line)


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


def unit(module: str) -> str:
    """What a room without a slash consists of: each task and each tab stands for itself."""
    return ".".join(parts_of(module)[:2])


def goes_up(importer: str, target: str) -> bool:
    """Does an import between two modules of core, or of demos, break the ranks?"""
    if target in DEFINED or room(target) == "":  # of the package itself
        return False
    mine, theirs = room(importer), room(target)
    if rank(target) != rank(importer):
        return rank(target) > rank(importer)
    if mine != theirs:
        return mine not in VALUES
    if mine == "lessons/":
        return parts_of(target)[2:3] not in ([], parts_of(importer)[2:3])
    return mine in ("tasks", "tabs") and unit(importer) != unit(target)


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def outside(path: str) -> set[str]:
    """Top-level names that a file must not import."""
    top = Path(path).with_suffix("").parts[0]
    if top in ("demos", "app"):
        above = {"training", "benchmarks", "scripts", "tests", "ray"}
        return MODELS | (above if top == "app" else above | {"scale"})
    if top == "training":
        return OUTSIDE_CORE | {"demos", "app", "tests"}
    if top == "scale":
        return OUTSIDE_CORE | {"demos", "app", "training", "benchmarks", "scripts", "tests"}
    if top != "core":
        return {"tests"}
    above = OUTSIDE_CORE | {
        "demos",
        "app",
        "scale",
        "ray",
        "training",
        "benchmarks",
        "scripts",
        "tests",
    }
    return above | MODELS if room(module_name(path)) in PLAIN else above


def violations(path: str, source: str) -> list[str]:
    """One line for each import that breaks a layer."""
    importer, package = module_name(path), ".".join(Path(path).parts[:-1])
    top, banned = parts_of(importer)[0], outside(path)
    found = []
    for name in sorted(set(imported(source, package))):
        head = parts_of(name)[0]
        if head in banned or (
            head == top and top in ("core", "demos") and importer != top and goes_up(importer, name)
        ):
            found.append(f"{path} imports {name}")
    return found


def sources() -> list[str]:
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]
    return [file.relative_to(ROOT).as_posix() for file in [*files, *ROOT.glob("*.py")]]


@pytest.mark.parametrize("path", sources())
def test_imports_go_down_only(path):
    assert violations(path, (ROOT / path).read_text("utf-8")) == []


def test_every_room_exists():
    """A folder that was renamed would otherwise pass every test."""
    for top, ranks in (("core", CORE), ("demos", DEMOS)):
        for name in (name for line in ranks for name in line):
            if name not in ("tasks", "tabs"):
                there = ROOT / top / name if name.endswith("/") else ROOT / top / f"{name}.py"
                assert there.exists(), there
    tasks = {f.stem for f in (ROOT / "core").glob("[!_]*.py") if room(f"core.{f.stem}") == "tasks"}
    assert tasks == {"classify", "detect", "segment", "semantic", "reconstruct", "restore"}
    tabs = {f.stem for f in (ROOT / "demos").glob("[!_]*") if room(f"demos.{f.stem}") == "tabs"}
    assert tasks - {"semantic"} <= tabs  # that one is an endpoint of Segment
    assert "app.py" in sources()


PLANTED = [
    ("core/images.py", "import gradio", "gradio"),
    ("core/serving/runtime.py", "import gradio as gr", "gradio"),
    ("core/nets/vit.py", "from gradio.themes import Base", "gradio.themes"),
    ("core/classify.py", "def f():\n    import gradio\n", "gradio"),
    ("core/classify.py", "from core import detect", "core.detect"),
    ("core/classify.py", "from core.detect import predict", "core.detect"),
    ("core/classify.py", "from . import segment", "core.segment"),
    ("core/classify.py", "from .restore import steps", "core.restore"),
    ("core/depth.py", "from core import classify", "core.classify"),
    ("core/classify.py", "from core.lessons import attention", "core.lessons"),
    ("core/lessons/attention.py", "from core.lessons import loss", "core.lessons.loss"),
    ("core/serving/runtime.py", "from core import classify", "core.classify"),
    ("core/serving/runtime.py", "from core.nets import transforms", "core.nets"),
    ("core/sources/resolver.py", "from core.serving import stores", "core.serving"),
    ("core/sources/resolver.py", "if True:\n    import training.common", "training.common"),
    ("core/sources/own_files.py", "from training import classify", "training"),
    ("core/cpu/linear.py", "from core.imaging import png", "core.imaging"),
    ("core/imaging/draw.py", "from core import images", "core.images"),
    ("core/imaging/draw.py", "try:\n    import torchvision\nexcept E: pass", "torchvision"),
    ("core/types.py", "import torch", "torch"),
    ("core/errors.py", "from core.serving import runtime", "core.serving"),
    ("core/checkpoints.py", "def f():\n    import torch", "torch"),
    ("core/images.py", "from torch.nn import functional", "torch.nn"),
    ("core/settings.py", "class A:\n    import torch\n", "torch"),
    ("core/nets/sam.py", "from core.sam import engines", "core.sam"),
    ("demos/classify.py", "import torch", "torch"),
    ("demos/classify.py", "def f():\n    from torch import nn", "torch"),
    ("demos/classify.py", "from demos import detect", "demos.detect"),
    ("demos/classify.py", "from demos.segment import session", "demos.segment"),
    ("demos/classify.py", "from demos import _page", "demos._page"),
    ("demos/classify.py", "from demos.lessons import attention", "demos.lessons"),
    ("demos/lessons/attention.py", "from demos.lessons import loss", "demos.lessons.loss"),
    ("demos/shell/lesson_view.py", "from demos.lessons import loss", "demos.lessons"),
    ("demos/shell/ui.py", "import timm.layers", "timm.layers"),
    ("demos/shell/ui.py", "from transformers import pipeline", "transformers"),
    ("demos/shell/ui.py", "from demos.canvas import component", "demos.canvas"),
    ("demos/server/files.py", "from demos.shell import ui", "demos.shell"),
    ("demos/new/deep.py", "import spandrel, os", "spandrel"),
    (
        "demos/segment/__init__.py",
        "async def f():\n    with a:\n        import segment_anything",
        "segment_",
    ),
    ("demos/segment/session.py", "import importlib\nimportlib.import_module('torch')", "torch"),
    ("demos/segment/session.py", "__import__('torch.nn')", "torch.nn"),
    ("demos/segment/session.py", "f = lambda: __import__('timm')", "timm"),
    ("demos/restore.py", "from training import common", "training"),
    ("app.py", "import torch", "torch"),
    ("app.py", "import ray", "ray"),
    ("core/serving/backends.py", "def f():\n    import ray", "ray"),
    ("core/serving/backends.py", "from scale import page", "scale"),
    ("demos/_page.py", "from scale import page", "scale"),
    ("scale/page.py", "from demos import discover", "demos"),
    ("scale/replica.py", "import gradio", "gradio"),
    ("training/denoise.py", "import gradio", "gradio"),
    ("benchmarks/serve.py", "from tests import live", "tests"),
]


@pytest.mark.parametrize(("path", "source", "name"), PLANTED)
def test_planted_import_is_found(path, source, name):
    """Also below what the file really holds: a violation among many good imports counts."""
    found = violations(path, source)
    assert found
    assert found[0].startswith(f"{path} imports {name}")
    if (ROOT / path).is_file():
        whole = (ROOT / path).read_text("utf-8") + "\n" + source
        assert set(found) <= set(violations(path, whole))


ALLOWED = [
    ("core/classify.py", "import torch\nfrom core import images\nfrom core.serving import runtime"),
    ("core/serving/runtime.py", "import torch\nfrom core.types import RunInfo"),
    ("core/imaging/draw.py", "import numpy, PIL\nfrom core.types import Masks"),
    ("core/cpu/linear.py", "import torch"),
    ("core/lessons/attention.py", "from core import classify\nfrom core.sam import engines"),
    ("core/start/warm.py", "from core import classify, detect"),
    ("demos/classify.py", "import gradio\nfrom core import classify\ntorch = None"),
    ("demos/classify.py", "import torchlike\n'import torch'\n# import torch"),
    ("demos/segment/__init__.py", "from demos.segment import session\nfrom demos import Tab"),
    ("demos/lessons/attention.py", "from demos.canvas import component"),
    ("demos/lessons/attention.py", "from demos.segment import session"),
    ("app.py", "from demos import _page\nfrom scale import page"),
    ("scale/page.py", "import ray\nfrom core import images"),
    ("training/detectors_net.py", "import torch\nfrom core.sources import state_dicts"),
]


@pytest.mark.parametrize(("path", "source"), ALLOWED)
def test_what_is_allowed_passes(path, source):
    assert violations(path, source) == []


def circles(edges: dict[str, set[str]]) -> set[str]:
    """Modules that lie on a circle, or between two."""
    edges = {name: found & set(edges) - {name} for name, found in edges.items()}
    while free := [name for name, below in edges.items() if not below]:
        for name in free:
            del edges[name]
        edges = {name: below - set(free) for name, below in edges.items()}
    return set(edges)


def edges_of(paths: list[str]) -> dict[str, set[str]]:
    """Module -> what it imports, lazy imports too."""
    found = {}
    for path in paths:
        package = ".".join(Path(path).parts[:-1])
        found[module_name(path)] = set(imported((ROOT / path).read_text("utf-8"), package))
    return found


@pytest.mark.parametrize("folder", [f for f in FOLDERS if f != "vision_hub"])
def test_no_import_circle(folder):
    edges = edges_of([path for path in sources() if path.startswith(f"{folder}/")])
    assert len(edges) > 3
    assert circles(edges) == set()


def test_planted_circle_is_found():
    edges = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a", "torch"}, "e": {"torch"}}
    assert circles(edges) == {"a", "b", "c", "d"}
    real = edges_of([path for path in sources() if path.startswith("training/")])
    real["training.common"] |= {"training.denoise"}
    assert {"training.common", "training.denoise"} <= circles(real)
