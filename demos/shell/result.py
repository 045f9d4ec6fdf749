"""The results of a tab: computed once for each gesture, and never shown beside another picture.

The tab's turn changes with the picture. `Answer.wire` runs the tab's function and shows its
results. If the picture is refused or removed, or the run fails, it clears all outputs and shows the
sentence in their place. `on_demand` does the same for buttons.
"""

from __future__ import annotations

import functools
import html
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from demos.shell import picture, ui
from demos.shell.shared import SharedPicture

_WORKING = '<p class="placeholder" role="status" data-working>Working on the picture.</p>'
_CANCELLED = '<p class="placeholder" role="status">Cancelled. You can run it again.</p>'


@dataclass(frozen=True, slots=True)
class Refused:
    """Passed to a handler of `wire` in place of every input if one of them could not be read."""

    sentence: str


class Partial(tuple[Any, ...]):
    """Outputs that a handler of `wire` shows while it works on; Cancel clears them."""

    __slots__ = ()


class Answer:
    """The result area of a tab: its components, with a status line above them for errors.

    Create it inside that area, before the components. The page hides them while the line has text.

    Args:
        waiting: placeholder until a picture is chosen.
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
        """Run `fn` for every new picture, and at each of the events in `controls`.

        Args:
            fn: takes `inputs`, with the picture first and never None; returns `outputs`.
            hides: components hidden while there is no result; None for all outputs.
            at_once: `fn` shows the new picture itself, so the old results stay until then.
            leave: called with `inputs` before the outputs are cleared.
            options: as for `demos.shell.ui.on_device`.
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
        """Let `button` stop a run of `wire` and clear its partial results."""
        button.click(None, cancels=[self._event], api_visibility="private")
        button.click(
            ui.guarded(self._cancelled),
            [self.said],
            [self.said, *self._parts],
            api_visibility="private",
            show_progress="hidden",
        )

    def _cancelled(self, said: str) -> tuple[Any, ...]:
        if "data-working" not in str(said):  # it has ended, or never started
            return tuple(gr.skip() for _ in (self.said, *self._parts))
        return _CANCELLED, *(emptied(part) for part in self._parts)

    def answering(
        self,
        fn: Callable[..., Any],
        outputs: Sequence[Any],
        at_once: bool = False,
        leave: Callable[..., None] | None = None,
    ) -> Callable[..., Iterator[tuple[Any, ...]]]:
        """Wrap `fn`: takes the turn and the status line first, and the line is the first output.

        Errors go into that line; nothing is raised. Results of another picture are cleared first.
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
                yield refusal(sentence, "data-unreadable"), *nothing()
                return
            if not at_once and not _is_of(said, turn):
                yield _WORKING, *nothing()
            elif inspect.isgeneratorfunction(fn) and not at_once:  # for Cancel
                yield _done(turn, "data-working"), *(gr.skip() for _ in outputs)
            try:
                for one in _steps(fn, values):
                    still = all(isinstance(part, dict) and part == gr.skip() for part in one)
                    working = "data-working" if isinstance(one, Partial) else ""
                    yield gr.skip() if still else _done(turn, working), *one
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
    """`ui.on_device` that clears the outputs if `fn` fails; the first one, a gr.HTML, then shows
    the error."""

    def failed(error: Exception) -> tuple[Any, ...]:
        said = refusal(ui.as_gradio_error(error).message)
        return (said, *(emptied(part) for part in outputs[1:]))

    @functools.wraps(fn)
    def tried(*values: Any) -> Any:
        try:
            found = fn(*values)
        except Exception as error:
            found = failed(error)
        return found[0] if isinstance(found, tuple) and len(outputs) == 1 else found

    @functools.wraps(fn)
    def stepped(*values: Any) -> Iterator[Any]:
        try:
            yield from fn(*values)
        except Exception as error:
            yield failed(error)

    chosen = stepped if inspect.isgeneratorfunction(fn) else tried
    return ui.on_device(triggers, chosen, inputs, outputs, **options)


def refused(fn: Any, sentence: str, inputs: int) -> list[Refused] | None:
    """Arguments for `fn` if an input cannot be read; None if it is not a handler of `wire`."""
    return [Refused(sentence)] * inputs if getattr(fn, "takes_refusals", False) else None


def emptied(part: Any) -> Any:
    """A component's value when there is no result."""
    if hasattr(part, "emptied"):
        return part.emptied()
    if isinstance(part, gr.DownloadButton):
        return gr.DownloadButton(value=None, interactive=False)
    if isinstance(part, gr.Button):
        return gr.Button(interactive=False)
    if isinstance(part, gr.Dropdown):
        return gr.Dropdown(choices=[], value=[] if part.multiselect else None)
    if isinstance(part, gr.Accordion):  # its content is made when it is opened
        return gr.Accordion(open=False)
    return "" if type(part) in (gr.HTML, gr.Markdown) else None


def refusal(sentence: str, mark: str = "") -> str:
    """An error as HTML that screen readers announce at once, and as a toast: on a phone the result
    area may be off screen. The script of the page finds it by `mark`."""
    ui.warn(sentence)
    return f'<p class="placeholder refusal" role="alert" {mark}>{html.escape(sentence)}</p>'


def _done(turn: str, more: str = "") -> str:
    return f'<span data-turn="{html.escape(str(turn))}" {more}></span>'


def _is_of(said: Any, turn: Any) -> bool:
    """Whether the results shown belong to the picture of this turn."""
    return isinstance(said, str) and said.startswith(_done(turn).partition(" ></")[0])


def _steps(fn: Callable[..., Any], values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    if inspect.isgeneratorfunction(fn):
        yield from fn(*values)
    else:
        yield fn(*values)


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    """Two more parameters, then those of `fn`; Gradio uses them to find injected arguments."""
    kind = inspect.Parameter.POSITIONAL_ONLY
    first = [inspect.Parameter(name, kind) for name in ("turn", "said")]
    given = inspect.signature(fn).parameters.values()
    return inspect.Signature([*first, *(one.replace(kind=kind) for one in given)])


def files_on_request(tab: str, words: str) -> tuple[gr.Button, gr.HTML, gr.File]:
    """A button for files to take away, what is said of them, and their list; `words` say what one
    gets."""
    gr.Markdown(words)
    make = gr.Button("Make the files", size="sm", elem_id=f"{tab}-files-make")
    said = gr.HTML(elem_id=f"{tab}-files-said")
    files = gr.File(label="Files", file_count="multiple", interactive=False, elem_id=f"{tab}-files")
    return make, said, files


def written(contents: Mapping[str, bytes]) -> list[str]:
    """The paths of these files, by name, in a new folder of results."""
    folder = ui.result_folder()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in contents]
