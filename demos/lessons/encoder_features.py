"""Segment: the embedding of the image encoder in colour."""

from __future__ import annotations

from typing import Any

import numpy as np

from core import images
from demos.shell import ui
from demos.shell.lesson import Lesson, Show, code_of

SIDE = 512  # approximate side of the displayed picture, pixels


def _run(picture: images.Picture, checkpoint: str) -> tuple[Any, ...]:
    from core.lessons import encoder_features as lesson

    found = lesson.look(picture, checkpoint)
    factor = max(1, SIDE // max(found.colours.shape[:2]))  # a visible square per position
    large = np.repeat(np.repeat(found.colours, factor, 0), factor, 1)
    rows, columns = found.colours.shape[:2]
    shares = ", ".join(f"{share:.0%}" for share in found.explained)
    line = (
        f'<p class="about">{columns} x {rows} positions with {found.channels} numbers each. Red, '
        f"green and blue explain {shares} of their variance.</p>"
    )
    return large, line + ui.info_html(found.info)


def _code(picture: images.Picture, checkpoint: str) -> str:
    from core.lessons import encoder_features as lesson

    return code_of(lesson.look, picture.name or "picture.png", checkpoint=checkpoint)


LESSON = Lesson(
    key="encoder-features",
    title="What the encoder sees",
    tab="segment",
    about="The embedding in colour: its three principal components as red, green and blue. The "
    "encoder describes positions of the same colour alike; a click selects among them.",
    run=_run,
    shows=(Show("lossless", "colours", "Embedding"), Show("html", "facts")),
    order=30,
    code=_code,
)
