"""Files of which no model could be made: not read again and again, each time to fail.

What is remembered holds for one state of a file and of what lies beside it, and for a while only,
since the reason may have been the machine's.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from core.errors import HubError, OutOfMemory

AGAIN = 600.0  # seconds until a file that did not fit its model is tried again
AGAIN_MEMORY = 60.0  # until a model that found no room is; memory comes free when others are done
_BESIDE = ("config.json", "preprocessor_config.json")
_State = tuple[tuple[int, int] | None, ...]

_lock = threading.Lock()
_known: dict[Path, tuple[_State, float, HubError]] = {}  # file -> (its state, when, why)


def remember(path: Path, error: HubError) -> None:
    """Keep in mind that a load of this file, as it is now, ended in `error`."""
    with _lock:
        _known[path] = (_state(path), time.monotonic(), error)


def refuse(path: Path, memory: bool = False) -> None:
    """Raise what a load of this file ended in lately, if anything.

    Args:
        memory: also where there was no room for the model.

    Raises:
        CheckpointError: as the load.
        OutOfMemory: as the load; only with `memory`.
    """
    with _lock:
        state, when, error = _known.get(path, ((), 0.0, None))
    if error is None or state != _state(path):
        return
    short = isinstance(error, OutOfMemory)
    if time.monotonic() - when < (AGAIN_MEMORY if short else AGAIN) and (memory or not short):
        raise type(error)(str(error))


def forget() -> None:
    """Try every file again."""
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
