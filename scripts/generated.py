"""Pages with a generated part: what stands between its markers, and the command that makes it."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def between(text: str, name: str, made: str) -> str:
    """`text` with `made` between the markers of that name."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, _, rest = text.partition(begin)
    return before + begin + made + end + rest.partition(end)[2]


def main(page: Path, wanted: str, module: str, about: str | None) -> int:
    """Write the page; with --check only report whether it is up to date (exit status 1 if not)."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    if page.read_text("utf-8") == wanted:
        return 0
    if check:
        print(f"{page.relative_to(ROOT)} is out of date: run python -m {module}")
        return 1
    page.write_text(wanted, "utf-8")
    return 0
