"""The answer of a tab: made once for each gesture, and never beside a picture that it is not of.

The tab's turn says when it has another picture. `Answer.wire` runs the tab's function and shows
what it gives; where the picture is refused or taken away, or the run fails, everything that was
shown is emptied, and the sentence stands where the answer would be. `on_demand` is the same for
what a person asks for by a button.
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.shell import picture, ui
from demos.shell.shared import SharedPicture

_WORKING = '<p class="placeholder" role="status" data-working>Working on the picture.</p>'
_CANCELLED = '<p class="placeholder" role="status">Cancelled. Run it again when you like.</p>'


@dataclass(frozen=True, slots=True)
class Refused:
    """What a handler of `wire` gets for every input where one of them could not be read."""

    sentence: str


class Answer:
    """Where the answer of a tab stands: its components, and a line above them for what went wrong.

    Make it inside the area of the answer, before the components. While the line says something,
    the page does not draw them.

    Args:
        waiting: what stands there until a picture is chosen.
    """

    def __init__(self, tab: str, waiting: str) -> None:
        self.tab, self.waiting = tab, waiting
        self.said = gr.HTML(ui.placeholder(waiting), elem_id=f"{tab}-said", elem_classes=["said"])
        self._parts: list[Any] = []
        self._event: Any = None

    def wire(
        self,
        shared: SharedPicture,
        controls: Sequence[Any],
        fn: Callable[..., Any],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        hides: Sequence[Any] | None = None,
        at_once: bool = False,
        leave: Callable[..., None] | None = None,
        **options: Any,
    ) -> None:
        """Run `fn` for every new picture, and when one of `controls` (events) moves.

        Args:
            fn: gets `inputs`, of which the picture is the first and never None; gives `outputs`.
            hides: what is not drawn while there is no answer; None for all outputs.
            at_once: `fn` itself shows the new picture first, so what is there stays until then.
            leave: called with `inputs` before everything is emptied.
            options: as of `_ui.on_device`.
        """
        for part in outputs if hides is None else hides:
            part.elem_classes = [*(part.elem_classes or []), "answer"]
        self._parts = list(outputs)
        turn = shared.turns[self.tab]
        self._event = ui.on_device(
            [turn.change, *controls],
            self.answering(fn, outputs, at_once, leave),
            [turn, self.said, *inputs],
            [self.said, *outputs],
            **options,
        )

    def cancel(self, button: gr.Button) -> None:
        """Let `button` stop a run of `wire`, whose half answer goes."""
        button.click(None, cancels=[self._event], api_visibility="private")
        button.click(
            ui.guarded(self._cancelled),
            [self.said],
            [self.said, *self._parts],
            api_visibility="private",
            show_progress="hidden",
        )

    def _cancelled(self, said: str) -> tuple[Any, ...]:
        if "data-working" not in str(said):  # it has ended, or none was begun
            return tuple(gr.skip() for _ in (self.said, *self._parts))
        return _CANCELLED, *(emptied(part) for part in self._parts)

    def answering(
        self,
        fn: Callable[..., Any],
        outputs: Sequence[Any],
        at_once: bool = False,
        leave: Callable[..., None] | None = None,
    ) -> Callable[..., Iterator[tuple[Any, ...]]]:
        """`fn` behind the turn and the line, which is also its first output.

        Errors become that line; nothing is raised. What is shown of another picture goes first.
        """

        def nothing() -> list[Any]:
            return [emptied(part) for part in outputs]

        @functools.wraps(fn)
        def answer(turn: Any, said: Any, *values: Any) -> Iterator[tuple[Any, ...]]:
            if isinstance(turn, Refused):
                yield refusal(turn.sentence), *nothing()
                return
            if values[0] is None:
                if leave:
                    leave(*values)
                yield ui.placeholder(self.waiting), *nothing()
                return
            if sentence := picture.refusal(values[0]):
                if leave:
                    leave(*values)
                yield refusal(sentence), *nothing()
                return
            if not at_once and not _is_of(said, turn):
                yield _WORKING, *nothing()
            elif inspect.isgeneratorfunction(fn) and not at_once:  # so that Cancel knows
                yield _done(turn, "data-working"), *(gr.skip() for _ in outputs)
            try:
                for one in _steps(fn, values):
                    still = all(isinstance(part, dict) and part == gr.skip() for part in one)
                    yield gr.skip() if still else _done(turn), *one
            except Exception as error:
                if leave:
                    leave(*values)
                yield refusal(ui.as_gradio_error(error).message), *nothing()

        marked: Any = answer
        marked.__signature__ = _signature(fn)
        marked.takes_refusals = True
        return answer


def on_demand(
    triggers: Sequence[Any],
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    outputs: Sequence[Any],
    **options: Any,
) -> Any:
    """`_ui.on_device` whose outputs are emptied where `fn` fails; the first one, a gr.HTML, then
    says why."""

    @functools.wraps(fn)
    def tried(*values: Any) -> Any:
        try:
            found = fn(*values)
        except Exception as error:
            said = refusal(ui.as_gradio_error(error).message)
            found = (said, *(emptied(part) for part in outputs[1:]))
        return found[0] if isinstance(found, tuple) and len(outputs) == 1 else found

    return ui.on_device(triggers, tried, inputs, outputs, **options)


def refused(fn: Any, sentence: str, inputs: int) -> list[Refused] | None:
    """What `fn` gets where an input cannot be read; None where it is not of `wire`."""
    return [Refused(sentence)] * inputs if getattr(fn, "takes_refusals", False) else None


def emptied(part: Any) -> Any:
    """What a component shows when there is no answer."""
    if hasattr(part, "emptied"):
        return part.emptied()
    if isinstance(part, gr.DownloadButton):
        return gr.DownloadButton(value=None, interactive=False)
    if isinstance(part, gr.Dropdown):
        return gr.Dropdown(choices=[], value=[] if part.multiselect else None)
    if isinstance(part, gr.Accordion):  # what it holds is made when it is opened
        return gr.Accordion(open=False)
    return "" if type(part) in (gr.HTML, gr.Markdown) else None


def refusal(sentence: str) -> str:
    """Why there is no answer, as HTML that screen readers read out at once, and as a message:
    on a phone the place of the answer may be out of sight."""
    ui.warn(sentence)
    return f'<p class="placeholder refusal" role="alert">{html.escape(sentence)}</p>'


def _done(turn: str, more: str = "") -> str:
    return f'<span data-turn="{html.escape(str(turn))}" {more}></span>'


def _is_of(said: Any, turn: Any) -> bool:
    """Whether the answer that is shown is of the picture of this turn."""
    return isinstance(said, str) and said.startswith(_done(turn).partition(" ></")[0])


def _steps(fn: Callable[..., Any], values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    if inspect.isgeneratorfunction(fn):
        yield from fn(*values)
    else:
        yield fn(*values)


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    """That of `fn` behind two more parameters; Gradio reads from it what else to hand in."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    first = [inspect.Parameter(name, kind) for name in ("turn", "said")]
    given = inspect.signature(fn).parameters.values()
    return inspect.Signature([*first, *(one.replace(kind=kind) for one in given)])
