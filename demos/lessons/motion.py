"""Classify: motions too small to see, magnified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from demos.shell import ui
from demos.shell.lesson import Endpoint, Lesson, Show, Slider, Upload
from demos.viewers.motion import MotionView, packed

if TYPE_CHECKING:
    from core.lessons.motion import Magnified

_ENDINGS = (".gif", ".webp", ".png", ".apng")


def _magnify(
    clip: Path | bytes | None, alpha: float, low: float, high: float, finest: float
) -> Magnified:
    from core.lessons import motion as lesson

    found = lesson.example() if clip is None else lesson.read(clip)
    return lesson.magnify(found, alpha, low, high, (finest, lesson.LEVELS))


def _run(
    clip: Path | bytes | None, alpha: float, low: float, high: float, finest: float
) -> tuple[str, Any]:
    found = _magnify(clip, alpha, low, high, finest)
    count, height, width, _ = found.original.frames.shape
    which = "A drawn example, which seems to stand still" if clip is None else "Your clip"
    said = (
        f"{which}: {count} frames of {width} x {height} pixels, {found.original.fps:.3g} a second; "
        f"what changes {found.low:.3g} to {found.high:.3g} times a second is magnified."
    )
    return f'<p class="about" role="status">{said}</p>', packed(found)


def _code(clip: Path | bytes | None, alpha: float, low: float, high: float, finest: float) -> str:
    from core.lessons import motion as lesson

    source = "motion.example()" if clip is None else "motion.read(Path('clip.gif'))  # your clip"
    return (
        "# Needs Vision Hub's core package: `pip install .` in a copy of its repository.\n"
        "from pathlib import Path\n\nfrom core.lessons import motion\n\n"
        f"clip = {source}\n"
        f"found = motion.magnify(clip, alpha={alpha:g}, low={low:g}, high={high:g}, "
        f"levels=({finest:g}, {lesson.LEVELS}))\n"
        "print(motion.write(found.frames, clip.fps, Path('magnified.webp')))\n"
    )


def motion(
    image: Path | bytes | None,
    alpha: float = 15.0,
    low: float = 0.5,
    high: float = 2.0,
    finest: int = 2,
) -> tuple[str, dict[str, Any]]:
    """Magnify small motions of a clip (linear Eulerian video magnification).

    Args:
        image: An animated GIF, WebP or PNG; null for a drawn example.
        alpha: How many times the motion is added, 0 to 100.
        low: The lower frequency in Hz.
        high: The upper frequency in Hz, below half of the frame rate.
        finest: The finest level of the pyramid that is used, 1 to 5.

    Returns:
        The magnified clip as an animated WebP; and its frames, size, frame rate, and the
        frequencies that were used.
    """
    from core.lessons import motion as lesson

    found = _magnify(image, alpha, low, high, finest)
    count, height, width, _ = found.original.frames.shape
    path = lesson.write(found.frames, found.original.fps, ui.result_path("magnified.webp"))
    facts = {
        "frames": count,
        "size": [width, height],
        "fps": round(found.original.fps, 3),
        "band": [found.low, found.high],
    }
    return str(path), facts


LESSON = Lesson(
    key="motion",
    title="Motion too small to see",
    tab="classify",
    about="No network here: every pixel is a signal in time. What changes at the chosen "
    "frequencies is added again, many times. Without a clip of yours an example is drawn.",
    run=_run,
    needs=(),
    shows=(
        Show("html", "facts"),
        Show("component", "view", make=lambda elem_id: MotionView(elem_id=elem_id)),
    ),
    controls=(
        Upload("clip", "Clip (GIF, animated WebP or PNG)", _ENDINGS),
        Slider("alpha", "Amplification", 0, 100, 15, 1, "how many times the motion is added"),
        Slider("low", "From", 0.1, 10, 0.5, 0.1, "times a second (Hz)"),
        Slider("high", "To", 0.1, 15, 2, 0.1, "times a second (Hz)"),
        Slider("finest", "Finest details", 1, 5, 2, 1, "1 uses all, more leaves noise out"),
    ),
    order=60,
    code=_code,
    endpoint=Endpoint(
        "motion", motion, ("clip", "number", "number", "number", "number"), ("picture", "json")
    ),
)
