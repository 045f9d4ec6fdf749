"""Shows in the browser what was decoded on the server, where the browser would show something else.

The page asks for an uploaded picture by the address of its file. Where the browser cannot show that
file, or would show it otherwise than the models see it, it gets what was decoded, so that no value
on the page changes and the file itself can still be fetched.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from core import previews
from core.errors import BadImage, HubError
from demos import _files
from demos._answer import API, Message, Send
from demos._image import load_upload, upload_path

_FILE = f"{API}/file="
_log = logging.getLogger(__name__)


class Previews:
    """ASGI middleware, inside the guard."""

    def __init__(self, app: Any) -> None:
        self.app = app

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

        # Gradio says whether this visitor may have the file.
        await self.app({**scope, "method": "HEAD"}, receive, look)
        if allowed:
            content, kind = await run_in_threadpool(_shown, path)
            await Response(content, media_type=kind)(scope, receive, send)


def _asked(scope: Any) -> Path | None:
    """The upload that an <img> of the page asks for; None for every other request."""
    if scope["type"] != "http" or scope["method"] != "GET":
        return None
    request = Request(scope)
    # What pictures are asked with; Sec-Fetch-Dest is missing where the page has no certificate.
    if not request.headers.get("accept", "").startswith("image/"):
        return None
    asked = scope["path"].removeprefix(scope.get("root_path", ""))
    if not asked.startswith(_FILE):
        return None
    try:
        path = upload_path(asked.removeprefix(_FILE))
    except BadImage:
        return None
    return None if _files.is_result(str(path)) else path


def _needs_preview(path: Path) -> bool:
    try:
        return not previews.is_plain(path.read_bytes())
    except OSError:
        return False


def _shown(path: Path) -> tuple[bytes, str]:
    try:
        return previews.encode(load_upload(str(path)))
    except HubError as error:
        return previews.sentence(str(error))
    except Exception:
        _log.exception("no preview")
        return previews.sentence("This picture cannot be shown.")
