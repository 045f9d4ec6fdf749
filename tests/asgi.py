"""One request straight into an ASGI app, without a network."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Answer:
    def __init__(self, messages: list[Any]) -> None:
        self.status = messages[0]["status"]
        self.headers = {k.decode(): v.decode() for k, v in messages[0]["headers"]}
        self.body = b"".join(m.get("body", b"") for m in messages[1:])

    @property
    def detail(self) -> Any:
        return json.loads(self.body)["detail"]


def scope_of(path: str, method: str = "POST", address: str = "10.0.0.1", **headers: str) -> Any:
    """Underscores in the names of headers stand for dashes."""
    return {
        "type": "http",
        "method": method,
        "path": path.partition("?")[0],
        "query_string": path.partition("?")[2].encode(),
        "scheme": "http",
        "server": ("127.0.0.1", 7860),
        "client": (address, 5),
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
        "state": {"peer": address},
    }


def ask(
    app: Any,
    path: str,
    body: bytes = b"",
    *,
    method: str = "POST",
    address: str = "10.0.0.1",
    said: str | None = None,
    **headers: str,
) -> Answer:
    """Send it in two parts; what came back."""
    sent: list[Any] = []
    waiting = [body[:7], body[7:]]
    fields = {"content-length": str(len(body)) if said is None else said, **headers}

    async def receive() -> Any:
        part = waiting.pop(0) if waiting else b""
        return {"type": "http.request", "body": part, "more_body": bool(waiting)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope_of(path, method, address, **fields), receive, send))
    return Answer(sent)
