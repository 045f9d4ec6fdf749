"""Tools for language models: the endpoints of the page over the Model Context Protocol (MCP).

The protocol is the `mcp` package's. A call of a tool becomes a call of the endpoint by HTTP, within
this process and with the address and cookies of the client, so limits, logins and the ownership of
files hold as for anybody else. Gradio's own MCP server makes all calls from 127.0.0.1.
"""

from __future__ import annotations

import base64
import json
import mimetypes
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from demos.server import files
from demos.server.asgi import App, Receive, Scope, Send
from demos.server.routes import API, MCP, path_of

if TYPE_CHECKING:
    from mcp import types
    from mcp.server.lowlevel import Server

MISSING = "VISION_HUB_MCP needs the package mcp; please run pip install -r requirements-mcp.txt."
ONLY_POST = "This address is for MCP clients, which send POST requests; see docs/api.md."
FAILED = "The tool failed; please try again."
_PASSED_ON = ("cookie", "host", "x-forwarded-proto", "x-forwarded-host")
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Tool:
    """An endpoint as a tool: `schema` is the JSON schema of its arguments, `pictures` names those
    that are pictures."""

    name: str
    about: str
    schema: dict[str, Any]
    pictures: tuple[str, ...] = ()


class Failed(Exception):
    """A call failed; the text is the sentence for the client."""


class Mcp:
    """The tools of one page: ASGI middleware, and what has to run while the app does.

    Raises:
        ImportError: the package mcp is missing.
    """

    def __init__(self, tools: Sequence[Tool], max_bytes: int) -> None:
        from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

        # Without sessions: nothing to keep or to limit, and a restart goes unnoticed.
        self._manager = StreamableHTTPSessionManager(
            _server({tool.name: tool for tool in tools}),
            stateless=True,
            max_request_body_size=max_bytes,
        )

    def around(self, lifespan: Lifespan) -> Lifespan:
        """A lifespan that also runs the protocol."""

        @asynccontextmanager
        async def both(app: Starlette) -> AsyncIterator[None]:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(self._manager.run())
                await stack.enter_async_context(lifespan(app))
                yield

        return both

    def middleware(self, app: App) -> App:
        """Answer the requests to `MCP`; `app` gets the others."""

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or path_of(Request(scope)) != MCP:
                await app(scope, receive, send)
            elif scope["method"] == "POST":
                await self._manager.handle_request(scope, receive, send)  # type: ignore[arg-type]
            else:
                refusal = JSONResponse({"detail": ONLY_POST}, 405, {"allow": "POST"})
                await refusal(scope, receive, send)

        return serve


def _server(tools: dict[str, Tool]) -> Server[Any, Any]:
    from mcp import types
    from mcp.server.lowlevel import Server

    server: Server[Any, Any] = Server("vision-hub")

    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def _list() -> list[types.Tool]:
        harmless = types.ToolAnnotations(readOnlyHint=True, openWorldHint=False)
        return [
            types.Tool(
                name=tool.name,
                description=tool.about,
                inputSchema=tool.schema,
                annotations=harmless,
            )
            for tool in tools.values()
        ]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def _call(name: str, arguments: dict[str, Any]) -> list[types.ContentBlock]:
        if name not in tools:
            raise Failed(f"There is no tool {name!r}.")
        request: Request = server.request_context.request  # type: ignore[assignment]
        outputs = await call(request, tools[name], arguments)
        return [part for output in outputs for part in _content(output)]

    return server


async def call(request: Request, tool: Tool, arguments: dict[str, Any]) -> list[Any]:
    """The outputs of an endpoint, called on behalf of the sender of `request`.

    Raises:
        Failed: with the endpoint's sentence.
    """
    values = {
        key: _file(value) if key in tool.pictures and isinstance(value, str) else value
        for key, value in arguments.items()
    }
    address = request.client.host if request.client else "unknown"
    transport = httpx2.ASGITransport(request.scope["app"], client=(address, 0))
    headers = {key: request.headers[key] for key in _PASSED_ON if key in request.headers}
    async with httpx2.AsyncClient(
        transport=transport, base_url=str(request.base_url), headers=headers, timeout=None
    ) as client:
        begun = await client.post(f"{API}/call/v2/{tool.name}", json=values)
        if begun.status_code != 200:
            raise Failed(_sentence(begun))
        answer = await client.get(f"{API}/call/v2/{tool.name}/{begun.json()['event_id']}")
    return _outputs(answer.text)


def _file(value: str) -> dict[str, Any]:
    """A picture as the endpoints take it."""
    name = "url" if value.lstrip()[:5].lower() == "data:" else "path"
    return {name: value, "meta": {"_type": "gradio.FileData"}}


def _sentence(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, LookupError, TypeError):
        return FAILED


def _outputs(events: str) -> list[Any]:
    """The outputs in a finished stream of server-sent events."""
    kind = ""
    for line in events.splitlines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data" and kind == "complete":
            return list(json.loads(value))
        elif name == "data" and kind == "error":
            said = json.loads(value)
            raise Failed(str(said["error"]) if isinstance(said, dict) and said["error"] else FAILED)
    raise Failed(FAILED)


def _content(output: Any) -> list[types.ContentBlock]:
    """An output as MCP gives it to a model: JSON, after the picture if it is one. Other tools take
    the path in it."""
    from mcp import types

    path = str(output["path"]) if isinstance(output, dict) and "path" in output else ""
    if not files.is_result(path):
        return [types.TextContent(type="text", text=json.dumps(output, ensure_ascii=False))]
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    content = base64.b64encode(Path(path).read_bytes()).decode()
    return [
        types.ImageContent(type="image", data=content, mimeType=kind),
        types.TextContent(type="text", text=json.dumps({"path": path})),
    ]
