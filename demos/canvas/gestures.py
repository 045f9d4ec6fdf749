"""Gestures from the point-prompt canvas as checked values.

Anyone can send a gesture, so everything in it is checked here. Coordinates are pixels of the
upright original picture.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.errors import InputError

MOST_POINTS, MOST_OBJECTS = 64, 40  # as in state.js
_BROKEN = "These prompts cannot be read; please reload the page and click again."
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True)
class Prompted:
    """One object of the canvas: points [[x, y, label], …] with label 1 or 0, and a box or None.

    `rev` numbers this state of its prompts; the page caches the mask under it. `choice` is the
    index of the mask chosen among three, or None. `given` is the key of the object's initial mask;
    None for most objects.
    """

    id: int
    rev: int
    name: str
    color: str
    points: list[list[float]]
    box: list[float] | None = None
    choice: int | None = None
    given: str | None = None

    @property
    def bare(self) -> bool:
        """Whether it has no prompt yet."""
        return not self.points and self.box is None and self.given is None

    @property
    def includes(self) -> bool:
        """Whether any prompt includes something, so that there is something to segment."""
        begun = self.box is not None or self.given is not None
        return begun or any(label for *_, label in self.points)


@dataclass(frozen=True, slots=True)
class Gesture:
    """A gesture on a picture: all objects, which one is active, and which `want` a mask.

    `seq` rises by one with every gesture. `kind` names the gesture, such as "include".
    """

    picture: str
    seq: int
    kind: str
    active: int
    objects: tuple[Prompted, ...]
    want: tuple[int, ...]

    def object(self, number: int) -> Prompted | None:
        """The object with that id."""
        return next((one for one in self.objects if one.id == number), None)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several masks of an object, with its name ("part") and its figures as text."""

    mask: NDArray[np.bool_]
    name: str
    facts: str


@dataclass(frozen=True, slots=True)
class Painted:
    """The mask of one state (`rev`) of an object; `note` is a short text for the list."""

    rev: int
    mask: NDArray[np.bool_] | None
    note: str = ""
    status: str = ""
    choices: Sequence[Choice] = ()
    choice: int = 0


def parse_gesture(data: Any) -> Gesture:
    """Read the `evt._data` of `canvas.prompt`.

    Raises:
        InputError: the form is wrong, or there are more than 64 points or 40 objects.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("objects"), list):
        raise InputError(_BROKEN)
    if len(data["objects"]) > MOST_OBJECTS:
        raise InputError(f"Please use at most {MOST_OBJECTS} objects.")
    objects = tuple(parse_object(one) for one in data["objects"])
    want = data.get("want", [])
    if not objects or not isinstance(want, list) or len(want) > MOST_OBJECTS:
        raise InputError(_BROKEN)
    return Gesture(
        picture_id(data),
        _count(data.get("seq")),
        _text(data.get("gesture", ""), 20),
        _count(data.get("active")),
        objects,
        tuple(_count(number) for number in want),
    )


def parse_object(data: Any) -> Prompted:
    """Read one object of a gesture. The numbers are finite; the task checks whether they are
    inside the picture.

    Raises:
        InputError: the form is wrong, or there are more than 64 points.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("points"), list):
        raise InputError(_BROKEN)
    if len(data["points"]) > MOST_POINTS:
        raise InputError(f"Please use at most {MOST_POINTS} points for one object.")
    choice, given = data.get("choice"), data.get("given")
    color = data.get("color")
    if not isinstance(color, str) or not _COLOR.fullmatch(color):
        raise InputError(_BROKEN)
    return Prompted(
        _count(data.get("id")),
        _count(data.get("rev")),
        _text(data.get("name"), 60) or "Object",
        color,
        [parse_point(point) for point in data["points"]],
        parse_box(data.get("box")),
        None if choice is None else _count(choice),
        None if given is None else _text(given, 64),
    )


def picture_id(data: Any) -> str:
    """The `id` from `canvas_picture` of the picture under a gesture.

    Raises:
        InputError: the gesture has none.
    """
    return _text(data.get("picture") if isinstance(data, Mapping) else None, 64)


def parse_point(point: Any) -> list[float]:
    """[x, y, label] with label 1 (include) or 0 (exclude)."""
    x, y, label = numbers(point, 3)
    if label not in (0, 1):
        raise InputError("A point's label must be 1 to include or 0 to exclude.")
    return [x, y, int(label)]


def parse_box(box: Any) -> list[float] | None:
    """[x1, y1, x2, y2] or None."""
    if box is None:
        return None
    x1, y1, x2, y2 = numbers(box, 4)
    if x1 >= x2 or y1 >= y2:
        raise InputError("A box needs its upper left corner before its lower right one.")
    return [x1, y1, x2, y2]


def numbers(values: Any, count: int) -> list[float]:
    """Check that these are `count` finite Python numbers."""
    if not isinstance(values, (list, tuple)) or len(values) != count:
        raise InputError(_BROKEN)
    for value in values:
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not known or not abs(value) <= 1e9:  # written so that NaN fails too
            raise InputError(_BROKEN)
    return list(values)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise InputError(_BROKEN)
    return value


def _text(value: Any, longest: int) -> str:
    if not isinstance(value, str) or len(value) > longest:
        raise InputError(_BROKEN)
    return value
