"""Check weight files against SHA-256 sums, each computed once per state of a file."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
from functools import lru_cache
from pathlib import Path

from core.sources import hf_client

SHA256 = re.compile(r"[0-9a-f]{64}")
_log = logging.getLogger(__name__)


def is_intact(path: Path, sha256: str | None) -> bool:
    """Whether the file has that SHA-256, or else the one in its name in the Hugging Face cache.

    Hashing a large file takes seconds, so a good result is stored beside the cache until the file
    changes. True if no sum is known.
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
    return hf_client.cache_dir() / ".vision-hub" / f"{name}.json"


def delete(path: Path) -> None:
    """Remove a file from the Hugging Face cache: its name, its content and its stored result."""
    blob = path.resolve()
    for file in (path, blob, _sidecar(blob)):
        file.unlink(missing_ok=True)


def is_as_shipped(path: Path) -> bool:
    """Whether a starter matches `SHA256SUMS` beside it; True if the sum is not listed."""
    sums = path.with_name("SHA256SUMS")
    if not sums.is_file():
        return True
    return _matches(path, sums, (*_state(path), *_state(sums)))


def has_sum(path: Path, sha256: str | None) -> bool:
    """Does the file have that SHA-256? True where none is known. Not made twice for one state."""
    return sha256 in (None, _sum(path, _state(path)))


@lru_cache(maxsize=16)
def _sum(path: Path, state: tuple[int, int]) -> str:
    return file_sha256(path)


def _state(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)
def _matches(path: Path, sums: Path, state: tuple[int, ...]) -> bool:
    """The result for the two files in that state; a hash is not computed twice."""
    return shipped_sums(sums).get(path.name) in (None, file_sha256(path))


def shipped_sums(sums: Path) -> dict[str, str]:
    """File name -> SHA-256, of a file in the format of `sha256sum`."""
    pairs = (line.split() for line in sums.read_text("utf-8").splitlines())
    return {name: digest for digest, name in pairs}
