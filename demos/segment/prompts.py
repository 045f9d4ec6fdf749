"""The prompts of the selected object, for the lessons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core import images
from core.errors import InputError
from demos.canvas.gestures import Prompted
from demos.segment.files import FIRST, active, full_mask
from demos.segment.session import Session, given
from demos.shell.lesson import NotYet

CUT_FIRST = (
    "You have not cut anything out of this picture yet: open Segment, click an object, come back "
    "and press Refresh."
)


def chosen_mask(picture: images.Picture, session: Session | None) -> NDArray[np.bool_]:
    """(H, W) bool: the selected object, for a lesson of another tab.

    Raises:
        NotYet: there is none on this picture.
    """
    if session is None or session.digest != picture.digest or session.settings is None:
        raise NotYet(CUT_FIRST)
    try:
        one = active(session)
    except InputError:
        raise NotYet(CUT_FIRST) from None
    mask: NDArray[np.bool_] = full_mask(picture, session, session.settings, one)[0]
    return mask


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
