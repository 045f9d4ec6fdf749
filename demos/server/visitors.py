"""Who sent a request, what they uploaded, and how often they may ask."""

from __future__ import annotations

import filecmp
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachetools import TTLCache

from core.errors import InputError
from demos.server import files

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
UPLOADS_REMEMBERED = 20_000
NOT_YOURS = "This upload isn't linked to your session; please upload it again."
NO_ADDRESSES = "The app does not download pictures from addresses; please upload the file."


@dataclass(frozen=True, slots=True)
class Visitor:
    """A browser by its cookie; a client without cookies by its address."""

    address: str
    cookie: str | None = None

    def is_same(self, other: Visitor) -> bool:
        """By cookie if both have one, since several people can share an address."""
        if self.cookie and other.cookie:
            return self.cookie == other.cookie
        return self.address == other.address


class Uploads:
    """Which visitor uploaded which file, for as long as the file is kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: TTLCache[str, tuple[Visitor, ...]] = TTLCache(
            UPLOADS_REMEMBERED, files.KEEP_SECONDS
        )

    def add(self, path: str, visitor: Visitor) -> None:
        """Equal files share a path, so it can have several owners; the last few are kept."""
        with self._lock:
            others = [o for o in self._owners.get(path, ()) if not o.is_same(visitor)]
            self._owners[path] = (*others[-7:], visitor)

    def check(self, payload: Any, visitor: Visitor) -> None:
        """Refuse a request that names a file its sender did not upload.

        Raises:
            InputError: it names a URL, or such a file.
        """
        for name in paths_in(payload):
            if name.lower().startswith(("http:", "https:", "ftp:")):
                raise InputError(NO_ADDRESSES)
            if not self._may_use(name, visitor):
                raise InputError(NOT_YOURS)

    def _may_use(self, name: str, visitor: Visitor) -> bool:
        with self._lock:
            owners = self._owners.get(name, ())
        if any(owner.is_same(visitor) for owner in owners):
            return True
        try:
            path, root = Path(name).resolve(), files.root().resolve()
            # Result paths contain 128 random bits: anybody who knows one was given it.
            return path.is_relative_to(root / "results") or _is_example(path, root)
        except (OSError, ValueError):  # too long, or a null byte
            return False


def is_cheap_to_check(payload: Any) -> bool:
    """Whether `Uploads.check` is fast: few and short file names."""
    names = list(paths_in(payload))
    return len(names) <= 4 and all(len(name) <= 512 for name in names)


def _is_example(path: Path, root: Path) -> bool:
    """Whether this is the page's own copy of a bundled example."""
    original = EXAMPLES / path.name
    return (
        path.is_relative_to(root)
        and path.is_file()
        and original.is_file()
        and filecmp.cmp(path, original, shallow=False)
    )


def paths_in(payload: Any) -> Iterator[str]:
    """Every non-empty `path` of an object anywhere in JSON, however deep."""
    for value in values_in(payload):
        path = value.get("path") if isinstance(value, dict) else None
        if isinstance(path, str) and path:
            yield path


def values_in(payload: Any) -> Iterator[Any]:
    """Every value anywhere in JSON, however deep, without recursion."""
    waiting = [payload]
    while waiting:
        value = waiting.pop()
        yield value
        if isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, (list, tuple)):
            waiting.extend(value)


class RateLimit:
    """A token bucket per address: `per_minute`, and the same number at once.

    Cookies are ignored: discarding them would make a new visitor.
    """

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute
        self._lock = threading.Lock()
        self._buckets: TTLCache[str, tuple[float, float]] = TTLCache(50_000, 120)

    def wait(self, address: str) -> float:
        """0 if the request may pass, else the seconds until the next one may."""
        if self.per_minute <= 0:
            return 0.0
        now = time.monotonic()
        with self._lock:
            tokens, then = self._buckets.get(address, (float(self.per_minute), now))
            tokens = min(self.per_minute, tokens + (now - then) * self.per_minute / 60)
            allowed = tokens >= 1
            self._buckets[address] = (tokens - 1 if allowed else tokens, now)
        return 0.0 if allowed else (1 - tokens) * 60 / self.per_minute
