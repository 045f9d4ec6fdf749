"""A name and a password in a request's header (HTTP Basic), for clients without a login form."""

from __future__ import annotations

import base64
import binascii
import hashlib

import httpx2
from cachetools import LRUCache
from starlette.requests import Request

from demos.server.asgi import App, Receive, Scope, Send
from demos.server.routes import MCP, path_of


class Basic:
    """ASGI middleware that logs in MCP clients by their header: it sends the name and the password
    to Gradio's /login, through the guard and from the client's address, so tries are limited, and
    gives the request the cookies that come back. It decides nothing itself."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._cookies: LRUCache[bytes, str] = LRUCache(64)  # by a digest of the header

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and path_of(Request(scope)) == MCP:
            cookies = await self._log_in(Request(scope))
            if cookies:
                scope["headers"] = [*scope["headers"], (b"cookie", cookies.encode())]
        await self.app(scope, receive, send)

    async def _log_in(self, request: Request) -> str:
        given = request.headers.get("authorization", "")
        pair = _name_and_password(given)
        if pair is None:
            return ""
        key = hashlib.sha256(given.encode()).digest()
        if key not in self._cookies:
            address = request.client.host if request.client else "unknown"
            transport = httpx2.ASGITransport(self.app, client=(address, 0))
            async with httpx2.AsyncClient(
                transport=transport, base_url=str(request.base_url)
            ) as client:
                answer = await client.post(
                    "/login", data={"username": pair[0], "password": pair[1]}
                )
            if answer.status_code != 200:
                return ""
            self._cookies[key] = "; ".join(f"{k}={v}" for k, v in answer.cookies.items())
        return self._cookies[key]


def _name_and_password(header: str) -> tuple[str, str] | None:
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(rest, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    return (name, password) if colon else None
