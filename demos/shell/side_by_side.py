"""Controls and inputs of lessons that compare two to four checkpoints on the same picture."""

from __future__ import annotations

from collections.abc import Callable

from core.checkpoints import CATALOGUE, Task
from core.errors import InputError
from core.sources import several
from demos.shell.lesson import Choice

OTHER, NONE = "other", "none"


def controls(task: Task, labels: tuple[str, str, str], other: str) -> tuple[Choice, ...]:
    """The choices of a second, third and fourth checkpoint, called `labels`; `other` is the one
    that the second begins with: another kind than the first."""
    names = [(one.title, one.key) for one in CATALOGUE if one.task == task]
    second, third, fourth = labels
    return (
        Choice("second", second, [(other, OTHER), *names], OTHER),
        Choice("third", third, [("None", NONE), *names], NONE),
        Choice("fourth", fourth, [("None", NONE), *names], NONE),
    )


def keys(task: Task, other: Callable[[str], str], checkpoint: str, *more: str) -> tuple[str, ...]:
    """The keys that the tab's checkpoint and the controls stand for; `other` gives a checkpoint of
    another kind."""
    first = several.named(checkpoint, task)
    return (first, *(other(first) if key == OTHER else key for key in more if key != NONE))


def listed(checkpoints: str) -> list[str]:
    """The keys in an endpoint's text.

    Raises:
        InputError: it is no text.
    """
    if not isinstance(checkpoints, str):
        raise InputError("The checkpoints must be one text with commas between the keys.")
    return [key.strip() for key in checkpoints.split(",") if key.strip()]
