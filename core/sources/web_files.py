"""Weight files at an address, for checkpoints that no hub has: torchvision's.

Where `Checkpoint.source` is the https address of a folder, `filename` is fetched from it with the
limits, the progress and the continuation of downloads from Hugging Face. The checkpoint must have a
SHA-256, because such a server announces none.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import httpx2
from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import hf_raise_for_status

from core.checkpoints import Checkpoint
from core.errors import CheckpointError, HubError, HubUnreachable
from core.sources import hf_client, transfer
from core.sources.hf_client import Progress

#: Folders that files may come from. A redirect may lead elsewhere: the sum is checked anyway.
ALLOWED = ("https://download.pytorch.org/models",)


def is_address(checkpoint: Checkpoint) -> bool:
    """Does its file come from an address and not from a hub repository?"""
    return "://" in checkpoint.source


def server(checkpoint: Checkpoint) -> str:
    """Scheme and host, which a probe can ask."""
    parts = urlsplit(checkpoint.source)
    return f"{parts.scheme}://{parts.netloc}"


def host(checkpoint: Checkpoint) -> str:
    """The name of the server, for sentences."""
    return urlsplit(checkpoint.source).hostname or checkpoint.source


def cached(checkpoint: Checkpoint) -> Path | None:
    """The file that was fetched before; None if it is not there. Makes no request."""
    path = _place(checkpoint)
    return path if path.is_file() else None


def download(checkpoint: Checkpoint, progress: Progress | None = None) -> Path:
    """Fetch its file; one that was cut short goes on where it stopped.

    The content is not checked.

    Raises:
        HubError: one of `core.errors`, with a sentence that names the checkpoint or the server; or
        what `progress` raised to stop the download.
    """
    title, path = checkpoint.title, _place(checkpoint)
    if checkpoint.source not in ALLOWED:
        raise CheckpointError(f"{title} cannot be downloaded: {host(checkpoint)} is not allowed.")
    hf_client.install_limits()
    url = f"{checkpoint.source}/{checkpoint.filename}"
    try:
        with hf_client.watched(host(checkpoint), progress, title) as told:
            size = _size(url)
            hf_client.check_space(size)
            lock = path.with_name(path.name + ".lock")
            # No Hugging Face headers: they hold the visitor's token.
            transfer.fetch(url, path, size, told, lock, headers={})
    except Exception as error:  # `_explain` tells them apart
        raise _explain(error, title, host(checkpoint)) from error
    if not path.is_file():  # another process is fetching it now
        raise HubUnreachable(f"{title} is being downloaded by another program; please try again.")
    return path


def _place(checkpoint: Checkpoint) -> Path:
    if not checkpoint.sha256:
        raise CheckpointError(f"{checkpoint.title} has no checksum, so it is not downloaded.")
    folder = hf_client.cache_dir() / ".vision-hub" / "files" / checkpoint.sha256
    return folder / Path(checkpoint.filename).name


def _size(url: str) -> int:
    headers = {"Accept-Encoding": "identity"}
    response = get_session().head(url, headers=headers, follow_redirects=True)
    hf_raise_for_status(response)
    size = response.headers.get("Content-Length", "")
    if not size.isdigit() or response.headers.get("Content-Type", "").startswith("text/html"):
        raise HubUnreachable("A proxy or firewall is intercepting requests.")
    return int(size)


def _explain(error: BaseException, title: str, name: str) -> HubError:
    chain = hf_client.causes(error)
    for one in chain:
        if isinstance(one, HubError):
            return one
    for one in chain:
        told = _by_kind(one, title, name) or hf_client.of_the_disk(one, title)
        if told is not None:
            return told
    return CheckpointError(f"{title} could not be downloaded from {name}.")


def _by_kind(error: BaseException, title: str, name: str) -> HubError | None:
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        if status in (404, 410):
            return CheckpointError(f"{title} was removed from {name}.")
        if status in (408, 425, 429) or status >= 500:
            return HubUnreachable(f"{name} cannot send files at the moment.")
        return CheckpointError(f"{name} refused to send {title} (status {status}).")
    if isinstance(error, httpx2.TransportError | OfflineModeIsEnabled):
        return HubUnreachable(f"{name} did not answer.")
    return None
