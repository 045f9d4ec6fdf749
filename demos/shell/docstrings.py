"""Google docstrings in parts: clients, tools and docs/api.md show them to people."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ONE = re.compile(r"^ {4}(\w+): (.*?)(?=^ {4}\w+: |\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Sections:
    """The text before `Args:`, what is said of each parameter, and of the result."""

    summary: str
    parameters: dict[str, str]
    returns: str


def sections(doc: str | None) -> Sections:
    """The parts of a docstring as `inspect.getdoc` returns it, each on one line."""
    text, _, _ = (doc or "").partition("\nRaises:\n")
    text, _, returns = text.partition("\nReturns:\n")
    head, _, arguments = text.partition("\nArgs:\n")
    said = {name: _line(meaning) for name, meaning in _ONE.findall(arguments)}
    return Sections(_line(head), said, _line(returns))


def _line(text: str) -> str:
    return " ".join(text.split())
