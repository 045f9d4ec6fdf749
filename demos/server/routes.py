"""The routes that are open, and why; every other route of Gradio is closed.

A list of what is open, not of what is closed: a route that a new Gradio brings along stays shut
until somebody has looked at it. `tests/test_routes.py` lists all routes of this Gradio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

API = "/gradio_api"
UPLOAD, JOIN = f"{API}/upload", f"{API}/queue/join"
# Answers with the name of who is logged in, or null.
USER = f"{API}/user"


@dataclass(frozen=True, slots=True)
class Open:
    """An open route: its path as Gradio writes it, and whether a login is needed where there is
    one. `stream` routes answer for as long as the client stays."""

    method: str
    path: str
    why: str
    login: bool = True
    stream: bool = False
    ours: bool = False


OPEN = (
    Open("GET", "/", "the page, or the form of the login", login=False),
    Open("HEAD", "/", "Gradio asks itself at the start; so do monitors", login=False),
    Open("POST", "/login", "the form of the login", login=False),
    Open("GET", "/logout", "ends a login; nothing in it for others", login=False),
    Open("GET", "/healthz", "whether the hub runs", login=False, ours=True),
    Open("GET", "/status", "the meter, only there without a login", login=False, ours=True),
    Open("GET", "/assets/{path:path}", "scripts and styles of the page", login=False),
    Open("GET", "/svelte/{path:path}", "scripts of the page", login=False),
    Open("GET", "/static/{path:path}", "icons and fonts of the page", login=False),
    Open("GET", "/theme.css", "colours of the page", login=False),
    Open("GET", f"{API}/theme.css", "the same", login=False),
    Open("GET", "/favicon.ico", "asked for by browsers", login=False),
    Open("GET", "/manifest.json", "asked for by the page", login=False),
    Open("GET", "/robots.txt", "asked for by crawlers", login=False),
    Open("GET", f"{API}/startup-events", "Gradio asks itself; does nothing later", login=False),
    Open("GET", "/config", "clients learn the page's events"),
    Open("GET", f"{API}/info", "clients learn the endpoints"),
    Open("GET", f"{API}/app_id", "the page looks whether the hub was started again"),
    Open("HEAD", f"{API}/file={{path_or_url:path}}", "clients look how large a result is"),
    Open("GET", f"{API}/file={{path_or_url:path}}", "pictures and results"),
    Open("POST", UPLOAD, "uploads"),
    Open("GET", f"{API}/upload_progress", "the bar of an upload", stream=True),
    Open("POST", JOIN, "every event of the page"),
    Open("GET", f"{API}/queue/data", "answers to these", stream=True),
    Open("GET", f"{API}/heartbeat/{{session_hash}}", "a session ends with it", stream=True),
    Open("POST", f"{API}/cancel", "the Cancel buttons"),
    Open("POST", f"{API}/reset", "sent by older clients; does nothing"),
    Open("POST", f"{API}/run/{{api_name}}", "events that do not queue"),
    Open("POST", f"{API}/api/{{api_name}}", "the same, for older clients"),
    Open("POST", f"{API}/call/{{api_name}}", "endpoints by curl"),
    Open("GET", f"{API}/call/{{api_name}}/{{event_id}}", "answers to these", stream=True),
    Open("POST", f"{API}/call/v2/{{api_name}}", "endpoints by curl, values by name"),
    Open("GET", f"{API}/call/v2/{{api_name}}/{{event_id}}", "answers to these", stream=True),
)


def path_of(request: Request) -> str:
    """The path of a request below where the hub is mounted, without a slash at its end."""
    return request.url.path.removeprefix(request.scope.get("root_path", "")).rstrip("/")


def _nothing(_: Request) -> Response:
    raise NotImplementedError  # these routes match and never answer


_ROUTES = tuple((one, Route(one.path, _nothing, methods=[one.method])) for one in OPEN)


def find(method: str, path: str) -> Open | None:
    """The open route of a request; None where it is closed. `path` has no slash at its end."""
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path or "/"}
    for one, route in _ROUTES:
        # Starlette's GET routes take HEAD as well, which Gradio's do not.
        if one.method == method and route.matches(scope)[0] is Match.FULL:
            return one
    return None
