"""The outermost ASGI layer, around Gradio's own: security headers, other sites' pages, and
responses sent before the body has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from demos.server import origin
from demos.server.answer import HEADERS
from demos.server.asgi import App, Message, Receive, Scope, Send
from demos.server.bodies import Incoming
from demos.server.routes import path_of

_ALLOWED, _CREDENTIALS = b"access-control-allow-origin", b"access-control-allow-credentials"
_ASK = '<!doctype html><title>Log out</title><a href="logout">Log out of Vision Hub</a>'


class Gate:
    """With a `login`, other sites' pages can neither send nor read anything, and only links to the
    page itself work from there. Without one, they are treated as strangers without cookies."""

    def __init__(self, app: App, login: bool) -> None:
        self.app = app
        self.login = login

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":  # Gradio uses none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        origin.forget_claims(scope)
        request = Request(scope)
        incoming = Incoming(request, receive)
        way_out = _WayOut(send, incoming, shared=not self.login)
        foreign = origin.is_foreign(request)
        if self.login and foreign and not origin.is_visit(request):
            response: HTMLResponse | JSONResponse = JSONResponse({"detail": origin.FOREIGN}, 403)
            await response(scope, incoming.receive, way_out.send)
        elif path_of(request) == "/logout" and not _is_meant(request):
            await HTMLResponse(_ASK)(scope, incoming.receive, way_out.send)
        else:
            if not foreign:
                origin.take_address(scope)
            await self.app(scope, incoming.receive, way_out.send)
        await way_out.end()


def _is_meant(request: Request) -> bool:
    """Whether the request certainly does not follow a link on another site.

    Browsers report this only over HTTPS and on localhost; elsewhere a link on our own page counts.
    """
    if "sec-fetch-site" in request.headers:
        return True
    return origin.is_own(request.headers.get("referer", ""), request)


class _WayOut:
    """A response on its way out: other sites cannot read what a cookie opens, and a client answered
    before the end of its body can still read the response."""

    def __init__(self, send: Send, incoming: Incoming, shared: bool) -> None:
        self._send, self._incoming, self._shared = send, incoming, shared
        self._open = False  # started but not ended

    async def send(self, message: Message) -> None:
        """Pass one part on."""
        if message["type"] == "http.response.start":
            self._open = True
            message["headers"] = self._headers(message)
        elif message["type"] == "http.response.body" and not message.get("more_body"):
            self._open = False
            if not (self._incoming.complete or self._incoming.gone):
                await self._send({**message, "more_body": True})
                await self._incoming.drain()
                message = {"type": "http.response.body"}
        await self._send(message)

    async def end(self) -> None:
        """End a response that the app left open because it assumed the client was gone."""
        if self._open:
            await self.send({"type": "http.response.body"})

    def _headers(self, message: Message) -> list[tuple[bytes, bytes]]:
        headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        for name, value in message.get("headers", ()):
            if name.lower() == _ALLOWED and self._shared:
                headers.append((_ALLOWED, b"*"))  # Gradio echoes any origin
            elif name.lower() not in (_ALLOWED, _CREDENTIALS):
                headers.append((name, value))
        if not self._incoming.complete:  # the rest of the body is not a new request
            headers.append((b"connection", b"close"))
        return headers


def around(login: bool) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    """A lifespan that puts a gate around all of an app's middleware, including Gradio's CORS.

    Gradio adds that around whatever `app_kwargs` contains.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        inner = app.middleware_stack
        assert inner is not None, "the lifespan itself has passed through it"
        app.middleware_stack = Gate(inner, login)
        yield

    return lifespan
