"""What goes back through the guard: security headers, plain sentences, who uploaded what."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.requests import Request

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

UNFIT = "The values do not fit this endpoint; /gradio_api/info lists its parameters."
BUSY = "The hub is full now: too many requests are waiting. Please try again in a minute."
COOKIE = "vision_hub_visitor"
API = "/gradio_api"
JOBS = (f"{API}/queue/join", f"{API}/call/", f"{API}/run/", f"{API}/api/")
_SHARE = "https://gradio.s3-us-west-2.amazonaws.com"  # where pages of a share link take the script
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=()",
    "content-security-policy": (
        # Gradio's page needs inline and evaluated scripts; where from is what can be told.
        f"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: {_SHARE}; "
        f"style-src 'self' 'unsafe-inline' {_SHARE}; img-src 'self' data: blob:; "
        f"font-src 'self' data: {_SHARE}; connect-src 'self' data: blob: {_SHARE}; "
        "media-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; "
        "base-uri 'self'; form-action 'self'; "
        "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
    ),
}
# Of jobs: what to say instead of Gradio's own words.
_SENTENCES = {503: BUSY, 422: UNFIT}


class Answer:
    """The answer on its way out: headers are added, the paths of uploads are noted."""

    def __init__(self, request: Request, send: Send, new_cookie: bool) -> None:
        self.started = False
        self.uploaded: Callable[[str], None] | None = None
        self._send = send
        self._body = b""
        self._status = 0
        self._page = request.method == "GET" and request.headers.get("accept", "").startswith(
            "text/html"
        )
        self._private = request.url.path.startswith(f"{API}/file")
        self._cookie = new_cookie and self._page
        self._secure = request.url.scheme == "https"
        self._job = request.url.path.startswith((*JOBS, f"{API}/cancel"))

    async def send(self, message: Message) -> None:
        """Pass one part of the answer on."""
        sentence = _SENTENCES.get(message.get("status", self._status)) if self._job else None
        if sentence:
            message = self._instead(message, sentence)
        if message["type"] == "http.response.start":
            self.started = True
            self._status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers()]
        elif self.uploaded and self._status == 200:
            self._body += message.get("body", b"")
            if not message.get("more_body"):
                self._note(self.uploaded)
        await self._send(message)

    def _instead(self, message: Message, sentence: str) -> Message:
        """A sentence instead of Gradio's answer."""
        content = json.dumps({"detail": sentence}).encode()
        if message["type"] != "http.response.start":
            return {"type": "http.response.body", "body": content}
        length = (b"content-length", str(len(content)).encode())
        return {**message, "headers": [(b"content-type", b"application/json"), length]}

    def _headers(self) -> list[tuple[bytes, bytes]]:
        found = dict(HEADERS)
        if self._private:
            found["cache-control"] = "private"
        if self._cookie:
            secure = "; Secure" if self._secure else ""
            found["set-cookie"] = (
                f"{COOKIE}={secrets.token_urlsafe(24)}; Path=/; HttpOnly; SameSite=Lax{secure}"
            )
        return [(name.encode(), value.encode()) for name, value in found.items()]

    def _note(self, uploaded: Callable[[str], None]) -> None:
        paths = json.loads(self._body)
        for path in paths:
            uploaded(path)
