"""The page's endpoints as tools for language models (MCP), described by their docstrings."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr

from demos.server.mcp import Tool
from demos.shell import docstrings
from demos.shell.image import ImageIn

PICTURE = {
    "type": "string",
    "description": (
        "The picture as a data: URL (data:image/jpeg;base64,...), or the path that "
        "POST /gradio_api/upload or an earlier tool has answered. No web addresses."
    ),
}
_TYPES: dict[Any, str] = {gr.Textbox: "string", gr.Number: "number", gr.Checkbox: "boolean"}


def of_page(page: gr.Blocks, without: frozenset[str]) -> list[Tool]:
    """A tool for each public endpoint, except those named in `without`."""
    info = page.get_api_info()["named_endpoints"]
    return [
        _tool(str(fn.api_name), fn, info[f"/{fn.api_name}"]["parameters"])
        for fn in page.fns.values()
        if fn.api_visibility == "public" and fn.api_name not in without
    ]


def _tool(name: str, fn: Any, parameters: list[dict[str, Any]]) -> Tool:
    said = docstrings.sections(inspect.getdoc(fn.fn))
    properties: dict[str, Any] = {}
    pictures: list[str] = []
    for component, one in zip(fn.inputs, parameters, strict=True):
        key = one["parameter_name"]
        if isinstance(component, ImageIn):
            properties[key] = PICTURE
            pictures.append(key)
        else:
            properties[key] = _schema(component, one, said.parameters.get(key, ""))
    about = f"{said.summary} Returns: {said.returns}" if said.returns else said.summary
    schema = {"type": "object", "properties": properties, "required": pictures}
    return Tool(name, about, {**schema, "additionalProperties": False}, tuple(pictures))


def _schema(component: Any, parameter: dict[str, Any], meaning: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"description": meaning, "default": parameter["parameter_default"]}
    kind = _TYPES.get(type(component))
    if kind is None:  # JSON
        schema["type"] = ["array", "null"]
        schema["examples"] = [parameter["example_input"]]
    else:
        schema["type"] = kind if schema["default"] is not None else [kind, "null"]
    return schema
