"""The view of magnified motion: two clips side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from core import images
from demos.shell import ui
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.motion import Magnified


class MotionView(view.View):
    """A clip and the same with its motion magnified; its value is from `packed`."""

    markup = "motion.html"
    styles = ("motion.css",)
    scripts = ("motion.js",)


def packed(found: Magnified) -> dict[str, Any]:
    """The value of a `MotionView`: animated pictures, and slices of them, as files."""
    from core.lessons import motion

    value: dict[str, Any] = {"name": f"Magnified {1 + found.alpha:g} times"}
    for name, frames in (("before", found.original.frames), ("after", found.frames)):
        path = ui.result_path(f"{name}.webp")
        value[name] = str(motion.write(frames, found.original.fps, path))
        sliced = images.save_png(motion.slice_of(frames), ui.result_path(f"{name}-slice.png"))
        value[f"{name}_slice"] = str(sliced)
    return value
