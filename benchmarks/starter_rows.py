"""One measured figure of a starter beside its goal, and the table of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One measured figure, its goal, and the classical methods to beat.

    Raises:
        ValueError: `at_most` with classical methods, which are compared only where more is better.
    """

    starter: str
    measure: str
    value: float
    goal: float | None = None
    unit: str = ""
    at_most: bool = False
    classical: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.at_most and self.classical:
            raise ValueError(f"{self.measure}: less is better, so nothing can be beaten")

    @property
    def met(self) -> bool:
        """Whether it reaches the goal and beats every classical method."""
        if self.goal is not None and not (
            self.value <= self.goal if self.at_most else self.value >= self.goal
        ):
            return False
        return all(self.value > other for other in self.classical.values())

    def cells(self) -> list[str]:
        """The row as text: starter, measure, value, goal, classical methods, verdict."""
        sign = "<=" if self.at_most else ">="
        others = ", ".join(f"{name} {value:.4g}" for name, value in self.classical.items())
        return [
            self.starter,
            self.measure,
            f"{self.value:.4g} {self.unit}".strip(),
            "" if self.goal is None else f"{sign} {self.goal:g}",
            others,
            "reached" if self.met else "SHORT",
        ]


HEAD = ["starter", "measure", "value", "goal", "classical, same data", ""]


def table(rows: list[Row]) -> str:
    """A Markdown table with columns of even width."""
    lines = [HEAD, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    lines.insert(1, ["-" * width for width in widths])
    padded = (
        [cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines
    )
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)
