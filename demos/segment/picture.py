"""A new picture on the Segment tab: show it at once, then run the encoder."""

from __future__ import annotations

import concurrent.futures
import functools
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from core import images
from core.errors import BadImage
from demos.canvas.answers import canvas_answer, canvas_command, canvas_message, canvas_picture
from demos.canvas.component import PointPrompter
from demos.canvas.gestures import Painted
from demos.segment.session import Session, again
from demos.shell import picture as _picture
from demos.shell import result, ui

if TYPE_CHECKING:
    from core.types import RunInfo

READY = "Ready. Click what you want to cut out."


def loading(of_picture: list[Any]) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """`load`, which also clears the results of another picture when a new session starts."""

    @functools.wraps(load)
    def each(*values: Any) -> Iterator[tuple[Any, ...]]:
        for canvas, info, session in load(*values):
            other = isinstance(session, Session)
            rest = [result.emptied(part) if other else gr.skip() for part in of_picture]
            yield canvas, info, session, *rest

    return each


def left(_: Any, __: str, ___: float, session: Session | None, *____: Any) -> None:
    """Drop the work in progress for a picture that was removed."""
    if session is not None:
        session.gone = True


def load(
    picture: images.Picture,
    checkpoint: str,
    smallest: float,
    session: Session | None,
    handed: dict[str, Any] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Show the picture at once, then run the encoder so that the first click is quick."""
    if refusal := _picture.refusal(picture):
        raise BadImage(refusal)
    came = _unpacked(handed, picture)
    if session is not None and session.digest == picture.digest and came:
        yield PointPrompter(command=canvas_command(session.id, came)), gr.skip(), gr.skip()
    if session is None or session.digest != picture.digest:
        if session is not None:
            session.gone = True  # drop its work in progress
        height, width = picture.size
        shown = canvas_picture(
            picture.load(),
            alt=f"Your picture, {width} by {height} pixels",
            objects=came,
            of=picture.digest,
        )
        session = Session(shown["id"], picture.digest)
        said = canvas_message(shown, "Reading the picture.")
        yield PointPrompter(picture=shown, value=said), "", session
    named = {"id": session.id}
    reading = _reading(picture, checkpoint)
    while True:
        try:
            yield canvas_message(named, next(reading)), gr.skip(), gr.skip()
        except StopIteration as stop:
            done = stop.value
            break
        except Exception as error:  # the picture stays, for another checkpoint
            said = ui.as_gradio_error(error).message
            ui.warn(said)
            yield _without_masks(session, said), "", gr.skip()
            return
    if session.objects():  # run the existing prompts with another checkpoint
        yield *again(picture, checkpoint, smallest, session), gr.skip()
        return
    yield canvas_message(named, READY), ui.info_html(done), gr.skip()


def _without_masks(session: Session, said: str) -> dict[str, Any]:
    """Tell the canvas that no object has a mask, with the reason."""
    if session.gesture is None:
        return canvas_message({"id": session.id}, said)
    lost = [Painted(one.rev, None, "no mask", said) for one in session.objects()]
    return canvas_answer(session.gesture, lost, status=said, flush=True)


def _unpacked(handed: dict[str, Any] | None, picture: images.Picture) -> list[dict[str, Any]]:
    """The objects that another tab sent for this picture, once."""
    if handed is None or handed["digest"] != picture.digest:
        return []
    came, handed["objects"] = handed["objects"], []
    return came


def _reading(picture: images.Picture, checkpoint: str) -> Generator[str, None, RunInfo]:
    """Run the encoder; yield progress sentences several times a second."""
    from core import segment as task

    said = ["Reading the picture."]

    def tell(fraction: float, sentence: str) -> None:
        said[0] = f"{sentence}: {fraction:.0%}."

    pool = concurrent.futures.ThreadPoolExecutor(1, "segment-embed")
    try:
        future = pool.submit(task.embed, picture, checkpoint, tell)
        while not concurrent.futures.wait([future], 0.25).done:
            yield said[0]
        return future.result()
    finally:  # if the visitor has left, the encoder still finishes
        pool.shutdown(wait=False)
