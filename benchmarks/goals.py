"""Results of a run: rows of tables, and goals met or missed."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Goal:
    """A measured value and its limit; without a limit it is only reported."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = True
    unit: str = ""

    @property
    def met(self) -> bool:
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def row(self) -> list[str]:
        """Name, value, goal, verdict."""
        if self.limit is None:
            return [self.name, f"{self.value:.3g}{self.unit}", "", ""]
        sign = "≥" if self.at_least else "≤"
        goal = f"{sign} {self.limit:.3g}{self.unit}"
        return [self.name, f"{self.value:.3g}{self.unit}", goal, "met" if self.met else "missed"]


@dataclass(slots=True)
class Section:
    """A part of docs/performance.md: its lines, and the goals in them."""

    name: str
    lines: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)

    def say(self, text: str) -> None:
        """One paragraph."""
        self.lines += [text, ""]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A Markdown table."""
        self.lines.append("| " + " | ".join(head) + " |")
        self.lines.append("|" + "---|" * len(head))
        self.lines += ["| " + " | ".join(row) + " |" for row in rows]
        self.lines.append("")

    def check(self, *goals: Goal) -> None:
        """A table of goals, which decide the exit code."""
        self.goals += goals
        self.table(("measured", "value", "goal", ""), [goal.row() for goal in goals])

    @property
    def missed(self) -> list[str]:
        return [goal.name for goal in self.goals if not goal.met]


def with_part(page: str, name: str, content: str) -> str:
    """The page with the part between `<!-- name -->` and `<!-- /name -->` replaced.

    Raises:
        ValueError: the page lacks these marks.
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no part between {begin} and {end}")
    return pattern.sub(lambda _: f"{begin}\n\n{content}\n\n{end}", page)


def machine() -> str:
    """Processor, cores, memory and load in neutral words."""
    pages = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return f"{_processor()}, {os.cpu_count()} cores, {pages:.0f} GiB, load average {load:.1f}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
