"""Public endpoints: functions with named, defaulted parameters behind invisible components.

Each component is created once per page and shared, because a page contains the configuration of
every component, visible or not.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import gradio as gr

from core import checks
from demos.shell import docstrings
from demos.shell.file_in import FileIn
from demos.shell.image import ImageIn
from demos.shell.ui import DEVICE_QUEUE, guarded

Kind = Literal["image", "clip", "text", "number", "flag", "json", "picture", "lossless", "label"]
_EXAMPLES = {
    "points": [[120, 80, 1]],
    "box": [40, 30, 220, 180],
    "boxes": [[40, 30, 220, 180, "cat"]],
    "place": [120, 90],
    "weights": [1, 5, 2],
    "unmatched": 0.1,
    "sigma": 25,
}


class Api:
    """The endpoints of one page. `add` takes parameter names and defaults from the function."""

    def __init__(self) -> None:
        self._made: dict[tuple[Kind, str, Any, str], Any] = {}
        self._trigger = gr.Button(visible=False)

    def add(
        self,
        name: str,
        fn: Callable[..., Any],
        inputs: Sequence[Kind],
        outputs: Sequence[Kind],
        queue: tuple[str, int] = DEVICE_QUEUE,
    ) -> None:
        """Offer `fn` as `/name`; clients see its docstring. `queue`: as in `demos.shell.ui`."""
        parameters = inspect.signature(fn).parameters.values()
        said = docstrings.sections(inspect.getdoc(fn)).parameters
        self._trigger.click(
            guarded(_checked(fn, inputs), libraries="image" in inputs),
            [
                self._input(kind, p, said.get(p.name, ""))
                for kind, p in zip(inputs, parameters, strict=True)
            ],
            [self._component(kind, f"output {n}", None, "") for n, kind in enumerate(outputs)],
            api_name=name,
            api_visibility="public",
            concurrency_id=queue[0],
            concurrency_limit=queue[1],
        )

    def _input(self, kind: Kind, parameter: inspect.Parameter, said: str) -> Any:
        default = None if parameter.default is inspect.Parameter.empty else parameter.default
        return self._component(kind, parameter.name, default, said)

    def _component(self, kind: Kind, label: str, value: Any, said: str) -> Any:
        # Clients get a parameter's default from its component's value.
        key = (kind, label, value, said)
        if key not in self._made:
            made = self._made[key] = _make(kind, label, value)
            _document(made, said, _EXAMPLES.get(label, value))
        return self._made[key]


def _document(component: Any, said: str, example: Any) -> None:
    """Set a parameter's description and example in the page's own API documentation."""
    schema = component.api_info()
    component.api_info = lambda: {**schema, "additional_description": said}
    if example is not None:
        component.example_payload = lambda: example


def _checked(fn: Callable[..., Any], kinds: Sequence[Kind]) -> Callable[..., Any]:
    """Wrap `fn`: null means the default, and numbers are checked: callers can send anything."""
    parameters = list(inspect.signature(fn).parameters.values())

    @functools.wraps(fn)
    def call(*values: Any) -> Any:
        triples = zip(parameters, kinds, values, strict=True)
        return fn(*(_argument(parameter, kind, value) for parameter, kind, value in triples))

    return call


def _argument(parameter: inspect.Parameter, kind: Kind, value: Any) -> Any:
    if value is None:
        return None if parameter.default is inspect.Parameter.empty else parameter.default
    if kind == "number":
        return checks.number(value, parameter.name)
    if kind == "flag":
        return checks.flag(value, parameter.name)
    return value


def _make(kind: Kind, label: str, value: Any) -> Any:
    match kind:
        case "image":
            return ImageIn(label=label, visible=False)
        case "clip":
            return FileIn(label=label, visible=False)
        case "text":
            return gr.Textbox(value, label=label, visible=False)
        case "number":
            return gr.Number(value, label=label, visible=False)
        case "flag":
            return gr.Checkbox(value, label=label, visible=False)
        case "json":
            return gr.JSON(value, label=label, visible=False)
        case "picture":
            return gr.Image(label=label, visible=False, format="jpeg", type="filepath")
        case "lossless":
            return gr.Image(label=label, visible=False, format="png", type="filepath")
        case "label":
            return gr.Label(label=label, visible=False)


_current: list[Api] = []


def begin() -> Api:
    """Start the endpoints of a new page; call it inside the Blocks, before building any tab."""
    _current[:] = [Api()]
    return _current[0]


def endpoint(
    name: str,
    fn: Callable[..., Any],
    inputs: Sequence[Kind],
    outputs: Sequence[Kind],
    queue: tuple[str, int] = DEVICE_QUEUE,
) -> None:
    """Offer `fn` on the page under construction."""
    _current[0].add(name, fn, inputs, outputs, queue)
