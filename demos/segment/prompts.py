"""The prompts of the selected object, for the lessons."""

from __future__ import annotations

from core import images
from core.errors import InputError
from demos.canvas.gestures import Prompted
from demos.segment.files import FIRST, active
from demos.segment.session import Session, given
from demos.shell.lesson import NotYet


def chosen_prompts(
    picture: images.Picture, session: Session | None
) -> tuple[Prompted, list[float] | None]:
    """The selected object and its box.

    Raises:
        NotYet: it has no prompt, or the canvas still shows another picture.
    """
    if session is None or session.digest != picture.digest:
        raise NotYet(FIRST)
    try:
        one = active(session)
    except InputError as error:
        raise NotYet(str(error)) from None
    if given(session, one) is not None:
        raise NotYet("This mask was picked in everything mode; add a click to it first.")
    base = session.given.get(one.given or "")
    return one, list(base.box) if base is not None and one.box is None else one.box
