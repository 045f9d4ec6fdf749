"""The meter of models in memory, and the buttons for the owner to pin and unload them.

The log shows the owner's link at startup. The link contains a key, since a local address does not
identify the owner: through a public link or most proxies, every visitor connects from this machine.
"""

from __future__ import annotations

import html
import secrets
from typing import Any

import gradio as gr

from core.errors import InputError
from demos.shell import ui

KEY = secrets.token_urlsafe(16)


def link(url: str) -> str:
    """The owner's link to the page."""
    return f"{url.rstrip('/')}/?owner={KEY}"


def is_owner(request: gr.Request) -> bool:
    """Whether the page was opened with the owner's link."""
    given = str(request.query_params.get("owner", ""))
    return secrets.compare_digest(given.encode(), KEY.encode())


def build(page: gr.Blocks) -> None:
    """The accordion with the meter, and the controls that only the owner sees."""
    owner = gr.State(False)  # lives on the server: callers cannot set it
    with gr.Accordion("Models in memory", open=False, elem_id="meter") as accordion:
        meter = gr.HTML()
        refresh = gr.Button("Refresh", size="sm")
        with gr.Row(visible=False, elem_id="owner") as controls:
            model = gr.Dropdown(
                [], label="Model in memory", elem_id="owner-model", allow_custom_value=True
            )
            pin = gr.Button("Pin", size="sm", elem_id="owner-pin")
            unpin = gr.Button("Unpin", size="sm")
            unload = gr.Button("Unload", size="sm", elem_id="owner-unload")
    hidden: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    for trigger in (accordion.expand, refresh.click):
        trigger(_refresh, [owner], [meter, model], **hidden)
    for button, act in ((pin, _pin), (unpin, _unpin), (unload, _unload)):
        button.click(ui.guarded(_owners(act)), [owner, model], [meter, model], **hidden)
    page.load(_open, None, [owner, controls], **hidden)


def _open(request: gr.Request) -> tuple[bool, Any]:
    known = is_owner(request)
    return known, gr.Row(visible=known)


def _owners(act: Any) -> Any:
    """Run `act` on the chosen model, for the owner only, and refresh the meter."""

    def call(owner: bool, model: str | None) -> tuple[Any, ...]:
        if owner is not True:
            raise InputError("Only the owner of this hub can do that.")
        if not model:
            raise InputError("Choose a model first.")
        act(model)
        return _refresh(owner)

    return call


def _pin(model: str) -> None:
    from core.serving import runtime

    runtime.models().pin(model)


def _unpin(model: str) -> None:
    from core.serving import runtime

    runtime.models().pin(model, pinned=False)


def _unload(model: str) -> None:
    from core.serving import runtime

    runtime.unload(model)


def _refresh(owner: bool) -> tuple[Any, ...]:
    if owner is not True:
        return meter_html(), gr.skip()
    values: Any = status()
    keys = sorted({m["checkpoint"] for m in values["models"]})
    return meter_html(), gr.Dropdown(choices=keys, value=keys[0] if keys else None)


def status() -> dict[str, object]:
    """Read the meter: models in memory, megabytes, hits, misses, evictions, load seconds."""
    from core.serving import backends, runtime

    replicas = backends.elsewhere()
    return {**runtime.status(), **({"replicas": replicas} if replicas else {})}


def meter_html() -> str:
    """The meter as HTML: a bar for the memory used and a table of models."""
    values: Any = status()
    used, budget = values["used_mb"], values["budget_mb"]
    rows = "".join(
        f"<tr><td>{html.escape(m['checkpoint'])}</td><td>{html.escape(m['tier'])}</td>"
        f"<td>{m['mb']} MB</td><td>{'pinned' if m['pinned'] else ''}</td></tr>"
        for m in reversed(values["models"])
    )
    share = min(100.0, 100 * used / max(budget, 1))
    kept = values["outputs"]
    return (
        f'<p class="info">{values["device"]} {values["precision"]} · {used} of {budget} MB · '
        f"{values['hits']} hits, {values['misses']} misses, {values['evictions']} evictions · "
        f"{values['load_seconds']:.2f} s loading · {kept['values']} kept outputs, "
        f"{kept['used_mb']} of {kept['budget_mb']} MB</p>"
        f'<div class="bar-track" role="img" aria-label="{share:.0f} % of the model memory used">'
        f'<span class="bar-fill" style="width:{share:.1f}%"></span></div>'
        f'<table class="rows"><tbody>{rows}</tbody></table>'
    )
