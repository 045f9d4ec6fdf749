"""The folder of uploads and results: its location, and its limits on age and bytes."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from core.errors import ResourceError
from core.settings import get_settings

# Gradio forgets its files after six hours; one hour more avoids surprising it.
KEEP_SECONDS = 7 * 3600
# An unfinished form is stored under a temporary name. One still arriving is written to every few
# seconds (`bodies.IDLE_SECONDS`).
CUT_SECONDS = 60
SWEEP_EVERY, LOOK_EVERY = 30.0, 5.0
SPARE = 0.9  # fill level at which the oldest files go, as more arrive meanwhile
LOOK_SHARE = 0.02  # of the time at most; walking thousands of files is slow
FULL = "The app's storage for pictures is full; please try again in a few minutes."
READ_ONLY = "The app cannot write its files; please tell its administrator."
_OWN = re.compile("[0-9a-f]{32}")
_log = logging.getLogger(__name__)
_sweeping = threading.Lock()
_last_sweep = 0.0
_looking = threading.Lock()
_full = (float("-inf"), False)  # next check, last result


def claim() -> Path:
    """This user's folder for uploads and results, below `GRADIO_TEMP_DIR` if that is set.

    Gradio's default, `gradio` in the temporary folder, belongs to whoever created it first and is
    shared by every app on the machine, so nothing in it may be deleted.
    """
    base = os.environ.get("GRADIO_TEMP_DIR")
    user = os.getuid() if hasattr(os, "getuid") else 0
    folder = Path(base or tempfile.gettempdir()).absolute()
    if not folder.name.startswith("vision-hub"):  # otherwise already claimed
        folder = folder / f"vision-hub-{user}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        if folder.is_symlink() or (hasattr(os, "getuid") and folder.stat().st_uid != user):
            raise PermissionError("it belongs to another user")
    except OSError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix="vision-hub-"))
        _log.warning("%s cannot be used (%s); uploads go to %s.", folder, error, elsewhere)
        return elsewhere
    return folder


def root() -> Path:
    """The folder where Gradio puts uploads and we put results."""
    from gradio.utils import get_upload_folder

    return Path(get_upload_folder())


def result_path(name: str) -> Path:
    """A new path for a result file, in its own folder as made by `result_folder`."""
    return result_folder() / name


def result_folder() -> Path:
    """A new folder with a random name for the files of one result; sweeps old ones.

    Raises:
        ResourceError: the disk is full or the folder is not writable.
    """
    sweep_now_and_then()
    folder = root() / "results" / secrets.token_hex(16)
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise ResourceError(
            "The result cannot be written: the disk is full or the folder is read-only."
        ) from error
    return folder


def is_result(path: object) -> bool:
    """Whether this names a file in a folder made by `result_folder`, without disk access."""
    if not isinstance(path, str):
        return False
    folder, name = os.path.split(path)
    results, own = os.path.split(folder)
    return (
        results == str(root() / "results")
        and _OWN.fullmatch(own) is not None
        and name not in ("", ".", "..")
    )


def is_full() -> bool:
    """Whether uploads and results exceed their limit, even after a sweep.

    Checked only every few seconds and by one thread at a time, since it walks over all files; other
    calls return the last result.
    """
    global _full  # noqa: PLW0603
    again, verdict = _full
    started = time.monotonic()
    if started < again or not _looking.acquire(blocking=False):
        return verdict
    try:
        budget = get_settings().files_mb * 1_000_000
        most = round(SPARE * budget)
        verdict = sweep(root(), KEEP_SECONDS, most) > budget
        now = time.monotonic()
        _full = (now + max(LOOK_EVERY, (now - started) / LOOK_SHARE), verdict)
    finally:
        _looking.release()
    return verdict


def sweep_now_and_then() -> None:
    """`sweep`, at most every `SWEEP_EVERY` seconds and by one thread at a time."""
    global _last_sweep  # noqa: PLW0603
    if time.monotonic() - _last_sweep < SWEEP_EVERY or not _sweeping.acquire(blocking=False):
        return
    try:
        _last_sweep = time.monotonic()
        sweep(root(), KEEP_SECONDS, round(SPARE * get_settings().files_mb * 1_000_000))
    finally:
        _sweeping.release()


def sweep(folder: Path, seconds: float, budget: int) -> int:
    """Remove files older than `seconds`, unfinished uploads, and then the oldest files until the
    rest takes at most `budget` bytes; return the bytes that remain.

    Files of the last minute stay regardless: their requests may be running.
    """
    now = time.time()
    files = sorted(_files(folder))  # oldest first
    total = sum(nbytes for _, nbytes, _ in files)
    for changed, nbytes, path in files:
        age = now - changed
        cut = path.parent == folder and path.name.startswith("tmp") and age > CUT_SECONDS
        if age > seconds or cut or (total > budget and age > 60):
            with contextlib.suppress(OSError):
                path.unlink()
                total -= nbytes
                if path.parent != folder:
                    path.parent.rmdir()  # fails while another file is in it
    _remove_empty(folder, now - seconds)
    return total


def size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(nbytes for _, nbytes, _ in _files(folder))


def _files(folder: str | Path) -> Iterator[tuple[float, int, Path]]:
    """(modification time, bytes, path) of every file; others may remove them meanwhile."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                stat = entry.stat(follow_symlinks=False)
                yield stat.st_mtime, stat.st_size, Path(entry.path)


def _remove_empty(folder: Path, before: float) -> None:
    """Remove folders of requests that failed before writing anything."""
    for parent in (folder, folder / "results"):
        with contextlib.suppress(OSError):
            for old in parent.iterdir():
                with contextlib.suppress(OSError):
                    if old.name != "results" and old.stat().st_mtime < before:
                        old.rmdir()


def keep_sweeping(stop: threading.Event | None = None) -> threading.Thread:
    """Sweep every half minute in the background, even without requests."""
    stop = stop or threading.Event()

    def work() -> None:
        while not stop.wait(SWEEP_EVERY):
            try:
                sweep_now_and_then()
            except Exception:  # the next sweep may succeed
                _log.exception("sweeping failed")

    thread = threading.Thread(target=work, name="sweep", daemon=True)
    thread.start()
    return thread


def clear() -> None:
    """Remove the whole folder; for tests."""
    shutil.rmtree(root(), ignore_errors=True)
