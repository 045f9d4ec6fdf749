"""Send the browser the decoded picture if it would display the uploaded file differently.

The page requests an uploaded picture by the URL of its file. If the browser cannot display the
file, or would display something other than the models see, it gets the decoded picture instead. The
values on the page stay the same, and the file itself can still be fetched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import anyio
from cachetools import LRUCache, TTLCache
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from core.errors import BadImage, HubError
from core.imaging import previews
from demos.server import files
from demos.server.answer import API, Message, Send
from demos.shell.image import load_upload, upload_path

_FILE = f"{API}/file="
AT_ONCE = 2  # previews encoded in parallel; the rest wait without a thread
Preview = tuple[bytes, str]  # content and media type
_made: LRUCache[tuple[str, int], Preview] = LRUCache(32 * 2**20, lambda made: len(made[0]))
_refused: TTLCache[tuple[str, int], Preview] = TTLCache(256, 30.0)  # memory may become free
_lock = threading.Lock()
_log = logging.getLogger(__name__)


class Previews:
    """ASGI middleware, inside the guard."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._limiter: anyio.CapacityLimiter | None = None

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        """Serve one request."""
        path = _asked(scope)
        if path is None or not await run_in_threadpool(_needs_preview, path):
            await self.app(scope, receive, send)
            return
        allowed = False

        async def look(message: Message) -> None:
            nonlocal allowed
            if message["type"] == "http.response.start":
                allowed = message["status"] == 200
            if not allowed:
                await send(message)

        # Gradio decides whether this visitor may have the file.
        await self.app({**scope, "method": "HEAD"}, receive, look)
        if allowed:
            if self._limiter is None:  # belongs to the running loop
                self._limiter = anyio.CapacityLimiter(AT_ONCE)
            content, kind = await anyio.to_thread.run_sync(_shown, path, limiter=self._limiter)
            await Response(content, media_type=kind)(scope, receive, send)


def _asked(scope: Any) -> Path | None:
    """The upload that an <img> on the page requests; None for any other request."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    request = Request(scope)
    # Browsers send this for pictures; Sec-Fetch-Dest is missing without HTTPS.
    if not request.headers.get("accept", "").startswith("image/"):
        return None
    asked = scope["path"].removeprefix(scope.get("root_path", ""))
    if not asked.startswith(_FILE):
        return None
    try:
        path = upload_path(asked.removeprefix(_FILE))
    except BadImage:
        return None
    return None if files.is_result(str(path)) else path


def _needs_preview(path: Path) -> bool:
    try:
        return not previews.is_plain(path.read_bytes())
    except OSError:
        return False


def _shown(path: Path) -> Preview:
    """The preview of an upload, cached because repeated requests cost a visitor nothing."""
    key = (str(path), path.stat().st_mtime_ns if path.exists() else 0)
    with _lock:
        found = _made.get(key) or _refused.get(key)
    if found is not None:
        return found
    kept: MutableMapping[tuple[str, int], Preview] = _refused
    try:
        made, kept = previews.encode(load_upload(str(path))), _made
    except HubError as error:
        made = previews.sentence(str(error))
    except Exception:
        _log.exception("could not make a preview")
        made = previews.sentence("This picture cannot be shown.")
    with _lock:
        if len(made[0]) <= _made.maxsize:
            kept[key] = made
    return made
