"""Decide whether a request comes from the app's own page, also behind a proxy."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

from starlette.requests import Request
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from demos.server.http import PEER
from demos.server.routes import path_of

FOREIGN = (
    "This app takes no requests from the pages of other sites. If it is behind a proxy, the "
    "proxy must pass on the Host that the browser sent."
)
_BY_PROXIES = (b"x-forwarded-host", b"x-forwarded-proto")
_PORTS = {"http": 80, "https": 443}


def forget_claims(scope: MutableMapping[str, Any]) -> None:
    """Drop headers about the app's own address that only a trusted proxy may set.

    Trusted are the proxies that uvicorn trusts with the visitor's address: this machine, or those
    in FORWARDED_ALLOW_IPS.
    """
    peer = scope.get("state", {}).get(PEER)
    allowed = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")
    if peer not in _trusted(allowed):
        scope["headers"] = [one for one in scope["headers"] if one[0] not in _BY_PROXIES]


def _trusted(allowed: str) -> Any:
    if allowed not in _known:
        _known[allowed] = ProxyHeadersMiddleware(_unused, allowed).trusted_hosts
    return _known[allowed]


async def _unused(*_: Any) -> None:
    """A dummy app for a middleware that is only asked whom it trusts."""


_known: dict[str, Any] = {}


def is_foreign(request: Request) -> bool:
    """Whether another site's page made the browser send this."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:  # set by browsers; no page can change it
        return site not in ("same-origin", "none")
    origin = request.headers.get("origin")
    # A browser that sends neither header is not running a script and hides the response.
    return origin is not None and not is_own(origin, request)


def take_address(scope: MutableMapping[str, Any]) -> None:
    """For requests that are not foreign, let the app use the page's address as its own.

    Gradio builds the addresses of results from it. A proxy that changes the Host, or drops its
    port, would make them point elsewhere.
    """
    origin = _split(dict(scope["headers"]).get(b"origin", b"").decode("latin-1"))
    if origin is None or origin.scheme not in _PORTS:
        return
    dropped = (b"host", *_BY_PROXIES)
    scope["headers"] = [
        *(one for one in scope["headers"] if one[0] not in dropped),
        (b"host", origin.netloc.encode("latin-1")),
        (b"x-forwarded-proto", origin.scheme.encode()),
    ]
    scope["scheme"] = origin.scheme


def is_own(address: str, request: Request) -> bool:
    """Whether an address is on the host that the request was sent to."""
    theirs = _split(address)
    if theirs is None:
        return False
    forwarded = request.headers.get("x-forwarded-host", "").partition(",")[0].strip()
    hosts = (request.headers.get("host", ""), forwarded)
    return any(_is_same(theirs, _split(f"{theirs.scheme}://{host}")) for host in hosts if host)


def _is_same(theirs: SplitResult, ours: SplitResult | None) -> bool:
    if ours is None or ours.hostname != theirs.hostname:
        return False
    # Proxies often pass on the name without the port.
    return ours.port is None or ours.port == (theirs.port or _PORTS.get(theirs.scheme))


def _split(address: str) -> SplitResult | None:
    """None for "null", for addresses without a host and for invalid ones."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname else None


def is_visit(request: Request) -> bool:
    """Whether somebody follows a link to the page, from anywhere."""
    return (
        request.method == "GET"
        and path_of(request) == ""
        and request.headers.get("sec-fetch-mode") == "navigate"
    )
