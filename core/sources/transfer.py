"""Fetch one large file over HTTP into a given place, and continue where an earlier try stopped.

`huggingface_hub` continues a download within one call only: of a process that was killed it leaves
a partial file that nobody uses again. Here the partial file has a fixed name, and the server is
asked for the rest of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx2
from huggingface_hub import get_session
from huggingface_hub.utils import WeakFileLock, build_hf_headers, hf_raise_for_status

PART = ".part"
TRIES = 5  # without a new byte between them
LOCK_SECONDS = 1.0
PAUSE = 1.0  # seconds between two of them
_CUT = (httpx2.ConnectError, httpx2.TimeoutException, httpx2.RemoteProtocolError, httpx2.ReadError)
Told = Callable[[int, int], None]


def fetch(
    url: str,
    target: Path,
    size: int,
    told: Told,
    lock: Path,
    headers: dict[str, str] | None = None,
) -> None:
    """Write the file of `size` bytes at `url` to `target`.

    Does nothing if `target` exists, or if another process is fetching it now. What has arrived
    stays beside it if this fails. The content is not checked.

    Args:
        told: called with the bytes there are and `size`, after each piece; it may raise.
        lock: a file that processes with this target share.
        headers: of the requests; None for those of Hugging Face, which hold the person's token.

    Raises:
        httpx2.TransportError: the server cut the transfer several times in a row.
        HfHubHTTPError: it refused.
        OSError: the file cannot be written, or has another size than announced.
    """
    if target.exists():
        return
    for folder in (target.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    try:
        with WeakFileLock(lock, timeout=LOCK_SECONDS):
            _all_of_it(url, part, size, told, headers)
            part.replace(target)
    except TimeoutError:  # another process has the lock
        return


def _all_of_it(url: str, part: Path, size: int, told: Told, headers: dict[str, str] | None) -> None:
    left = TRIES
    while (had := part.stat().st_size if part.exists() else 0) != size:
        if had > size:
            part.unlink()
            had = 0
        try:
            _rest_of_it(url, part, had, size, told, headers)
        except _CUT:
            now = part.stat().st_size if part.exists() else 0
            left = left - 1 if now <= had else TRIES
            if left <= 0:
                raise
            time.sleep(PAUSE)
            continue
        if part.stat().st_size != size:
            part.unlink()
            raise OSError("Consistency check failed: the file has another size than announced")


def _rest_of_it(
    url: str, part: Path, start: int, size: int, told: Told, headers: dict[str, str] | None
) -> None:
    # Compressed on the way, its bytes could not be counted.
    headers = {
        **(build_hf_headers() if headers is None else headers),
        "Accept-Encoding": "identity",
    }
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, follow_redirects=True) as response:
        if response.status_code == 416:  # it has no such rest
            part.unlink()
            return
        hf_raise_for_status(response)
        if start and response.status_code != 206:  # the whole file comes again
            start = 0
        with part.open("ab" if start else "wb") as file:
            done = start
            for piece in response.iter_raw():
                file.write(piece)
                done += len(piece)
                told(done, size)
