"""Lint the page's JavaScript with ESLint, which npx downloads (needs Node 18 or later).

    python -m scripts.lint_js

The canvas scripts share one scope, because `demos/canvas/component.py` joins them into a function,
so they are linted together. Findings are reported by file and line. Other scripts are expressions.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from demos.canvas import component

ROOT = Path(__file__).resolve().parent.parent
CANVAS = ROOT / "demos" / "canvas"
ESLINT = "eslint@9.39.1"
#: each script's path and the lines of code that stand for it
Parts = list[tuple[Path, list[str]]]


def units() -> list[tuple[str, Parts, str]]:
    """(opening, scripts, closing) of everything that is linted as one text."""
    parts = [CANVAS / name for name in component._SCRIPTS]
    joined = [(path, path.read_text("utf-8").splitlines()) for path in parts]
    others = sorted(set((ROOT / "demos").rglob("*.js")) - set(parts))
    alone = [[(path, path.read_text("utf-8").splitlines())] for path in others]
    canvas = ("(function (element, trigger, props, watch) {", joined, "})();")
    return [canvas, *(("void (", one, ");") for one in alone)]


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
