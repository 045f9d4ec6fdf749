"""Shared by the tabs: running on the device, errors, the info line, result files."""

from __future__ import annotations

import errno
import functools
import html
import inspect
import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
from cachetools import TTLCache
from gradio.context import LocalContext

from core.checkpoints import by_key
from core.errors import HubError, InputError
from core.settings import get_settings
from core.types import RunInfo
from demos.server import files
from demos.shell import words

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
# Three queues for all model events. The limits are above one so that a load or a download does not
# block the others; `core.serving.runtime.forward` runs forward passes one at a time.
# Long jobs have their own queue: otherwise eight of them would block every short request.
DEVICE_QUEUE = ("device", get_settings().slots)
# A large SAM takes seconds to encode a picture on a CPU; half of the slots stay free for the rest.
READING_QUEUE = ("reading", max(1, get_settings().slots // 2))
LONG_QUEUE = ("long", get_settings().long_slots)
result_path, result_folder = files.result_path, files.result_folder
# Functions for scripts of gr.HTML components: `fileAddress(path)` and `inkOn([r, g, b])`.
COMMON_JS = Path(__file__).with_name("common.js").read_text(encoding="utf-8")
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EACCES, errno.EPERM, errno.EROFS}
_UNEXPECTED = "Something went wrong on our side. Your picture is still here; please try again."
_log = logging.getLogger(__name__)
_warned: TTLCache[tuple[str, str], bool] = TTLCache(1024, 5.0)  # by session
_lock = threading.Lock()


def guarded(fn: F, libraries: bool = False) -> F:
    """Wrap `fn` so that every error becomes one sentence on the page.

    With `libraries` it first imports the tasks' libraries, which takes seconds after the start;
    imports of one library in several threads can fail. Generators stay generators, since Gradio can
    cancel only those.
    """

    @functools.wraps(fn)
    def call(*args: Any) -> Any:
        try:
            if libraries:
                _import_libraries()
            return fn(*args)
        except Exception as error:
            raise as_gradio_error(error) from None

    @functools.wraps(fn)
    def generate(*args: Any) -> Iterator[Any]:
        try:
            if libraries:
                _import_libraries()
            yield from fn(*args)
        except Exception as error:
            raise as_gradio_error(error) from None

    return generate if inspect.isgeneratorfunction(fn) else call  # type: ignore[return-value]


def _import_libraries() -> None:
    from core.start import warm

    warm.libraries()


def as_gradio_error(error: Exception) -> gr.Error:
    """The sentence to show; unexpected errors go to the log, never to the page."""
    if isinstance(error, gr.Error):
        return error
    if isinstance(error, HubError):
        return gr.Error(_without_tags(str(error)), print_exception=False)
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return gr.Error("The server's disk is full; please try later.", print_exception=False)
    if isinstance(error, OSError) and error.errno in _NO_ACCESS:
        _log.error("a file cannot be written", exc_info=error)
        return gr.Error(files.READ_ONLY, print_exception=False)
    if isinstance(error, MemoryError):
        return gr.Error(
            "There is too little memory for this now; please try a smaller picture.",
            print_exception=False,
        )
    _log.error("unexpected error", exc_info=error)
    return gr.Error(_UNEXPECTED, print_exception=False)


def warn(sentence: str) -> None:
    """Show a message without ending the event; each one only once in a few seconds, since Gradio
    reports a new picture up to three times."""
    request = LocalContext.request.get(None)
    key = (str(getattr(request, "session_hash", "")), sentence)
    with _lock:
        told = key in _warned
        _warned[key] = True
    if not told:
        gr.Warning(_without_tags(sentence))


def _without_tags(sentence: str) -> str:
    """Replace angle brackets: the page shows messages as HTML, clients read them as text, and file
    names can contain tags."""
    return sentence.replace("<", "\u2039").replace(">", "\u203a")


def on_device(
    triggers: Sequence[Any],
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    trigger_mode: str = "always_last",
    show_progress: str = "minimal",
    queue: tuple[str, int] = DEVICE_QUEUE,
    progress_on: Any = None,
    js: str | None = None,
) -> Any:
    """Wire a model event: shared queue, plain errors, not part of the public API.

    `LONG_QUEUE` is for jobs of many model calls; they are generators, to be cancellable. With
    `progress_on`, only that component shows progress and the queue position.
    """
    # gr.on does not support the events of gr.HTML components; those are called directly.
    one = triggers[0] if len(triggers) == 1 else functools.partial(gr.on, list(triggers))
    return one(
        fn=guarded(fn, libraries=True),
        inputs=list(inputs),
        outputs=list(outputs),
        trigger_mode=trigger_mode,
        show_progress=show_progress,
        show_progress_on=progress_on,
        concurrency_id=queue[0],
        concurrency_limit=queue[1],
        api_visibility="private",
        js=js,
    )


def download_progress(bar: gr.Progress) -> Callable[[float, str], None]:
    """gr.Progress as a download callback for `core`."""
    return lambda fraction, sentence: bar(fraction, desc=sentence)


def lab() -> gr.Row:
    """The grid of a tab: `area("out")` for results, and `area("set")` for controls, which are
    beside the results on a wide screen and below them on others."""
    return gr.Row(elem_classes="lab")


def area(name: str) -> gr.Column:
    """One area of `lab`: "out" or "set"; also "quick", above the results on narrow screens, and
    "rest", below "set"."""
    return gr.Column(min_width=0, elem_classes=f"lab-{name}")


def more() -> gr.Accordion:
    """The accordion for controls that few people need."""
    return gr.Accordion("More settings", open=False, elem_classes="more-settings")


def hint(text: str) -> gr.HTML:
    """A line on which examples the starter does well and badly."""
    return gr.HTML(f'<p class="about">{html.escape(text)}</p>')


def tiered(name: str, tier: str) -> list[str]:
    """A checkpoint's name and tier, as HTML."""
    return [f"<b>{html.escape(name)}</b>", f'<span class="tier tier-{tier}">{tier}</span>']


def dotted(markup: Sequence[str], facts: Sequence[str]) -> str:
    """Join `markup`, unchanged, and the non-empty `facts`, as plain text."""
    return " · ".join([*markup, *(html.escape(fact) for fact in facts if fact)])


def info_html(info: RunInfo, *more: str) -> str:
    """The chip under an output: the checkpoint and the total time, or that the answer was kept; it
    expands to further facts and the time of each stage."""
    times = [f"{name} {duration(s)}" for name, s in info.seconds.items() if s >= 0.0005]
    cached = [f"{name} {state}" for name, state in info.cache.items()]
    facts = [
        f"trained on {info.trained_on}" if info.trained_on else "",
        info.metric,
        f"{info.device} {info.precision}",
        ", ".join(times),
        ", ".join(cached),
    ]
    note = f'<p class="note">{html.escape(info.note)}</p>' if info.note else ""
    known = by_key(info.checkpoint)
    name = tiered(known.title if known else info.checkpoint, info.tier)
    kept = info.cache.get("output") == "hit"  # "0 ms" would look like an error
    spent = "kept from before" if kept else duration(sum(info.seconds.values()))
    return note + chip(dotted(name, [*more, spent]), dotted([], facts))


def chip(head: str, rest: str) -> str:
    """One line of HTML that expands to the `rest`, and to what its words mean."""
    return (
        f'<details class="info"><summary>{head} · <span class="more">details</span></summary>'
        f"<p>{rest}</p>{words.explained(head + ' ' + rest)}</details>"
    )


def duration(seconds: float) -> str:
    """Seconds as a person reads them: "315 ms" or "1.92 s"."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def followed(
    steps: Generator[float, None, T], bar: gr.Progress, doing: str, outputs: int
) -> Generator[tuple[Any, ...], None, T]:
    """Show the progress of a long job and return its result.

    Each yield leaves the `outputs` unchanged and is a point where Cancel takes effect.
    """
    while True:
        try:
            fraction = next(steps)
        except StopIteration as stop:
            return stop.value
        bar(fraction, desc=doing)
        yield tuple(gr.skip() for _ in range(outputs))


def run_while_wanted(steps: Generator[object, None, T]) -> T:
    """Run an endpoint's long job to its end and return the result.

    An endpoint is a plain function, since it responds once, and Gradio does not stop those when
    their caller cancels or disconnects. So this checks between steps whether anyone is waiting.
    """
    wanted = _is_wanted()
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value
        if not wanted():
            steps.close()
            raise gr.Error("The job was cancelled.", print_exception=False)


def _is_wanted() -> Callable[[], bool]:
    page, event_id = LocalContext.blocks.get(None), LocalContext.event_id.get(None)
    if page is None or event_id is None:  # not called through the queue
        return lambda: True
    events = page._queue.event_ids_to_events

    def wanted() -> bool:
        event = events.get(event_id)  # gone once it was cancelled
        return event is not None and event.alive

    return wanted


def picture_output(
    label: str, elem_id: str, lossless: bool = False, min_width: int = 160
) -> gr.Image:
    """A picture output: JPEG for viewing, PNG for comparing pixels."""
    return gr.Image(
        label=label,
        format="png" if lossless else "jpeg",
        type="filepath",
        interactive=False,
        min_width=min_width,
        elem_id=elem_id,
        buttons=["download", "fullscreen"],
    )


def placeholder(text: str) -> str:
    """A placeholder for a result."""
    return f'<p class="placeholder">{html.escape(text)}</p>'


def required(image: Any) -> Any:
    """The picture of an API call.

    Raises:
        InputError: there is none.
    """
    if image is None:
        raise InputError("Please send a picture.")
    return image
