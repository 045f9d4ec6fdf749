"""The whole page: header, discovered tabs, meter, and the endpoints about the app itself."""

from __future__ import annotations

import html
import threading
from pathlib import Path
from typing import Any

import gradio as gr

from core.cpu import allocator
from core.sources import resolver
from demos import discover, lessons_of
from demos.gradio_patches import check, light
from demos.gradio_patches import queue as _queue
from demos.server import answer, mcp
from demos.shell import api as _api
from demos.shell import examples, offers, owner, picker, result, ui, words
from demos.shell import tools as _tools
from demos.shell.shared import SharedPicture, about

_trimmer = allocator.Trimmer()
status = owner.status
CSS = [Path(__file__).parent / name for name in ("style.css", "shell/lesson.css")]
_SHELL = Path(__file__).with_name("shell")
_SCRIPTS = [
    _SHELL.joinpath(f"{name}.js").read_text("utf-8") for name in ("any_file", "handles", "scrolls")
]
HEAD = """
<header class="hub">
<h1>Vision Hub</h1>
<p>Try vision models on your own pictures, and see how they work.</p>
</header>
"""


class Page(gr.Blocks):
    """Blocks whose errors are all sentences, and whose queue keeps room for short requests.

    `ui.guarded` covers errors in handlers. Without this class, errors before and after them, in
    Gradio's components, would reach the visitor empty.
    """

    places: _queue.Places

    def queue(self, *args: Any, **options: Any) -> Page:
        """Gradio's queue, which each page has from the start, with shares for long jobs and for
        each visitor."""
        # Without api_open=False a POST to /run bypasses the queue and its limits.
        super().queue(*args, **{"max_size": _queue.SIZE, "api_open": False, **options})
        self.places = _queue.Places(self._queue)
        return self

    async def preprocess_data(self, *args: Any, **options: Any) -> Any:
        """From JSON to the arguments of a handler."""
        fn, given, *more = args
        if fn.api_visibility == "public" and isinstance(given, list):
            # Values left out at the end have their defaults, as null has: an endpoint may get
            # another parameter and answer older callers as before.
            given = [*given, *[None] * (len(fn.inputs) - len(given))]
        try:
            values = await super().preprocess_data(fn, given, *more, **options)
        except gr.Error as error:
            error.print_exception = False  # the caller's fault, so not for the log
            if "is not in the list of choices" in error.message:  # it lists Python values
                error.message = answer.UNFIT
            if refused := result.refused(fn.fn, error.message, len(fn.inputs)):
                return refused
            raise
        except (OSError, MemoryError):
            raise
        except Exception:  # callers can send anything, and components fail in many ways
            raise gr.Error(answer.UNFIT, print_exception=False) from None
        for block, value in zip(fn.inputs, values, strict=False):
            if isinstance(block, gr.Dataset) and value is None:  # Gradio's handler unpacks it
                raise gr.Error(answer.UNFIT, print_exception=False)
        return values

    async def process_api(self, block_fn: Any, *args: Any, **options: Any) -> Any:
        """A whole call, from JSON to JSON."""
        if getattr(block_fn, "fn", self) is None:  # the event runs only in the browser
            raise gr.Error(answer.UNFIT, print_exception=False)
        try:
            return await super().process_api(block_fn, *args, **options)
        except Exception as error:
            raise ui.as_gradio_error(error) from None
        finally:
            _trimmer.note()  # the call's pictures, tensors and masks are free now


def build() -> Page:
    """Build the Blocks with every tab and a configured queue, ready to launch."""
    light.install()
    with Page(title="Vision Hub", analytics_enabled=False, delete_cache=(3600, 6 * 3600)) as page:
        head = gr.HTML(HEAD, padding=False)
        api = _api.begin()
        picker.begin_page()
        offers.begin_page()
        tabs = discover()
        with gr.Row(elem_id="hub"):
            with gr.Column(elem_id="hub-picture", min_width=0):
                shared = SharedPicture({tab.key: tab.inner for tab in tabs})
            with (
                gr.Column(elem_id="hub-tabs", min_width=0),
                gr.Tabs(overflow_behavior="wrap", elem_id="tabs"),
            ):
                for tab in tabs:
                    with gr.Tab(tab.title, id=tab.key, elem_id=f"tab-{tab.key}") as opened:
                        # First: what listens after it may have to wait, and by then another tab
                        # may be open.
                        shared.opens(opened, tab.key)
                        gr.HTML(about(tab.about), padding=False)
                        tab.build(shared)
        shared.wire(page)
        owner.build(page)
        _own()
        with gr.Accordion("Words", open=False, elem_id="words"):
            gr.HTML(words.all_words())
        picker.refresh_pickers_on_load(page)
        offers.follow_on_load(page)
        api.add("checkpoints", checkpoints, (), ("json",))
        api.add("status", status, (), ("json",))
        for script in (*_SCRIPTS, examples.NAME_THUMBNAILS):
            page.load(None, None, None, js=script, api_visibility="private")
    # The page updates the status of every component that an event reports to, each time that any
    # event's status changes, and searches the whole tree for each: the first one is found at once.
    for fn in page.fns.values():
        if fn.show_progress == "hidden":
            fn.show_progress_on = [head]
    check.check(page)
    return page


def previews(page: gr.Blocks) -> frozenset[int]:
    """The ids of the events that a page sends while the mouse moves over a canvas."""
    return frozenset(
        number
        for number, fn in page.fns.items()
        if any(event == "hover" for _, event in fn.targets)
    )


def tools(page: gr.Blocks) -> list[mcp.Tool]:
    """The endpoints that language models may call; lessons answer with numbers for a drawing."""
    lessons = [one.endpoint for tab in discover() for one in lessons_of(tab.key)]
    return _tools.of_page(page, frozenset({"status", *(one.name for one in lessons if one)}))


def checkpoints() -> list[dict[str, object]]:
    """List every checkpoint: key, task, tier, whether it is ready, size, licence, parameters."""
    return resolver.listing()


def _own() -> None:
    with gr.Accordion("Your own checkpoints", open=False, elem_id="own") as accordion:
        found = gr.HTML()
    accordion.expand(own_html, None, [found], api_visibility="private", show_progress="hidden")


def own_html() -> str:
    """The checkpoints found in the owner's folder, and the files that were not recognised."""
    from core.settings import get_settings
    from core.sources import own_files

    if get_settings().checkpoints is None:
        return (
            '<p class="about">Start the hub with VISION_HUB_CHECKPOINTS set to a weight file or a '
            "folder of them, and they appear in the pickers of the tabs.</p>"
        )
    scan = own_files.scan()
    rows = "".join(
        f"<tr><td>{html.escape(c.title or c.key)}</td><td>{html.escape(c.task)}</td></tr>"
        for c in scan.checkpoints
    )
    problems = "".join(f'<p class="note">{html.escape(text)}</p>' for text in scan.problems)
    empty = "" if rows or problems else '<p class="about">The folder contains no weight files.</p>'
    return f'<table class="rows"><tbody>{rows}</tbody></table>{problems}{empty}'


def place() -> None:
    """Load the best checkpoints onto the device now."""
    from core.start import warm

    warm.place()


def warm_up(models: bool = True) -> threading.Thread:
    """Import the heavy libraries and load the starters in the background, once the page is up;
    without `models`, only the former."""

    def work() -> None:
        from core.start import warm

        warm.everything() if models else warm.libraries()

    thread = threading.Thread(target=work, name="warm-up", daemon=True)
    thread.start()
    return thread
