"""The whole page: header, the discovered tabs, the meter, and the endpoints about the hub."""

from __future__ import annotations

import html
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from core import weights
from demos import _api, _handoff, _ui, discover

CSS = Path(__file__).with_name("style.css")
QUEUE_SIZE = 64
HEAD = """
<header class="hub">
<h1>Vision Hub</h1>
<p>Try vision models on your own pictures, and see how they work.</p>
</header>
"""


def build() -> gr.Blocks:
    """The Blocks with every tab, queue configured, ready to launch."""
    with gr.Blocks(
        title="Vision Hub", analytics_enabled=False, delete_cache=(3600, 6 * 3600)
    ) as page:
        gr.HTML(HEAD)
        api = _api.begin()
        _ui.begin_page()
        _handoff.begin_page()
        with gr.Tabs(overflow_behavior="wrap", elem_id="tabs"):
            for tab in discover():
                with gr.Tab(tab.title, id=tab.key, elem_id=f"tab-{tab.key}"):
                    tab.build()
        _handoff.wire()
        _meter()
        _ui.refresh_pickers_on_load(page)
        api.add("checkpoints", checkpoints, (), ("json",))
        api.add("status", status, (), ("json",))
        page.load(None, None, None, js=_handoff.OPEN_LINKED, api_visibility="private")
    # Without api_open=False a POST to /run passes the queue, and its limits, by.
    page.queue(max_size=QUEUE_SIZE, api_open=False)
    return page


def checkpoints() -> list[dict[str, object]]:
    """List every checkpoint: key, task, tier, whether it is at hand, size, licence, parameters."""
    return weights.listing()


def status() -> dict[str, object]:
    """Read the meter: models in memory, megabytes, hits, misses, evictions, load seconds."""
    from core import runtime

    return runtime.status()


def _meter() -> None:
    with gr.Accordion("Models in memory", open=False, elem_id="meter") as accordion:
        meter = gr.HTML()
        refresh = gr.Button("Refresh", size="sm")
    for trigger in (accordion.expand, refresh.click):
        trigger(meter_html, None, [meter], api_visibility="private", show_progress="hidden")
    with gr.Accordion("Your own checkpoints", open=False, elem_id="own") as own_accordion:
        found = gr.HTML()
    own_accordion.expand(own_html, None, [found], api_visibility="private", show_progress="hidden")


def meter_html() -> str:
    """The meter as a bar of bytes and a table of models."""
    values: Any = status()
    used, budget = values["used_mb"], values["budget_mb"]
    rows = "".join(
        f"<tr><td>{html.escape(m['checkpoint'])}</td><td>{html.escape(m['tier'])}</td>"
        f"<td>{m['mb']} MB</td></tr>"
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


def own_html() -> str:
    """What was found in the folder of own checkpoints, and what could not be told apart."""
    from core import own
    from core.settings import get_settings

    if get_settings().checkpoints is None:
        return (
            '<p class="about">Start the hub with VISION_HUB_CHECKPOINTS set to a weight file or a '
            "folder of them, and they appear in the pickers of the tabs.</p>"
        )
    scan = own.scan()
    rows = "".join(
        f"<tr><td>{html.escape(c.title or c.key)}</td><td>{html.escape(c.task)}</td></tr>"
        for c in scan.checkpoints
    )
    problems = "".join(f'<p class="note">{html.escape(text)}</p>' for text in scan.problems)
    empty = "" if rows or problems else '<p class="about">The folder holds no weight files.</p>'
    return f'<table class="rows"><tbody>{rows}</tbody></table>{problems}{empty}'


def warm_up() -> threading.Thread:
    """Import the heavy libraries and load the starters behind the scenes, after the page is up."""

    def work() -> None:
        from core import warm

        warm.everything()

    thread = threading.Thread(target=work, name="warm-up", daemon=True)
    thread.start()
    return thread
