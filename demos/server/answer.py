"""Responses on their way through the guard: plain sentences, cookies, upload ownership."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable

from starlette.requests import Request

from core.images import MAX_BYTES
from demos.server.asgi import Message, Refused, Send
from demos.server.routes import API, UPLOAD

UNFIT = "These values don't match this endpoint; see /gradio_api/info."
TOO_LARGE = f"The file is larger than {MAX_BYTES // 2**20} MB; please shrink it."
BUSY = "The app is full: too many requests are waiting. Please try again in a minute."
COOKIE = "vision_hub_visitor"
DIRECT = (f"{API}/run/", f"{API}/api/")
JOBS = (f"{API}/queue/join", f"{API}/call/", *DIRECT)
_SHARE = "https://gradio.s3-us-west-2.amazonaws.com"  # script source of share links
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "content-security-policy": (
        # Gradio's page needs inline and evaluated scripts, so only their source can be restricted.
        # A visitor's browser may fetch a picture from any site that allows it, to upload it.
        f"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: {_SHARE}; "
        f"style-src 'self' 'unsafe-inline' {_SHARE}; img-src 'self' data: blob:; "
        f"font-src 'self' data: {_SHARE}; connect-src 'self' data: blob: https:; "
        "media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    ),
}
# Replacements for Gradio's own messages, by status.
_OF_JOBS = {503: BUSY, 422: UNFIT}
_OF_UPLOADS = {413: TOO_LARGE}


class Answer:
    """A response on its way out: inserts sentences, records uploaded paths.

    `own` is set before one of the guard's own responses, which passes unchanged.
    """

    def __init__(self, request: Request, send: Send, new_cookie: bool) -> None:
        self.started = False
        self.own = False
        # Why the body was refused: apps catch it and send their own responses, which are dropped.
        self.refused: Callable[[], Refused | None] = lambda: None
        self.uploaded: Callable[[str], None] | None = None
        self._send = send
        self._body = b""
        self._start: Message = {}
        path = request.url.path
        self._page = request.method == "GET" and request.headers.get("accept", "").startswith(
            "text/html"
        )
        self._private = path.startswith(f"{API}/file")
        self._cookie = new_cookie and self._page
        self._secure = request.url.scheme == "https"
        self._direct = path.startswith(DIRECT)
        self._sentences = _OF_JOBS if path.startswith((*JOBS, f"{API}/cancel")) else {}
        if path.startswith(UPLOAD):
            self._sentences = _OF_UPLOADS

    async def send(self, message: Message) -> None:
        """Pass on one part of the response."""
        if self.own:
            await self._pass_on(message)
        elif self.refused():
            return
        elif message["type"] == "http.response.start":
            self._start = message
            if not self._is_held():
                await self._pass_on(message)
        elif self._is_held():
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                await self._say()
        else:
            await self._pass_on(message)

    def _is_held(self) -> bool:
        """Whether the response is buffered to be inspected as a whole."""
        status = self._start.get("status")
        return status in self._sentences or (self._direct and status == 500)

    async def _say(self) -> None:
        """The buffered response, with our sentence if there is one."""
        status, content = self._start["status"], self._body
        sentence = self._sentences.get(status)
        if sentence is None and _error_of(content) == UNFIT:  # Gradio reports it as its own error
            status, sentence = 400, UNFIT
        if sentence:
            content = json.dumps({"detail": sentence, "error": sentence}).encode()
            length = (b"content-length", str(len(content)).encode())
            headers = [(b"content-type", b"application/json"), length]
            self._start = {**self._start, "status": status, "headers": headers}
        await self._pass_on(self._start)
        await self._pass_on({"type": "http.response.body", "body": content})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._start = message
            message["headers"] = [*message.get("headers", ()), *self._headers()]
        elif self.uploaded and self._start.get("status") == 200:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                for path in json.loads(self._body):
                    self.uploaded(path)
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        found = {}
        if self._private:
            found["cache-control"] = "private"
        if self._cookie:
            secure = "; Secure" if self._secure else ""
            found["set-cookie"] = (
                f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Lax{secure}"
            )
        return [(name.encode(), value.encode()) for name, value in found.items()]


def _error_of(content: bytes) -> object:
    try:
        answer = json.loads(content)
    except ValueError:
        return None
    return answer.get("error") if isinstance(answer, dict) else None
