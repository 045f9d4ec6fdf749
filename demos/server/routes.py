"""The open routes, and why they are open; every other route of Gradio is closed.

An allow-list: a route added by a new version of Gradio stays closed until somebody has reviewed it.
`tests/test_routes.py` lists all routes of the pinned version.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

API = "/gradio_api"
UPLOAD, JOIN = f"{API}/upload", f"{API}/queue/join"
MCP = f"{API}/mcp"
# Responds with the name of the logged-in user, or null.
USER = f"{API}/user"


@dataclass(frozen=True, slots=True)
class Open:
    """An open route: its path as Gradio writes it, and whether it needs the login, if there is one.
    `stream` routes respond for as long as the client stays."""

    method: str
    path: str
    why: str
    login: bool = True
    stream: bool = False
    ours: bool = False


OPEN = (
    Open("GET", "/", "the page, or the login form", login=False),
    Open("HEAD", "/", "Gradio calls it at startup; so do monitors", login=False),
    Open("POST", "/login", "the login form", login=False),
    Open("GET", "/logout", "ends a login; harmless for others", login=False),
    Open("GET", "/healthz", "whether the app runs", login=False, ours=True),
    Open("GET", "/status", "the meter, only without a login", login=False, ours=True),
    Open("GET", "/assets/{path:path}", "scripts and styles of the page", login=False),
    Open("GET", "/svelte/{path:path}", "scripts of the page", login=False),
    Open("GET", "/static/{path:path}", "icons and fonts of the page", login=False),
    Open("GET", "/theme.css", "colours of the page", login=False),
    Open("GET", f"{API}/theme.css", "the same", login=False),
    Open("GET", "/favicon.ico", "requested by browsers", login=False),
    Open("GET", "/manifest.json", "requested by the page", login=False),
    Open("GET", "/robots.txt", "requested by crawlers", login=False),
    Open("GET", f"{API}/startup-events", "Gradio calls it at startup only", login=False),
    Open("GET", "/config", "clients learn the page's events"),
    Open("GET", f"{API}/info", "clients learn the endpoints"),
    Open("GET", f"{API}/app_id", "the page checks whether the app was restarted"),
    Open("HEAD", f"{API}/file={{path_or_url:path}}", "clients check the size of a result"),
    Open("GET", f"{API}/file={{path_or_url:path}}", "pictures and results"),
    Open("POST", UPLOAD, "uploads"),
    Open("GET", f"{API}/upload_progress", "progress of an upload", stream=True),
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
    Open("POST", MCP, "tools for language models, only with VISION_HUB_MCP", ours=True),
    Open("GET", MCP, "says that these send POST requests", ours=True),
)


def path_of(request: Request) -> str:
    """The request's path relative to where the app is mounted, without a trailing slash."""
    return request.url.path.removeprefix(request.scope.get("root_path", "")).rstrip("/")


def _nothing(_: Request) -> Response:
    raise NotImplementedError  # these routes match and never answer


_ROUTES = tuple((one, Route(one.path, _nothing, methods=[one.method])) for one in OPEN)


def find(method: str, path: str) -> Open | None:
    """The open route of a request; None if it is closed. `path` has no trailing slash."""
    scope: dict[str, Any] = {"type": "http", "method": method, "path": path or "/"}
    for one, route in _ROUTES:
        # Starlette's GET routes also accept HEAD; Gradio's do not.
        if one.method == method and route.matches(scope)[0] is Match.FULL:
            return one
    return None
