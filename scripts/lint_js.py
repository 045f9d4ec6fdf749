"""Lint the page's JavaScript with ESLint, which npx downloads (needs Node 18 or later).

    python -m scripts.lint_js

The canvas scripts share one scope, because `demos/canvas/component.py` joins them into a function,
so they are linted together, and so are those of each view. Findings are reported by file and line.
Other scripts are expressions.
"""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from demos.canvas import component
from demos.viewers import view

ROOT = Path(__file__).resolve().parent.parent
CANVAS, VIEWERS = ROOT / "demos" / "canvas", ROOT / "demos" / "viewers"
ESLINT = "eslint@9.39.1"
#: each script's path and the lines of code that stand for it
Parts = list[tuple[Path, list[str]]]


def units() -> list[tuple[str, Parts, str]]:
    """(opening, scripts, closing) of everything that is linted as one text."""
    arguments = "element, trigger, props, watch"
    found = [_joined(arguments, CANVAS, component._SCRIPTS)]
    found.append(
        ("(function () {", *_joined("", VIEWERS, ("paint.js",))[1:2], "return Paint; })();")
    )
    for name in sorted(file.stem for file in VIEWERS.glob("[!_]*.py")):
        module = importlib.import_module(f"demos.viewers.{name}")
        for one in vars(module).values():
            if isinstance(one, type) and issubclass(one, view.View) and one is not view.View:
                found.append(_joined("element, props, watch, Paint", VIEWERS, one.scripts))
    done = {path for _, parts, _ in found for path, _ in parts}
    others = sorted(set((ROOT / "demos").rglob("*.js")) - done)
    alone = [[(path, path.read_text("utf-8").splitlines())] for path in others]
    return [*found, *(("void (", one, ");") for one in alone)]


def _joined(arguments: str, folder: Path, names: Sequence[str]) -> tuple[str, Parts, str]:
    """Scripts that are one function with these arguments."""
    parts = [(folder / name, (folder / name).read_text("utf-8").splitlines()) for name in names]
    return f"(function ({arguments}) {{", parts, "})();"


def lint(opening: str, parts: Parts, closing: str) -> list[str]:
    """The findings of ESLint in one text, as "file:line:column rule: message"."""
    places = [(path, number) for path, lines in parts for number in range(1, len(lines) + 1)]
    text = "\n".join([opening, *(line for _, lines in parts for line in lines), closing, ""])
    command = [shutil.which("npx") or "npx", "--yes", ESLINT, "--format", "json", "--stdin"]
    done = subprocess.run(
        [*command, "--stdin-filename", "demos/joined.js"],
        cwd=ROOT,
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"ESLint could not run: {done.stderr.strip()}")
    found = []
    for message in json.loads(done.stdout)[0]["messages"]:
        index = min(max(message["line"] - 2, 0), len(places) - 1)  # line 1 is `opening`
        path, number = places[index]
        where = f"{path.relative_to(ROOT)}:{number}:{message['column']}"
        found.append(f"{where} {message['ruleId'] or 'syntax'}: {message['message']}")
    return found


def main() -> int:
    """Print the findings; 1 if there are any."""
    if shutil.which("npx") is None:
        print("npx is missing; install Node 18 or later to lint the JavaScript files.")
        return 2
    found = [line for unit in units() for line in lint(*unit)]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
