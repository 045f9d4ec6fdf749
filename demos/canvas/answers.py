"""Values for the point-prompt canvas: pictures, objects and answers as JSON."""

from __future__ import annotations

import base64
import io
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core import images
from demos.canvas.gestures import Gesture, Painted, parse_box, parse_point
from demos.shell import ui

SHOWN_SIDE = 1024  # pixels of the longer side of pictures sent to the page
THUMBNAIL_SIDE = 256


def canvas_picture(
    rgb: images.RGB, *, alt: str = "", objects: Sequence[Mapping[str, Any]] = (), of: str = ""
) -> dict[str, Any]:
    """A picture to click on, for the `picture` argument of `PointPrompter`.

    Args:
        rgb: (H, W, 3) uint8, upright. The page gets a JPEG of at most 1024 pixels a side;
            coordinates still refer to `rgb`.
        alt: description for screen readers.
        objects: initial objects from `canvas_object`; they trigger `prompt` at once.
        of: what is the same for the same pixels. With it, the page keeps the prompts over a reload.
    """
    height, width = rgb.shape[:2]
    return {
        "id": secrets.token_hex(8),
        "of": of,
        "src": served(rgb, SHOWN_SIDE),
        "w": width,
        "h": height,
        "alt": alt,
        "objects": list(objects),
    }


def served(rgb: images.RGB, side: int) -> str:
    """Write a JPEG with sides of at most `side` under a random name, and return its path.

    Not a data URL, because the page copies all its values with every event.
    """
    path = ui.result_path("shown.jpg")
    return str(images.save_jpeg(images.resize_max(rgb, side), path, quality=88))


def canvas_object(
    name: str = "",
    *,
    points: Sequence[Sequence[float]] = (),
    box: Sequence[float] | None = None,
    given: str | None = None,
) -> dict[str, Any]:
    """An object to add to the canvas; the page chooses its number and colour.

    Raises:
        InputError: `parse_object` would not accept the points or the box.
    """
    return {
        "name": name[:60],
        "points": [parse_point(point) for point in points],
        "box": parse_box(None if box is None else list(box)),
        "given": given,
    }


def canvas_command(picture: str, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Value for `command` of `PointPrompter`: add objects to the picture with that id."""
    return {"id": secrets.token_hex(8), "picture": picture, "objects": list(objects)}


def canvas_answer(
    gesture: Gesture,
    masks: Sequence[Painted] = (),
    *,
    status: str | None = None,
    flush: bool = False,
) -> dict[str, Any]:
    """The answer to one gesture, as the component's value.

    Args:
        gesture: the gesture answered; the page drops masks of an outdated state or another
            picture.
        masks: masks of the requested objects.
        status: sentence below the picture, announced by screen readers; None keeps the current
            one.
        flush: discard all masks that the page has cached, as the settings have changed.
    """
    return {
        "seq": gesture.seq,
        "picture": gesture.picture,
        "masks": [_painted(one) for one in masks],
        "status": status,
        "flush": flush,
    }


def canvas_message(picture: Mapping[str, Any], status: str) -> dict[str, Any]:
    """A value that changes only the sentence, such as "Reading the picture"."""
    return {"seq": None, "picture": picture["id"], "status": status}


def _painted(one: Painted) -> dict[str, Any]:
    return {
        "rev": one.rev,
        "mask": None if one.mask is None else mask_url(one.mask),
        "note": one.note,
        "status": one.status,
        "choice": one.choice,
        "choices": [
            {"mask": mask_url(c.mask, THUMBNAIL_SIDE), "name": c.name, "facts": c.facts}
            for c in one.choices
        ],
    }


def mask_url(mask: NDArray[np.bool_], side: int = SHOWN_SIDE) -> str:
    """(H, W) bool as the data URL of a 1-bit PNG, transparent where False, at most `side` wide."""
    # Subsample first: shrinking all of a large mask takes longer than decoding it.
    step = max(1, max(mask.shape) // (2 * side))
    shown = Image.fromarray(np.ascontiguousarray(mask[step // 2 :: step, step // 2 :: step]))
    height, width = mask.shape
    factor = side / max(height, width)
    if factor < 1:
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        shown = shown.resize(size, Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", compress_level=1, transparency=0)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
