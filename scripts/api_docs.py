"""Write the endpoints into docs/api.md, from the page and the docstrings of its functions.

Usage: python -m scripts.api_docs [--check]

The text between the markers is generated; everything else on that page is written by hand.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from demos import _page, discover, lessons_of
from demos.shell import docstrings
from demos.shell.file_in import FileIn
from demos.shell.image import ImageIn
from scripts import generated

PAGE = Path(__file__).resolve().parent.parent / "docs/api.md"
TABLE, DETAILS = "table", "details"
TYPES: dict[type, str] = {
    ImageIn: "picture",
    FileIn: "file",
    gr.Textbox: "text",
    gr.Number: "number",
    gr.Checkbox: "true or false",
    gr.JSON: "JSON",
    gr.Label: "label with confidences",
}
APP = ("checkpoints", "status")  # about the app, not about a picture


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its name, type and default in words, and its meaning."""

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Described:
    """One endpoint, as its function and its components describe it."""

    name: str
    summary: str
    parameters: tuple[Parameter, ...]
    results: tuple[str, ...]  # what each output is
    returns: str


def endpoints() -> list[Described]:
    """Every public endpoint; those of a tab, then those of its lessons."""
    page = _page.build()
    info = page.get_api_info()["named_endpoints"]
    found = [
        _described(str(fn.api_name), fn, info[f"/{fn.api_name}"]["parameters"])
        for fn in page.fns.values()
        if fn.api_visibility == "public"
    ]
    of_lessons = {
        one.endpoint.name for tab in discover() for one in lessons_of(tab.key) if one.endpoint
    }
    ordered: list[Described] = []
    waiting: list[Described] = []  # the page has a tab's lessons before its own endpoints
    for one in found:
        if one.name in of_lessons:
            waiting.append(one)
        else:
            ordered += [one, *waiting]
            waiting = []
    return ordered


def _described(name: str, fn: Any, parameters: list[dict[str, Any]]) -> Described:
    said = docstrings.sections(inspect.getdoc(fn.fn))
    return Described(
        name,
        said.summary,
        tuple(
            Parameter(
                one["parameter_name"],
                _kind(component),
                "required"
                if isinstance(component, ImageIn)
                else f"`{json.dumps(one['parameter_default'])}`",
                said.parameters.get(one["parameter_name"], ""),
            )
            for component, one in zip(fn.inputs, parameters, strict=True)
        ),
        tuple(_kind(component) for component in fn.outputs),
        said.returns,
    )


def _kind(component: Any) -> str:
    if type(component) is gr.Image:
        return "picture (PNG)" if component.format == "png" else "picture"
    return TYPES[type(component)]


def table(found: list[Described]) -> str:
    """One row for each endpoint."""
    lines = ["| Endpoint | Parameters after `image` (defaults) | Returns |", "|---|---|---|"]
    for one in found:
        if one.name not in APP:
            without = "" if any(p.name == "image" for p in one.parameters) else "no image: "
            cells = [f"`{p.name}={p.default[1:-1]}`" for p in one.parameters if p.name != "image"]
            results = ", ".join(one.results)
            lines.append(f"| `/{one.name}` | {without}{', '.join(cells)} | {results} |")
    return "\n".join(lines) + "\n"


def details(found: list[Described]) -> str:
    """A section for each endpoint."""
    parts = []
    for one in found:
        lines = [f"### /{one.name}", "", _safe(one.summary), ""]
        if one.parameters:
            lines += ["| Parameter | Type | Default | Meaning |", "|---|---|---|---|"]
            lines += [
                f"| `{p.name}` | {p.kind} | {p.default} | {_safe(p.meaning)} |"
                for p in one.parameters
            ]
            lines.append("")
        if one.returns:
            lines += [f"Returns ({', '.join(one.results)}): {_safe(one.returns)}", ""]
        parts.append("\n".join(lines))
    return "\n".join(parts)


def _safe(text: str) -> str:
    """Text of a docstring as Markdown: brackets and bars have a meaning there."""
    return re.sub(r"([\[\]|<>*])", r"\\\1", text) if "`" not in text else text.replace("|", "\\|")


def page(found: list[Described]) -> str:
    """docs/api.md with the current text between its markers."""
    text = PAGE.read_text("utf-8")
    for name, made in ((TABLE, table(found)), (DETAILS, details(found))):
        text = generated.between(text, name, made)
    return text


def main() -> int:
    """Write the page, or check it: `scripts.generated.main`."""
    return generated.main(PAGE, page(endpoints()), "scripts.api_docs", __doc__)


if __name__ == "__main__":
    sys.exit(main())
