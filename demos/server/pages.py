"""Keep what Gradio makes anew for each visitor: the page, and what clients learn about it.

All three contain the settings of every component or endpoint. Gradio copies and prints them for
each request, 0.4 s of CPU time with 570 components, while others wait; but only the app's own
address in them differs, and the name of the user where there is a login.
"""

from __future__ import annotations

import gzip
from collections.abc import Hashable
from dataclasses import dataclass

import anyio
from cachetools import LRUCache
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from demos.server.asgi import App, Message, Receive, Scope, Send
from demos.server.routes import API, path_of

ADDRESSES = 8  # under which the app can be reached at once
_PAGE = ""
_KEPT = (_PAGE, "/config", f"{API}/info")
_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto")
_OTHER_PAGES = ("page", "deep_link")
# Replace Gradio's own texts in link previews; and keep the page in English.
_CARD = (
    (b'content="Gradio"', b'content="Vision Hub"'),
    (
        b'content="Click to try out the app!"',
        b'content="Try vision models on your own pictures, and see how they work."',
    ),
    (
        b'content="https://raw.githubusercontent.com/gradio-app/gradio/main/js/_website/src/lib/'
        b'assets/img/header-image.jpg"',
        b'content=""',
    ),
    (b'<meta property="og:url" content="{url}" />', b""),
    (b'<meta property="og:url" content="https://gradio.app/" />', b""),
    (b'content="@Gradio"', b'content=""'),
    (b'content="@teamGradio"', b'content=""'),
)
_ENGLISH = b"""<script>
  Object.defineProperty(navigator, "language", { get: () => "en" });
  Object.defineProperty(navigator, "languages", { get: () => ["en"] });
</script>"""
# Gradio writes the request's address into the page. Behind a proxy that changes the Host, browsers
# cannot reach that address, and nothing on the page would work.
_OWN_ADDRESS = b"""<script>{
  const own = location.origin + location.pathname.replace(/[/]$/, "");
  const config = window.gradio_config;
  if (config && config.root !== own)
    for (const name of ["gradio_config", "gradio_api_info"])
      window[name] = JSON.parse(JSON.stringify(window[name] ?? null).replaceAll(config.root, own));
}</script>"""


@dataclass(frozen=True, slots=True)
class Made:
    """A response that has been made, as it is and compressed."""

    status: int
    kind: bytes  # content type
    content: bytes
    packed: bytes


class Pages:
    """The middleware next to Gradio. With a `login`, nothing is kept."""

    def __init__(self, app: App, login: bool = False) -> None:
        self.app = app
        self.login = login
        self._made: LRUCache[Hashable, Made] = LRUCache(ADDRESSES * len(_KEPT))
        self._making = anyio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope) if scope["type"] == "http" else None
        path = path_of(request) if request is not None else None
        if request is None or request.method != "GET" or path not in _KEPT:
            await self.app(scope, receive, send)
            return
        asks = request.query_params
        odd = any(name in asks for name in _OTHER_PAGES) if path == _PAGE else bool(asks)
        if self.login or odd:
            made = await self._make(request, receive)
        else:
            server = (scope.get("scheme"), scope.get("server"), scope.get("root_path"))
            key = (path, server, *(request.headers.get(name) for name in _ADDRESS))
            made = self._made.get(key) or await self._once(key, request, receive)
        await _answer(made, "gzip" in request.headers.get("accept-encoding", ""), send)

    async def _once(self, key: Hashable, request: Request, receive: Receive) -> Made:
        async with self._making:  # the first visitors often come together
            made = self._made.get(key)
            if made is None:
                made = await self._make(request, receive)
                if made.status == 200:
                    self._made[key] = made
            return made

    async def _make(self, request: Request, receive: Receive) -> Made:
        start: Message = {}
        parts: list[bytes] = []

        async def take(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            else:
                parts.append(message.get("body", b""))

        await self.app(request.scope, receive, take)
        content = b"".join(parts)
        if path_of(request) == _PAGE and start["status"] == 200:
            for theirs, ours in _CARD:
                content = content.replace(theirs, ours)
            content = content.replace(b"</head>", _ENGLISH + _OWN_ADDRESS + b"</head>", 1)
        kind = dict(start["headers"]).get(b"content-type", b"text/html")
        packed = await run_in_threadpool(gzip.compress, content, 6, mtime=0)
        return Made(start["status"], kind, content, packed)


async def _answer(made: Made, packed: bool, send: Send) -> None:
    content = made.packed if packed else made.content
    headers = [
        (b"content-type", made.kind),
        (b"content-length", str(len(content)).encode()),
        (b"vary", b"accept-encoding"),
        *([(b"content-encoding", b"gzip")] if packed else []),
    ]
    await send({"type": "http.response.start", "status": made.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
