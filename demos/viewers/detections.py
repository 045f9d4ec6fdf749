"""The boxes of Detect, on the picture and in a list that show each other."""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from core import images
from core.export import slug
from core.imaging import draw
from core.types import Detections
from demos.shell import ui
from demos.viewers import view

MOST_SIDE = 2048  # pixels of the longer side: enough to zoom in, light enough for a phone
# For the `js` of an event whose last input is a hidden text: puts the numbers of the boxes that are
# shown there, as JSON.
SHOWN = """(...values) => {
  const view = document.querySelector("#detect-result .dv");
  return [...values.slice(0, -1), (view && view.dataset.shown) || "[]"];
}"""


class DetectionsView(view.View):
    """Boxes with a list, class filter, sorting, hiding and zoom; its value is from `packed`."""

    markup = "detections.html"
    styles = ("detections.css",)
    scripts = ("detections_paint.js", "detections.js")


def packed(picture: images.Picture, found: Detections) -> dict[str, object]:
    """The value of a `DetectionsView`.

    Args:
        picture: the one that `found` belongs to.
        found: boxes, best first.
    """
    names = sorted(set(found.labels))
    numbers = {name: number for number, name in enumerate(names)}
    size = np.array([*found.image_size, *found.image_size], np.float32)
    arrays = {
        "boxes": np.clip(found.boxes / size, 0, 1).astype(np.float32).reshape(-1, 4),
        "scores": found.scores.astype(np.float32),
        "classes": np.array([numbers[name] for name in found.labels], np.int16),
    }
    of_name = draw.label_colours(names)
    colours = [of_name[name] for name in names]
    shown = images.resize_max(picture.load(), MOST_SIDE)
    path = images.save_jpeg(shown, ui.result_path("picture.jpg"), quality=90)
    return {
        **view.packed("detections", arrays),
        "picture": str(path),
        "size": list(found.image_size),
        "names": names,
        "colours": [{"colour": _css(c), "ink": _css(draw.text_colour(c))} for c in colours],
        "key": f"{picture.digest} {found.info.checkpoint}",
        "stem": slug(PurePath(picture.name or "picture").stem, "picture"),
    }


def _css(colour: draw.Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
