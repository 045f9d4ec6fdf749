"""The report of the soak: its limits, the arithmetic and the table."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

CLIENTS = 8
FILES_MB = 128
LIMITS = {"jain": 0.95, "slope": 5.0, "beside": 3.0, "restart": 10.0, "files": 1.1 * FILES_MB}
LONG_ENOUGH = 240  # seconds; in shorter runs a slope and a percentile are noise and are not judged


@dataclass(slots=True)
class Report:
    """What was measured; see `verdicts` for the limits."""

    seconds: float
    answers: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    served: list[int] = field(default_factory=list)  # answers for each client
    memory: list[tuple[float, float]] = field(default_factory=list)  # (second, MB)
    files: float = 0.0  # most MB in the folder of uploads and results
    alone: list[float] = field(default_factory=list)  # seconds of Classify
    beside: list[float] = field(default_factory=list)  # the same while long jobs run
    restart: float = 0.0  # seconds until the page was back
    same: bool = False  # whether the answers were the same after the restart

    def verdicts(self) -> list[tuple[str, str, str, bool | None]]:
        """(what, measured, limit, whether it holds; None if the run was too short)."""
        long = self.seconds >= LONG_ENOUGH
        ratio, slope = p95(self.beside) / p95(self.alone), slope_mb_per_minute(self.memory)
        peak = max(mb for _, mb in self.memory)
        rows: list[tuple[str, float, str, str, bool | None]] = [
            ("Errors", len(self.errors), "0", "", not self.errors),
            ("Jain's fairness index", jain(self.served), ">= 0.95", "", None),
            ("Memory slope, MB a minute", slope, "<= 5", f" (peak {peak:.0f} MB)", None),
            ("Most in the upload folder, MB", self.files, f"<= {LIMITS['files']:.0f}", "", None),
            ("Classify beside long jobs, p95 against alone", ratio, "<= 3", "", None),
            ("Killed and started again, seconds", self.restart, "<= 10", "", None),
            ("The same answers after it", float(self.same), "1", "", self.same),
        ]
        judged = {
            "Jain's": jain(self.served) >= LIMITS["jain"] if long else None,
            "Memory": slope <= LIMITS["slope"] if long else None,
            "Most": self.files <= LIMITS["files"],
            "Classify": ratio <= LIMITS["beside"] if long else None,
            "Killed": self.restart <= LIMITS["restart"] if long else None,
        }
        return [
            (what, f"{value:.3g}{more}", limit, judged.get(what.split()[0], holds))
            for what, value, limit, more, holds in rows
        ]

    def markdown(self) -> str:
        """The report for the documentation."""
        words = {True: "holds", False: "**exceeded**", None: "run too short to tell"}
        rows = [f"| {a} | {b} | {c} | {words[d]} |" for a, b, c, d in self.verdicts()]
        asked = ", ".join(f"{name} {count}" for name, count in sorted(self.answers.items()))
        lines = [
            f"{CLIENTS} clients, {self.seconds:.0f} s, {os.cpu_count()} cores "
            f"({platform.machine()}), load average {os.getloadavg()[0]:.1f}; answers: {asked}.",
            "",
            "| What | Measured | Limit | |",
            "|---|---|---|---|",
            *rows,
        ]
        if self.errors:
            lines += ["", "First errors:", "", *(f"- {error}" for error in self.errors[:5])]
        return "\n".join(lines)


def jain(counts: Sequence[float]) -> float:
    """Jain, Chiu and Hawe (1984): 1 where all got the same, 1/n where one got everything."""
    squares = len(counts) * sum(count**2 for count in counts)
    return sum(counts) ** 2 / squares if squares else 0.0


def p95(values: Sequence[float]) -> float:
    """The 95th percentile."""
    return float(np.percentile(values, 95)) if values else float("nan")


def slope_mb_per_minute(samples: Sequence[tuple[float, float]]) -> float:
    """Least squares over the samples (second, MB) after the second minute, or the later half."""
    start = min(120.0, samples[-1][0] / 2)
    seconds, memory = np.array([sample for sample in samples if sample[0] >= start]).T
    return float(np.polyfit(seconds, memory, 1)[0] * 60) if len(seconds) > 2 else 0.0
