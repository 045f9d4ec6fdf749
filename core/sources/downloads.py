"""Downloads in the background: one for each checkpoint, which all visitors share and see.

A download goes on when the page that asked for it is closed, and ends early when everybody who
wanted it has cancelled. What had arrived by then is kept, and the next one continues there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from core.checkpoints import Checkpoint
from core.errors import Busy, HubError
from core.sources import hf_client, resolver
from core.sources.hf_client import Progress

State = Literal["waiting", "running", "done", "failed", "cancelled"]

AT_ONCE = 3  # downloads; more wait
MOST = 16  # running or waiting
PRELOAD = "at startup"  # wants a download, and never cancels it
PAUSES = (30.0, 120.0, 600.0)  # seconds before the next attempts to preload
STEP = 0.25  # share of a download between two lines in the log

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_jobs: dict[str, Job] = {}
_places = threading.Semaphore(AT_ONCE)


class Cancelled(HubError):
    """Everybody who wanted the download has cancelled."""


@dataclass(slots=True, eq=False)
class Job:
    """One download; `share` is how much of it has arrived, 0..1, and `sentence` says it in words.

    `wanted` are those who asked for it: the session of a page, or `PRELOAD`.
    """

    checkpoint: Checkpoint
    state: State = "waiting"
    share: float = 0.0
    sentence: str = ""
    wanted: set[str] = field(default_factory=set)
    ended: threading.Event = field(default_factory=threading.Event)


def start(checkpoint: Checkpoint, by: str) -> Job:
    """Begin a download, or join the one that runs.

    Args:
        by: who asks; `cancel` takes the same.

    Raises:
        Busy: too many are going on.
    """
    with _lock:
        job = _jobs.get(checkpoint.key)
        if job is None or job.ended.is_set():
            if sum(not one.ended.is_set() for one in _jobs.values()) >= MOST:
                raise Busy("Many checkpoints are being downloaded; please try again later.")
            waiting = f"{checkpoint.title} is waiting for its download"
            job = Job(checkpoint, sentence=waiting, wanted={by})
            _jobs[checkpoint.key] = job
            name = f"download {checkpoint.key}"
            threading.Thread(target=_work, args=(job,), name=name, daemon=True).start()
        job.wanted.add(by)
        return job


def cancel(key: str, by: str) -> None:
    """Stop wanting a download; it ends when nobody else wants it."""
    with _lock:
        if job := _jobs.get(key):
            job.wanted.discard(by)


def of(key: str) -> Job | None:
    """The last download of a checkpoint since the start of the program."""
    with _lock:
        return _jobs.get(key)


def running() -> list[Job]:
    """All downloads that have not ended."""
    with _lock:
        return [job for job in _jobs.values() if not job.ended.is_set()]


def _work(job: Job) -> None:
    title = job.checkpoint.title
    try:
        with _places:
            job.state = "running"
            resolver.fetch(job.checkpoint, _progress(job))
        job.state, job.share, job.sentence = "done", 1.0, f"{title} is ready."
        _log.info("%s is downloaded", title)
    except Cancelled:
        job.state, job.sentence = "cancelled", f"The download of {title} was cancelled."
        _log.info("%s", job.sentence)
    except HubError as error:
        job.state, job.sentence = "failed", str(error)
        _log.warning("%s was not downloaded: %s", title, error)
    except Exception:
        job.state, job.sentence = "failed", f"{title} could not be downloaded."
        _log.exception("%s was not downloaded", title)
    finally:
        job.ended.set()


def _progress(job: Job) -> Progress:
    logged = -STEP

    def told(share: float, sentence: str) -> None:
        nonlocal logged
        job.share, job.sentence = share, sentence
        if share >= logged + STEP:
            logged = share
            _log.info("%s", sentence)
        if not job.wanted:
            raise Cancelled(f"The download of {job.checkpoint.title} was cancelled.")

    return told


def preload(
    wanted: Sequence[Checkpoint], wait: Callable[[float], object] = time.sleep
) -> threading.Thread:
    """Download these one after the other in the background, smallest first.

    Where the hub does not answer, it is tried again after each of `PAUSES`.
    """

    def work() -> None:
        if hf_client.is_offline():
            _log.info("%s Nothing is preloaded.", hf_client.OFFLINE)
            return
        left = sorted(wanted, key=lambda c: c.size_mb)
        for pause in (*PAUSES, None):
            left = [c for c in left if not resolver.is_ready(c) and not _came(c)]
            if not left or pause is None:
                break
            _log.info("%d checkpoints are tried again in %.0f s", len(left), pause)
            wait(pause)
        if left:
            _log.warning("not downloaded: %s", ", ".join(c.key for c in left))

    thread = threading.Thread(target=work, name="preload", daemon=True)
    thread.start()
    return thread


def _came(checkpoint: Checkpoint) -> bool:
    """Download one; whether that ended for good, which it does not if the hub is unreachable."""
    try:
        job = start(checkpoint, PRELOAD)
    except Busy:
        return False
    job.ended.wait()
    return resolver.is_ready(checkpoint)
