"""The line below a result that offers the recommended full checkpoint for a download.

Shown while a starter, or what a package brings, answers and Hugging Face can be reached. One click
downloads it, the progress stands in the line, and then the same picture is answered again with it.
A download belongs to all visitors (`core.sources.downloads`): everybody sees its progress.
"""

from __future__ import annotations

import asyncio
import html
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import gradio as gr
from gradio.context import LocalContext
from starlette.concurrency import run_in_threadpool

from core import checkpoints
from core.checkpoints import Checkpoint, Task
from core.errors import HubError
from core.sources import downloads, hf_client, resolver
from demos.shell import picker, ui

LOOK_SECONDS = 0.5  # between two looks at a download
MOST = 2  # checkpoints offered at once
_HIDDEN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# Waiting for a download takes no thread and no place in the queues of the models.
_FREE: dict[str, Any] = {**_HIDDEN, "concurrency_id": "downloads", "concurrency_limit": None}
_offers: list[Offer] = []
_numbers = itertools.count(1)  # a text that is equal to the last one changes nothing


def begin_page() -> None:
    """Forget the offers of an earlier page; call this before building any tab."""
    _offers.clear()


class Offer:
    """The line of one tab; create it where it is to stand.

    `ready` is a hidden text that changes when the visitor's download has come: wire it as one of
    the tab's controls.
    """

    def __init__(self, tab: str, task: Task) -> None:
        self.task = task
        with gr.Row(elem_id=f"{tab}-offer", elem_classes="offer", visible=False) as self.row:
            self.text = gr.HTML(padding=False, elem_id=f"{tab}-offer-text")
            self.uses = [
                gr.Button("Use", size="sm", min_width=0, elem_id=f"{tab}-use-{number}")
                for number in range(MOST)
            ]
            self.stop = gr.Button("Cancel", size="sm", min_width=0, elem_id=f"{tab}-offer-cancel")
        self.ready = gr.Textbox(visible="hidden", elem_id=f"{tab}-ready", container=False)
        _offers.append(self)

    @property
    def parts(self) -> list[Any]:
        """The components that `shown` updates."""
        return [self.row, self.text, *self.uses, self.stop]

    def wire(self, chosen: gr.Dropdown, scale: gr.Radio | None = None) -> None:
        """Connect the buttons with the tab's picker; with `scale`, its super-resolution factor."""
        given: list[Any] = [chosen] if scale is None else [chosen, scale]
        for number, button in enumerate(self.uses):
            button.click(self._fetch(number), given, [*self.parts, chosen, self.ready], **_FREE)
        self.stop.click(ui.guarded(self._cancel), given, self.parts, **_HIDDEN)
        changes = [control.change for control in given]
        gr.on(changes, ui.guarded(self._changed), given, self.parts, **_HIDDEN)

    def shown(self, key: str, scale: int | None, session: str, said: str = "") -> list[Any]:
        """The components when `key` is chosen; `said` is why a download failed."""
        found = offered(self.task, key, scale)
        jobs = [job for c in found if (job := downloads.of(c.key)) and not job.ended.is_set()]
        # One that nobody wants any more may take a while to notice that.
        ending = {job.checkpoint.key for job in jobs if not job.wanted}
        jobs = [job for job in jobs if job.wanted]
        if jobs:
            job = jobs[0]
            mine = session in job.wanted
            return self._line(progress_html(job.share, job.sentence), [], mine)
        waits = [c for c in found if c.key not in ending]
        going = next((now for c in waits if (now := resolver.going(c.key))), None)
        if going:  # somebody's request waits for it
            return self._line(progress_html(*going), [], False)
        return self._line(words_html(self.task, key, scale, found, said), found, False)

    def came(self, checkpoint: Checkpoint) -> list[Any]:
        """The line for somebody whose answer is older than the download of others."""
        ready = f'<p class="about">{html.escape(checkpoint.title)} is ready.</p>'
        return self._line(ready, [checkpoint], False)

    def _line(self, text: str, found: Sequence[Checkpoint], stoppable: bool) -> list[Any]:
        labels = [_label(c) for c in found[:MOST]]
        buttons = [
            gr.Button(labels[i], visible=True) if i < len(labels) else gr.Button(visible=False)
            for i in range(MOST)
        ]
        return [gr.Row(visible=bool(text)), text, *buttons, gr.Button(visible=stoppable)]

    def _changed(self, key: str, scale: int | None = None) -> list[Any]:
        return self.shown(key, scale, _session())

    def _cancel(self, key: str, scale: int | None = None) -> list[Any]:
        for checkpoint in offered(self.task, key, scale):
            downloads.cancel(checkpoint.key, _session())
        return [gr.skip() for _ in self.parts[:-1]] + [gr.Button(visible=False)]

    def _fetch(self, number: int) -> Any:
        async def fetch(key: str, scale: int | None = None) -> AsyncIterator[list[Any]]:
            session = _session()
            still = [gr.skip(), gr.skip()]
            found = await run_in_threadpool(offered, self.task, key, scale)
            if number >= len(found):  # it came in the meantime, for somebody else
                came = await run_in_threadpool(resolver.resolve, "auto", self.task, scale=scale)
                yield self._with(came.checkpoint, scale, session)
                return
            wanted = found[number]
            if resolver.is_ready(wanted):
                yield self._with(wanted, scale, session)
                return
            try:
                job = downloads.start(wanted, session)
            except HubError as error:
                yield [*self.shown(key, scale, session, str(error)), *still]
                return
            said = None
            while not job.ended.is_set() and session in job.wanted:
                if job.sentence != said:
                    said = job.sentence
                    line = self._line(progress_html(job.share, said), [], True)
                    yield [*line, *still]
                await asyncio.sleep(LOOK_SECONDS)
            if job.state == "done":
                yield await run_in_threadpool(self._with, wanted, scale, session)
            else:
                said = job.sentence if job.state == "failed" else ""
                yield [*await run_in_threadpool(self.shown, key, scale, session, said), *still]

        return fetch

    def _with(self, checkpoint: Checkpoint, scale: int | None, session: str) -> list[Any]:
        """Choose a checkpoint that is ready; the change of `ready` answers the picture again."""
        return [
            *self.shown(checkpoint.key, scale, session),
            gr.Dropdown(choices=picker.choices(self.task), value=checkpoint.key),
            f"{checkpoint.key} {next(_numbers)}",
        ]


def offered(task: Task, key: str, scale: int | None) -> list[Checkpoint]:
    """The checkpoints to offer when `key` is chosen: none if a full or own one answers already."""
    try:
        chosen = resolver.find(key, task) if key != "auto" else None
        if chosen is None:
            chosen = resolver.resolve("auto", task, scale=scale).checkpoint
    except HubError:
        return []
    if chosen.tier not in ("starter", "package"):
        return []
    enlarges = chosen.scale if task == "super_resolve" else None
    return checkpoints.recommended(task, resolver.on_gpu(), enlarges)


def words_html(
    task: Task, key: str, scale: int | None, found: Sequence[Checkpoint], said: str = ""
) -> str:
    """The line beside the buttons; "" if there is nothing to offer, or no network to get it by."""
    missing = [c for c in found if not resolver.is_ready(c)]
    if not found or (missing and not said and hf_client.last_verdict() is not True):
        return ""
    if said:
        return f'<p class="note" role="alert">{html.escape(said)}</p>'
    if not missing:
        return f'<p class="about">{html.escape(found[0].title)} is ready.</p>'
    answers = resolver.resolve(key, task, scale=scale if key == "auto" else None).checkpoint
    by = "the starter" if answers.tier == "starter" else answers.title
    terms = {c.licence for c in missing if c.non_commercial}
    words = [f"Answered by {by}.", *(f"Licence of the full one: {term}." for term in terms)]
    return f'<p class="about">{html.escape(" ".join(words))}</p>'


def progress_html(share: float, sentence: str) -> str:
    """A download as a bar and a sentence, in numbers that screen readers can read."""
    words = html.escape(sentence)
    return (
        f'<p class="about">{words}</p><progress max="100" value="{100 * share:.0f}" '
        f'aria-label="{words}"></progress>'
    )


def _label(checkpoint: Checkpoint) -> str:
    if resolver.is_ready(checkpoint):
        return f"Use {checkpoint.title}"
    return f"Use {checkpoint.title}, {picker.megabytes(checkpoint.size_mb)}"


def _session() -> str:
    """The visitor's page that calls."""
    return str(getattr(LocalContext.request.get(None), "session_hash", None) or "")


def follow_on_load(page: gr.Blocks) -> None:
    """Fill the lines when a page is opened, and then show the downloads that run."""
    made = list(_offers)

    async def follow() -> AsyncIterator[list[Any]]:
        session = _session()

        def lines() -> list[Any]:
            hf_client.is_reachable()
            return [part for offer in made for part in offer.shown("auto", _first(offer), session)]

        yield await run_in_threadpool(lines)
        seen: dict[str, downloads.Job] = {}
        while jobs := [*downloads.running(), *seen.values()]:
            seen = {}
            news: dict[str, downloads.Job] = {}
            for job in jobs:
                if session not in job.wanted:  # theirs are shown by the click
                    news[job.checkpoint.task] = job
                    if not job.ended.is_set():
                        seen[job.checkpoint.key] = job
            yield await run_in_threadpool(_updates, made, news, session)
            await asyncio.sleep(2 * LOOK_SECONDS)

    page.load(follow, None, [part for offer in made for part in offer.parts], **_FREE)


def _updates(made: Sequence[Offer], news: dict[str, downloads.Job], session: str) -> list[Any]:
    updates: list[Any] = []
    for offer in made:
        job = news.get(offer.task)
        if job is not None and job.state == "done":
            updates += offer.came(job.checkpoint)
        elif job is not None:
            updates += offer.shown("auto", _first(offer), session)
        else:
            updates += [gr.skip() for _ in offer.parts]
    return updates


def _first(offer: Offer) -> int | None:
    return 2 if offer.task == "super_resolve" else None
