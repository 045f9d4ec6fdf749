"""Where a checkpoint's file comes from; the only place that knows about tiers.

Order: the user's own file, the hub's local cache, the hub, the starter in the repository.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints, hub
from core.checkpoints import ROOT, Checkpoint, Task, Tier
from core.errors import Busy, CheckpointError, DamagedFile, HubUnreachable, InputError
from core.hub import Progress

if TYPE_CHECKING:
    from core import own

SHA256 = re.compile(r"[0-9a-f]{64}")

#: Told of every checkpoint that was downloaded just now.
on_download: list[Callable[[Checkpoint], None]] = []
_log = logging.getLogger(__name__)
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_locks_guard = threading.Lock()
_room: threading.Semaphore | None = None  # places for those who wait for a download


@dataclass(frozen=True, slots=True)
class Resolved:
    """The weight file that answers a request; `note` is a sentence when it is not the one asked."""

    checkpoint: Checkpoint
    tier: Tier
    path: Path
    note: str = ""


def resolve(
    key: str, task: Task, progress: Progress | None = None, *, scale: int | None = None
) -> Resolved:
    """The file for `key`, downloaded where needed.

    "auto" is the best checkpoint at hand (in the cache, else the starter) and never downloads. A
    full checkpoint whose hub does not answer gives the starter of its task, with a note.

    Args:
        progress: called with the share done (0..1) and a sentence while a file is fetched.
        scale: with "auto" in super_resolve, the enlargement wanted.

    Raises:
        InputError: no checkpoint of that name for this task.
        CheckpointError: it cannot be had (Gated, HubUnreachable, DamagedFile, or removed).
        ResourceError: the disk is full or cannot be written.
        Busy: it has to be fetched, and as many as `limit_waiting` allows wait for that already.
    """
    if key == "auto":
        return _best_at_hand(task, scale)
    checkpoint = find(key, task)
    if checkpoint.tier != "full":
        return Resolved(checkpoint, checkpoint.tier, _local(checkpoint))
    try:
        with _place(checkpoint):
            return Resolved(checkpoint, "full", _full(checkpoint, progress))
    except HubUnreachable as error:
        return _starter_instead(checkpoint, error)


def find(key: str, task: Task) -> Checkpoint:
    """The checkpoint of that key, the user's own included.

    Raises:
        InputError: there is none, or it does another task.
        CheckpointError: it is an own file that cannot be used.
    """
    if not isinstance(key, str):  # callers can send anything
        raise InputError("The checkpoint must be a name, such as auto.")
    listed = checkpoints.by_key(key)
    named = [listed] if listed else [c for c in _own() if c.key == key]
    for checkpoint in named:  # an own restoration network can stand under two tasks
        if checkpoint.task == task:
            return checkpoint
    for problem in _scan().problems if key.startswith("own:") else ():
        if problem.startswith(f"{key.removeprefix('own:')} "):
            raise CheckpointError(problem)
    known = ", ".join(c.key for c in of_task(task))
    name = " ".join(key.split())[:80]
    what = f"{name} does another task" if named else f"There is no checkpoint called {name}"
    raise InputError(f"{what}; choose auto, {known}.")


def of_task(task: Task) -> list[Checkpoint]:
    """What a person can pick for a task: starters, full ones, own ones."""
    return [*checkpoints.of_task(task), *(c for c in _own() if c.task == task)]


def is_at_hand(checkpoint: Checkpoint) -> bool:
    """Would this checkpoint load now without a download? Makes no request."""
    if checkpoint.tier == "full":
        return all(_cached(checkpoint, name) is not None for name in _files(checkpoint))
    return (ROOT / checkpoint.source).exists()  # an absolute source replaces ROOT


def listing() -> list[dict[str, object]]:
    """Every checkpoint as plain JSON, for `/checkpoints` and the pickers."""
    return [
        {
            "key": c.key,
            "task": c.task,
            "tier": c.tier,
            "available": is_at_hand(c),
            "size_mb": round(_size_mb(c), 1),
            "licence": c.licence,
            "params": round(c.params_m * 1e6) or None,
            "title": c.title,
            "metric": c.metric,
            "trained_on": c.trained_on,
            "scale": c.scale,
            "note": c.note,
            "encode": c.encode or None,
        }
        for c in (*checkpoints.CATALOGUE, *_own())
    ]


def _size_mb(checkpoint: Checkpoint) -> float:
    if checkpoint.size_mb or checkpoint.tier == "full" or not is_at_hand(checkpoint):
        return checkpoint.size_mb
    return (ROOT / checkpoint.source).stat().st_size / 1e6


# --- the steps of the order ---


def _scan() -> own.Scan:
    from core import own  # knows the file formats; not needed where nobody has own files

    return own.scan()


def _own() -> tuple[Checkpoint, ...]:
    return _scan().checkpoints


def _local(checkpoint: Checkpoint) -> Path:
    path = ROOT / checkpoint.source
    if not path.exists():
        raise CheckpointError(f"The file of {checkpoint.key} is not there: {path.name}.")
    if checkpoint.tier == "starter" and not _is_as_shipped(path):
        raise DamagedFile(f"{path.name} is damaged; take it again from the repository.")
    return path


def _is_as_shipped(path: Path) -> bool:
    """Does a starter have the sum that `SHA256SUMS` beside it says? True where none is said."""
    sums = path.with_name("SHA256SUMS")
    if not sums.is_file():
        return True
    return _matches(path, sums, (*_state(path), *_state(sums)))


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)
def _matches(path: Path, sums: Path, state: tuple[int, ...]) -> bool:
    """What was found of the two files in that state; a hash is not made twice."""
    return shipped_sums(sums).get(path.name) in (None, file_sha256(path))


def shipped_sums(sums: Path) -> dict[str, str]:
    """File name -> SHA-256, of a file as `sha256sum` writes it."""
    pairs = (line.split() for line in sums.read_text("utf-8").splitlines())
    return {name: digest for digest, name in pairs}


def _best_at_hand(task: Task, scale: int | None) -> Resolved:
    fitting = [c for c in checkpoints.of_task(task) if scale in (None, c.scale)]
    for checkpoint in sorted(fitting, key=lambda c: c.tier == "starter"):  # full ones first
        if not is_at_hand(checkpoint):
            continue
        if checkpoint.tier == "starter":
            return Resolved(checkpoint, "starter", _local(checkpoint))
        path = _checked_in_cache(checkpoint)
        if path is not None:
            return Resolved(checkpoint, "full", path)
    wanted = f" x{scale}" if scale else ""
    raise CheckpointError(f"No checkpoint for {task}{wanted} is at hand; pick one to download it.")


def _starter_instead(wanted: Checkpoint, error: HubUnreachable) -> Resolved:
    reason = str(error)
    failed = f"{wanted.title} could not be fetched: {reason[0].lower()}{reason[1:]}"
    scale = wanted.scale if wanted.task == "super_resolve" else None
    for starter in checkpoints.of_task(wanted.task):
        if starter.tier == "starter" and scale in (None, starter.scale) and is_at_hand(starter):
            note = f"{failed} {starter.title} answered instead."
            return Resolved(starter, "starter", _local(starter), note)
    raise HubUnreachable(f"{failed} No starter can take its place.") from error


def limit_waiting(count: int | None) -> None:
    """Let at most so many requests wait for downloads at once, so that a server has places left."""
    global _room  # noqa: PLW0603
    _room = None if count is None else threading.Semaphore(count)


@contextmanager
def _place(checkpoint: Checkpoint) -> Iterator[None]:
    room = _room
    if room is None or is_at_hand(checkpoint):
        yield
        return
    if not room.acquire(blocking=False):
        raise Busy(f"{checkpoint.title} is still being fetched; please try again in a minute.")
    try:
        yield
    finally:
        room.release()


def _full(checkpoint: Checkpoint, progress: Progress | None) -> Path:
    with _locks_guard:
        lock = _locks[checkpoint.key]
    with lock:  # many first requests, one download
        if is_at_hand(checkpoint):
            path = _checked_in_cache(checkpoint)
            if path is not None:
                return path
        if not hub.is_reachable():
            raise HubUnreachable("The model hub did not answer.")
        return _download(checkpoint, progress)


def _files(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (*checkpoint.extra_files, checkpoint.filename)


def _cached(checkpoint: Checkpoint, name: str) -> Path | None:
    return hub.cached(checkpoint.source, name, checkpoint.revision)


def _download(checkpoint: Checkpoint, progress: Progress | None) -> Path:
    repo, title = checkpoint.source, checkpoint.title
    for name in checkpoint.extra_files:
        hub.download(repo, name, checkpoint.revision, title)
    path = hub.download(repo, checkpoint.filename, checkpoint.revision, title, progress)
    if not is_intact(path, checkpoint.sha256):
        _delete(path)
        raise DamagedFile(f"{title} arrived damaged and was removed; please try again.")
    for tell in on_download:
        tell(checkpoint)
    return path


def _checked_in_cache(checkpoint: Checkpoint) -> Path | None:
    """The cached file; None, and the file removed, where its checksum is wrong."""
    path = _cached(checkpoint, checkpoint.filename)
    if path is None or is_intact(path, checkpoint.sha256):
        return path
    _log.warning("%s in the cache is damaged and is removed", checkpoint.key)
    _delete(path)
    return None


# --- checksums ---


def is_intact(path: Path, sha256: str | None) -> bool:
    """Does the file have that SHA-256, or else the one by which the hub's cache names it?

    A hash takes seconds for a large file, so a good result is remembered beside the cache until
    the file changes. True where nothing is known to hold it against.
    """
    blob = path.resolve()
    expected = sha256 or (blob.name if SHA256.fullmatch(blob.name) else None)
    if expected is None:
        return True
    stat = blob.stat()
    state = {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "sha256": expected}
    sidecar = _sidecar(blob)
    try:
        if json.loads(sidecar.read_text()) == state:
            return True
    except (OSError, ValueError):
        pass  # not checked yet
    if file_sha256(blob) != expected:
        return False
    try:
        sidecar.parent.mkdir(parents=True, exist_ok=True)
        partial = sidecar.with_suffix(f".{threading.get_ident()}")
        partial.write_text(json.dumps(state))
        partial.replace(sidecar)
    except OSError:
        _log.info("checksum of %s could not be remembered", blob.name)
    return True


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _sidecar(blob: Path) -> Path:
    name = hashlib.sha256(str(blob).encode()).hexdigest()[:32]
    return hub.cache_dir() / ".vision-hub" / f"{name}.json"


def _delete(path: Path) -> None:
    blob = path.resolve()
    for file in (path, blob, _sidecar(blob)):
        file.unlink(missing_ok=True)
