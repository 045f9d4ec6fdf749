"""Segment: every tensor between a prompt and its mask."""

from __future__ import annotations

from core import images
from demos.segment.prompts import chosen_prompts
from demos.segment.session import FILE_NAME, Session
from demos.shell.lesson import Lesson, Show, code_of


def _run(picture: images.Picture, checkpoint: str, session: Session | None) -> str:
    from core.lessons import prompt_to_mask as lesson

    one, box = chosen_prompts(picture, session)
    found = lesson.trace(picture, one.points, box, checkpoint)
    return (
        f'<div class="scroll" tabindex="0">{found.svg()}</div>'
        f'<p class="about">Together these parts have {found.weights:,} weights.</p>'
    )


def _code(picture: images.Picture, checkpoint: str, session: Session | None) -> str:
    from core.lessons import prompt_to_mask as lesson

    one, box = chosen_prompts(picture, session)
    name = picture.name or FILE_NAME
    return code_of(lesson.trace, name, points=one.points, box=box, checkpoint=checkpoint)


LESSON = Lesson(
    key="prompt-to-mask",
    title="How a prompt becomes a mask",
    tab="segment",
    about="The prompt encoder and mask decoder of the loaded model, recorded in one pass with the "
    "prompts of the selected object: the shape of every tensor, and how many weights produce it.",
    needs=("picture", "checkpoint", "session"),
    run=_run,
    shows=(Show("html", "diagram"),),
    order=20,
    code=_code,
)
