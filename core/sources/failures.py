"""Remember files that could not be loaded, so that they are not read again only to fail.

An entry holds for one state of a file and its neighbours, and only for a while, since the cause may
have been the machine.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from core.errors import HubError, OutOfMemory

AGAIN = 600.0  # seconds before a file that failed to load is retried
AGAIN_MEMORY = 60.0  # before a model without room is; others free memory
_BESIDE = ("config.json", "preprocessor_config.json")
_State = tuple[tuple[int, int] | None, ...]

_lock = threading.Lock()
_known: dict[Path, tuple[_State, float, HubError]] = {}  # file -> (state, time, error)


def remember(path: Path, error: HubError) -> None:
    """Remember that loading this file, in its present state, ended in `error`."""
    with _lock:
        _known[path] = (_state(path), time.monotonic(), error)


def refuse(path: Path, memory: bool = False) -> None:
    """Raise the error of a recent load of this file, if any.

    Args:
        memory: also raise if there was no room for the model.

    Raises:
        CheckpointError: as in the load.
        OutOfMemory: as in the load; only with `memory`.
    """
    with _lock:
        state, when, error = _known.get(path, ((), 0.0, None))
    if error is None or state != _state(path):
        return
    short = isinstance(error, OutOfMemory)
    if time.monotonic() - when < (AGAIN_MEMORY if short else AGAIN) and (memory or not short):
        raise type(error)(str(error))


def forget() -> None:
    """Forget all failures."""
    with _lock:
        _known.clear()


def _state(path: Path) -> _State:
    return tuple(_stamp(file) for file in (path, *map(path.with_name, _BESIDE)))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
