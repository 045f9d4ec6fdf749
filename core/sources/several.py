"""Two to four checkpoints of a task, for lessons that compare them on one picture."""

from __future__ import annotations

from collections.abc import Sequence

from core.checkpoints import Task
from core.errors import InputError
from core.sources import resolver

FEWEST, MOST = 2, 4


def named(key: str, task: Task) -> str:
    """The key of the checkpoint that "auto" stands for; any other as it is."""
    return resolver.resolve(key, task).checkpoint.key if key == "auto" else key


def chosen(keys: Sequence[str], task: Task, otherwise: Sequence[str], kind: str) -> list[str]:
    """The keys to compare.

    Args:
        keys: of `core.checkpoints`, or "auto"; none for those of `otherwise`.
        kind: what the sentence of the error calls them.

    Raises:
        InputError: a key is no text, there are not two to four, or one comes twice.
    """
    if not all(isinstance(key, str) for key in keys):
        raise InputError("Name each checkpoint by its key, as text.")
    found = [named(key, task) for key in keys] or list(otherwise)
    if not FEWEST <= len(found) <= MOST or len(set(found)) < len(found):
        raise InputError(f"Choose two to four different {kind} to compare.")
    return found
