"""Logins, as far as Gradio exposes them: its routes, and the names of its cookies."""

from __future__ import annotations

from starlette.requests import Request

from demos.server import routes
from demos.server.asgi import App, Message, Scope

_COOKIES = ("access-token-unsecure-", "access-token-")  # without and with HTTPS


async def is_known(app: App, request: Request) -> bool:
    """Whether Gradio, reached through `app`, knows who sends this. Does not read the body."""
    cookies = [one for one in request.scope["headers"] if one[0] == b"cookie"]
    if not cookies:
        return False
    path = routes.USER
    scope: Scope = {
        **request.scope,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": cookies,
    }
    status, said = 0, b""

    async def receive() -> Message:
        return {"type": "http.request"}

    async def hear(message: Message) -> None:
        nonlocal status, said
        status = message.get("status", status)
        said += message.get("body", b"")

    await app(scope, receive, hear)
    return status == 200 and said.strip() not in (b"", b"null")


def log_out_alone(scope: Scope) -> None:
    """Rewrite a request to /logout so that it ends only this login, not others of the account.

    By default Gradio ends all of them, and otherwise looks only in the HTTPS cookie.
    """
    scope["query_string"] = b"all_session=false"
    extra = [
        (b"cookie", _COOKIES[1].encode() + one.removeprefix(_COOKIES[0]).encode())
        for name, value in scope["headers"]
        if name == b"cookie"
        for one in map(str.strip, value.decode("latin-1").split(";"))
        if one.startswith(_COOKIES[0])
    ]
    cookies = b"; ".join(value for name, value in [*scope["headers"], *extra] if name == b"cookie")
    scope["headers"] = [
        *(one for one in scope["headers"] if one[0] != b"cookie"),
        (b"cookie", cookies),
    ]
