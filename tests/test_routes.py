"""Which routes of this Gradio are open. A new one fails here until somebody has looked at it."""

from __future__ import annotations

import re

import pytest
from gradio.routes import App

from demos import _page
from demos.server import routes

CLOSED = {
    "/gradio_api/component_server": "functions of components on the server; none has any",
    "/gradio_api/custom_component/{id}/{environment}/{type}/{file_name}": "none of ours needs it",
    "/gradio_api/deep_link": "writes a session's values to the disk for a link",
    "/gradio_api/dev/reload": "for a server that watches its source",
    "/gradio_api/file/{path}": "an older form of file=",
    "/gradio_api/login_check": "the guard asks by itself",
    "/gradio_api/openapi.json": "/gradio_api/info says the same",
    "/gradio_api/process_recording": "a video converter",
    "/gradio_api/proxy={url_path}": "fetches from other servers",
    "/gradio_api/queue/status": "nothing asks it",
    "/gradio_api/run-history/buckets": "the history is off",
    "/gradio_api/run-history/connect": "the history is off",
    "/gradio_api/run-history/records": "the history is off",
    "/gradio_api/run-history/records/{endpoint}/{record_id}/assets/{asset_id}": "the same",
    "/gradio_api/runs": "the history is off",
    "/gradio_api/stream/{event_id}": "for audio and video that is sent on and on",
    "/gradio_api/stream/{event_id}/close": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist-file": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/playlist.m3u8": "the same",
    "/gradio_api/stream/{session_hash}/{run}/{component_id}/{segment_id}.{ext}": "the same",
    "/gradio_api/token": "gives the login's token away",
    "/gradio_api/undo-vibe-edit": "an editor of the source",
    "/gradio_api/user": "the guard asks by itself",
    "/gradio_api/vibe-code": "an editor of the source",
    "/gradio_api/vibe-edit": "an editor of the source",
    "/gradio_api/vibe-starter-queries": "an editor of the source",
    "/monitoring": "figures for whoever asks",
    "/monitoring/summary": "the same",
    "/monitoring/{key}": "the same",
    "/pwa_icon": "the page has no icon of its own",
    "/pwa_icon/{size}": "the same",
}


@pytest.fixture(scope="module")
def of_gradio():
    """(method, path) of every route, without slashes at the end."""
    schema = App.create_app(_page.build()).openapi()
    return {
        (method.upper(), path.rstrip("/") or "/")
        for path, methods in schema["paths"].items()
        for method in methods
    }


def plain(path):
    return re.sub(r"\{(\w+):path\}", r"{\1}", path)


def test_every_route_of_gradio_has_been_looked_at(of_gradio):
    opened = {(one.method, plain(one.path)) for one in routes.OPEN if not one.ours}
    assert opened <= of_gradio, "Gradio no longer has these"
    assert {path for _, path in of_gradio - opened} == set(CLOSED)
    assert ("GET", routes.USER) in of_gradio  # how the guard learns who is logged in


def test_every_open_route_says_why():
    assert all(one.why for one in routes.OPEN)
    assert len({(one.method, one.path) for one in routes.OPEN}) == len(routes.OPEN)


@pytest.mark.parametrize("path", sorted(CLOSED))
def test_closed_routes_match_no_open_one(path):
    filled = re.sub(r"\{\w+\}", "x", path)
    for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert routes.find(method, filled) is None


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "", "/"),
        ("GET", "/assets/a/b.js", "/assets/{path:path}"),
        ("GET", "/gradio_api/file=/tmp/a b/ü.png", "/gradio_api/file={path_or_url:path}"),
        ("POST", "/gradio_api/call/classify", "/gradio_api/call/{api_name}"),
        ("GET", "/gradio_api/call/classify/ab12", "/gradio_api/call/{api_name}/{event_id}"),
        ("POST", "/gradio_api/call/v2/classify", "/gradio_api/call/v2/{api_name}"),
        ("GET", "/gradio_api/upload", None),
        ("POST", "/", None),
        ("GET", "/gradio_api/", None),
        ("GET", "/gradio_api/brand-new", None),
        ("GET", "/gradio_api/mcp/sse", None),
    ],
)
def test_what_is_open(method, path, found):
    one = routes.find(method, path)
    assert (one.path if one else None) == found
