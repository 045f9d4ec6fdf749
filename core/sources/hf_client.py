"""Hugging Face client: time limits, a remembered reachability probe, and errors as sentences.

`huggingface_hub` has no time limit on some calls and retries for 23 s on others. Here every request
has a limit, and a download without new bytes for `Settings.stall` seconds ends.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import (
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    set_client_factory,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils._http import default_client_factory
from tqdm import tqdm

from core.errors import (
    DISK_FULL,
    NOT_WRITABLE,
    CheckpointError,
    DamagedFile,
    Gated,
    HubError,
    HubUnreachable,
    ResourceError,
)
from core.settings import get_settings
from core.sources import transfer

Progress = Callable[[float, str], None]

HUB = "The Hugging Face server"
OFFLINE = "Downloads are switched off on this server."
TRIES = 3  # at least this many requests fit into the stall time
REMEMBER_DOWN = 30.0  # seconds that "unreachable" is remembered
REMEMBER_UP = 60.0
CUT = 900.0  # seconds after which a partial file counts as abandoned
KEPT = 14 * 86400.0  # the same for one that we can continue

_log = logging.getLogger(__name__)
_SHA256 = re.compile(r"[0-9a-f]{64}")  # the ETag of a weight file is its checksum
_NO_FOLDER = NOT_WRITABLE | {errno.ENOTDIR, errno.EEXIST}
_thread = threading.local()  # .last_byte: last progress of this thread's download
_probe_lock = threading.Lock()
_verdicts: dict[str, tuple[float, bool]] = {}  # endpoint -> (time, answered)


def endpoint() -> str:
    """Hugging Face's address; `HF_ENDPOINT` can name a mirror."""
    return (get_settings().hub_endpoint or constants.ENDPOINT).rstrip("/")


def cache_dir() -> Path:
    """Where downloads are kept; shared with all programs that use Hugging Face."""
    return get_settings().hub_cache or Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Whether a setting forbids network access."""
    return get_settings().offline or constants.is_offline_mode()


def cached(repo: str, filename: str, revision: str | None) -> Path | None:
    """The file in the local cache, without a request; None if it is not there."""
    found = try_to_load_from_cache(repo, filename, cache_dir=cache_dir(), revision=revision)
    return Path(found) if isinstance(found, str) and Path(found).exists() else None


# --- time limits ---


def _limit() -> float:
    """Seconds without a byte before one request gives up."""
    return get_settings().stall / TRIES


def _cap(request: httpx2.Request) -> None:
    """Limit one request; refuse it if its download has had no new byte for too long."""
    last_byte = getattr(_thread, "last_byte", None)
    if last_byte is not None and time.monotonic() - last_byte > get_settings().stall:
        raise HubUnreachable(f"{_server()} stopped sending data.")
    limits = request.extensions.get("timeout") or {}
    request.extensions["timeout"] = {
        name: min(limits.get(name) or _limit(), _limit())
        for name in ("connect", "read", "write", "pool")
    }


def _no_waiting(response: httpx2.Response) -> None:
    """End a download that is told to wait: the library would sleep as long as the server says."""
    if response.status_code == 429 and getattr(_thread, "last_byte", None) is not None:
        raise HubUnreachable(f"{_server()} limits requests at the moment.")


def _server() -> str:
    """The one from which this thread downloads."""
    return getattr(_thread, "server", HUB)


def _capped_client() -> httpx2.Client:
    client = default_client_factory()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], _cap],
        "response": [*hooks["response"], _no_waiting],
    }
    return client


@lru_cache(maxsize=1)
def install_limits() -> None:
    """Limit every request of the Hugging Face client, including those by other libraries."""
    set_client_factory(_capped_client)
    # The Xet transfer is a second client, in Rust, to which our limits do not apply.
    constants.HF_HUB_DISABLE_XET = True
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it warns at every retry


@contextmanager
def watched(server: str, progress: Progress | None, title: str) -> Iterator[transfer.Told]:
    """End the requests of this thread when `server` has sent nothing for `Settings.stall` seconds.

    Yields what a transfer has to call with the bytes that are there and their final number; it
    tells `progress`.
    """

    def told(done: int, of: int) -> None:
        _thread.last_byte = time.monotonic()
        if progress is not None:
            mb = f"{done / 1e6:.0f} of {of / 1e6:.0f} MB"
            progress(done / of, f"Downloading {title}: {mb}")

    _thread.last_byte, _thread.server = time.monotonic(), server
    try:
        yield told
    finally:
        _thread.last_byte, _thread.server = None, HUB


# --- the probe ---


def _ask(address: str, answers: list[bool]) -> None:
    try:
        response = httpx2.head(address, timeout=get_settings().probe, follow_redirects=True)
        answers.append(response.status_code < 500 and response.status_code != 429)
    except Exception:  # no connection, or a malformed address
        answers.append(False)


def is_reachable(server: str | None = None) -> bool:
    """Whether Hugging Face, or the server at that address, answers within about `Settings.probe`
    seconds; remembered."""
    if is_offline():
        return False
    address = server or endpoint()
    with _probe_lock:
        when, verdict = _verdicts.get(address, (float("-inf"), False))
        if time.monotonic() - when < (REMEMBER_UP if verdict else REMEMBER_DOWN):
            return verdict
        answers: list[bool] = []
        # On a thread, because a slow DNS look-up ignores time limits.
        worker = threading.Thread(target=_ask, args=(address, answers), daemon=True)
        worker.start()
        worker.join(get_settings().probe + 0.5)
        verdict = bool(answers and answers[0])
        _verdicts[address] = (time.monotonic(), verdict)
        return verdict


def last_verdict() -> bool | None:
    """What the last probe found, without a request; None if there was none."""
    with _probe_lock:
        return None if is_offline() else _verdicts.get(endpoint(), (0.0, None))[1]


def forget_probe() -> None:
    """Probe Hugging Face again at the next call."""
    with _probe_lock:
        _verdicts.clear()


# --- downloads ---


def check_space(size: int) -> None:
    """Refuse a file for which the disk has no room: OSError (ENOSPC)."""
    folder = next(p for p in (cache_dir(), *cache_dir().absolute().parents) if p.exists())
    if shutil.disk_usage(folder).free < size:
        raise OSError(errno.ENOSPC, "too little space for the file announced")


def download(
    repo: str, filename: str, revision: str | None, title: str, progress: Progress | None = None
) -> Path:
    """Fetch one file into the cache, within the limits above.

    A download that was cut short, even by the end of the program, goes on where it stopped.

    Raises:
        HubError: one of `core.errors`, with a sentence that names `title`; or what `progress`
        raised to stop the download.
    """
    install_limits()
    _remove_cut(repo)
    try:
        with watched(HUB, progress, title) as told:
            url = hf_hub_url(repo, filename, revision=revision, endpoint=endpoint())
            # Probe first: after an error the library would retry for 23 seconds.
            known = get_hf_file_metadata(url, timeout=_limit(), endpoint=endpoint())
            check_space(known.size or 0)
            _thread.last_byte = time.monotonic()
            if known.size and known.etag and _SHA256.fullmatch(known.etag):
                blobs = _blobs(repo)
                lock = cache_dir() / ".locks" / blobs.parent.name / f"{known.etag}.part.lock"
                transfer.fetch(url, blobs / known.etag, known.size, told, lock)
            # Registers a file that is there already, and fetches a small one.
            path = hf_hub_download(
                repo,
                filename,
                revision=revision,
                cache_dir=cache_dir(),
                endpoint=endpoint(),
                tqdm_class=_Silent,
            )
    except Exception as error:  # `explain` tells them apart
        raise explain(error, title, repo) from error
    return Path(path)


def _blobs(repo: str) -> Path:
    return cache_dir() / repo_folder_name(repo_id=repo, repo_type="model") / "blobs"


class _Silent(tqdm):
    """huggingface_hub's progress bar, which prints nothing here."""

    monitor_interval = 0  # no monitor thread for printing

    def __init__(self, *, total: int | None = None, initial: int = 0, **printing: Any) -> None:
        super().__init__(total=total, initial=initial, disable=True)

    def update(self, n: float | None = 1) -> bool | None:
        if n and n > 0:
            _thread.last_byte = time.monotonic()
        return None


def _remove_cut(repo: str) -> None:
    """Remove partial files in this repository that killed processes left: the client starts a new
    one each time, and gigabytes would pile up. Other programs may share the cache, so recent ones
    stay. Our own are continued, so they stay longer."""
    for pattern, age in (("*.incomplete", CUT), (f"*{transfer.PART}", KEPT)):
        for partial in _blobs(repo).glob(pattern):
            with suppress(OSError):
                if time.time() - partial.stat().st_mtime > age:
                    partial.unlink()


# --- errors ---


def causes(error: BaseException) -> list[BaseException]:
    """The error and what led to it."""
    found: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in found:
        found.append(current)
        current = current.__cause__ or current.__context__
    return found


def explain(error: BaseException, title: str, repo: str) -> HubError:
    """The error of `core.errors` that explains `error` and its causes in one sentence."""
    chain = causes(error)
    for one in chain:
        if isinstance(one, HubError):
            return one
    for one in chain:
        told = _by_kind(one, title, repo) or of_the_disk(one, title)
        if told is not None:
            return told
    return CheckpointError(f"{title} could not be downloaded from Hugging Face.")


def _by_kind(error: BaseException, title: str, repo: str) -> HubError | None:
    if isinstance(error, GatedRepoError):
        return Gated(
            f"{title} requires accepting its licence: accept it on {endpoint()}/{repo}, "
            "set HF_TOKEN and restart."
        )
    if isinstance(error, RevisionNotFoundError):
        return CheckpointError(f"{title} is not on Hugging Face in the expected version.")
    if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
        return CheckpointError(f"{title} is not on Hugging Face under the expected file name.")
    if isinstance(error, HfHubHTTPError):
        return _by_status(error, title)
    if isinstance(error, FileMetadataError):
        return HubUnreachable("A proxy or firewall is intercepting requests to Hugging Face.")
    if isinstance(error, httpx2.TransportError | OfflineModeIsEnabled):
        return HubUnreachable("The Hugging Face server did not answer.")
    return None


def _by_status(error: HfHubHTTPError, title: str) -> HubError:
    status = error.response.status_code
    if status in (401, 403):
        return Gated(
            f"The Hugging Face server refused access to {title}: "
            "set HF_TOKEN to a token that can read it."
        )
    if isinstance(error, RepositoryNotFoundError) or status in (404, 410):
        return CheckpointError(f"{title} was removed from Hugging Face or made private.")
    if status == 429:
        return HubUnreachable("The Hugging Face server limits requests at the moment.")
    if status in (408, 425) or status >= 500:
        return HubUnreachable("The Hugging Face server has an internal error.")
    return CheckpointError(f"The Hugging Face server refused to send {title} (status {status}).")


def of_the_disk(error: BaseException, title: str) -> HubError | None:
    """The sentence for an error of the disk; None for another."""
    if not isinstance(error, OSError):
        return None
    if error.errno in DISK_FULL:
        _log.error("the disk of %s is full", cache_dir())
        return ResourceError(f"The disk is full: {title} does not fit on it.")
    if error.errno in _NO_FOLDER:
        _log.error("%s cannot be written; set HF_HOME to another folder", cache_dir())
        return ResourceError(
            f"The folder for downloads cannot be written, so {title} cannot be downloaded; the log "
            "names the folder."
        )
    if "onsistency check" in str(error):  # received a different number of bytes than announced
        return DamagedFile(f"{title} was not downloaded completely; please try again.")
    return None
