"""What stands between the network and Gradio, as ASGI middleware.

Security headers, routes that this page has no use for, limits on sizes and rates, and who may use
which uploaded file. Refusals are JSON with one sentence in `detail`, which Gradio's page shows.
"""

from __future__ import annotations

import errno
import json
import logging
import math
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gradio.route_utils import FnIndexInferError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse

from core.errors import InputError
from core.images import MAX_BYTES
from demos import _files
from demos._answer import API, COOKIE, JOBS, Answer, Message, Send
from demos._visitors import RateLimit, Uploads, Visitor, is_quick

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

NOT_UNDERSTOOD = (
    "The hub could not make sense of this request; /gradio_api/info lists the endpoints."
)
FAILED = "The hub failed at this request. Please try again; its log tells the owner more."
# Gradio serves these to every app; here they would only be ways in: a video converter, an editor of
# the source, a proxy, pages of state and figures for whoever asks.
CLOSED = (
    "/monitoring",
    "/runs",
    f"{API}/process_recording",
    f"{API}/vibe-",
    f"{API}/undo-vibe-edit",
    f"{API}/proxy=",
    f"{API}/component_server",
    f"{API}/deep_link",
    f"{API}/dev/",
    f"{API}/stream/",
    f"{API}/run-history",
    f"{API}/profiling",
    "/openapi.json",
)
UPLOAD, JOIN = f"{API}/upload", f"{API}/queue/join"
MEGABYTE = 2**20
MAX_UPLOAD = MAX_BYTES + MEGABYTE  # the form around the file
MAX_JSON = MAX_BYTES * 4 // 3 + 2 * MEGABYTE  # a data: URL is base64
SMALL_BODY = 2**16  # parsed at once; another thread's turn takes longer
MAX_VALUES = 100_000  # in one body; millions of small ones would take gigabytes
MAX_NAME = 128  # characters of a session's name
LOGINS_PER_MINUTE = 10
PREVIEWS_PER_MINUTE = 1200  # more than a page asks for while the mouse moves
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_NO_ACCESS = {errno.EROFS, errno.EACCES, errno.EPERM}
# What Gradio's routes raise at endpoints that do not exist and at values of another kind.
_ODD_VALUES = (
    FnIndexInferError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Rules:
    """What the settings say: jobs and uploads a minute for each visitor (0: no limit), and whether
    pages of other sites may send requests, which a login forbids.

    `previews` are the numbers of the events that a page sends while the mouse moves. They would use
    up the limit in seconds, and have a generous one of their own.
    """

    per_minute: int = 0
    same_origin: bool = False
    previews: frozenset[int] = frozenset()
    uploads: Uploads = field(default_factory=Uploads)


class _Refused(Exception):
    def __init__(self, status: int, sentence: str, headers: dict[str, str] | None = None) -> None:
        self.response = JSONResponse({"detail": sentence}, status, headers)


class Guard:
    """The middleware; one for each served page."""

    def __init__(self, app: App, rules: Rules) -> None:
        self.app = app
        self.rules = rules
        self._jobs = RateLimit(rules.per_minute)
        self._previews = RateLimit(PREVIEWS_PER_MINUTE if rules.per_minute else 0)
        self._logins = RateLimit(LOGINS_PER_MINUTE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        visitor = visitor_of(request)
        state = Answer(request, send, new_cookie=visitor.cookie is None)
        if request.method == "HEAD" and request.url.path == "/":
            # Gradio would make the whole page for it. It asks this itself at the start, and gives
            # up where the answer takes three seconds, as on a machine under load.
            await HTMLResponse()(scope, receive, state.send)
            return
        try:
            receive = await self._admit(request, visitor, receive)
            if request.url.path == UPLOAD and request.method == "POST":
                state.uploaded = lambda path: self.rules.uploads.add(path, visitor)
            await self.app(scope, receive, state.send)
        except _Refused as refused:
            if not state.started:
                await refused.response(scope, receive, state.send)
        except Exception as error:  # routes of Gradio fail in their own ways
            if state.started:
                raise
            status, sentence = _told(error, request)
            where = f"{request.method} {request.url.path[:200]!r}"
            if status == 400:  # one line: strangers could fill the log otherwise
                _log.warning("%s failed: %s", where, type(error).__name__)
            else:
                _log.error("%s failed", where, exc_info=error)
            await JSONResponse({"detail": sentence}, status)(scope, receive, state.send)

    async def _admit(self, request: Request, visitor: Visitor, receive: Receive) -> Receive:
        """The request's body, once everything about it was found right.

        Raises:
            _Refused: it may not pass.
        """
        path = request.url.path.removeprefix(request.scope.get("root_path", "")).rstrip("/")
        if path.startswith(CLOSED):
            raise _Refused(404, "There is nothing here.")
        if request.method not in ("POST", "PUT", "PATCH", "DELETE"):
            return receive
        if self.rules.same_origin and not is_same_origin(request):
            raise _Refused(403, "This hub takes no requests from the pages of other sites.")
        if path == "/login":
            self._count(self._logins, visitor, "logins")
        if path == UPLOAD:
            self._count(self._jobs, visitor)
            if await run_in_threadpool(_files.is_full):
                raise _Refused(507, _files.FULL)
            return _bounded(request, receive, MAX_UPLOAD, _too_large())
        if path.startswith(JOBS):
            return await self._admit_job(request, visitor, receive, path == JOIN)
        return _bounded(request, receive, MEGABYTE, _Refused(413, "The request is too large."))

    async def _admit_job(
        self, request: Request, visitor: Visitor, receive: Receive, by_page: bool
    ) -> Receive:
        body_of = _bounded(request, receive, MAX_JSON, _too_large())
        small = 0 < int(request.headers.get("content-length", "0")) <= SMALL_BODY
        if not small:  # counted before it is read
            self._count(self._jobs, visitor)
        body, payload = await _read(body_of), None
        try:
            payload = _payload(body) if small else await run_in_threadpool(_payload, body)
        finally:
            if small:  # what is no JSON counts as well
                preview = by_page and self._is_preview(payload)
                self._count(self._previews if preview else self._jobs, visitor)
        if small and is_quick(payload):
            self._check(payload, visitor)
        else:
            await run_in_threadpool(self._check, payload, visitor)
        return _again(body, receive)

    def _is_preview(self, payload: Any) -> bool:
        number = payload.get("fn_index") if isinstance(payload, dict) else None
        return isinstance(number, int) and number in self.rules.previews

    def _count(self, limit: RateLimit, visitor: Visitor, what: str = "requests") -> None:
        seconds = math.ceil(limit.wait(visitor.address))
        if seconds:
            raise _Refused(
                429,
                f"Too many {what} in a minute; please go on in {seconds} s.",
                {"retry-after": str(seconds)},
            )

    def _check(self, payload: Any, visitor: Visitor) -> None:
        session = payload.get("session_hash") if isinstance(payload, dict) else None
        if isinstance(session, str) and len(session) > MAX_NAME:
            raise _Refused(400, f"The session's name is longer than {MAX_NAME} characters.")
        try:
            self.rules.uploads.check(payload, visitor)
        except InputError as error:
            raise _Refused(403, str(error)) from None


def _payload(body: bytes) -> Any:
    # Counted before it is parsed; none of these is in the base64 of a picture.
    if sum(map(body.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise _Refused(413, "The request holds too many values.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):  # also bytes that are no text
        raise _Refused(400, "The body of the request is not JSON.") from None


def _told(error: Exception, request: Request) -> tuple[int, str]:
    """Status and sentence for what a route raised."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _NO_SPACE:
        return 507, _files.FULL
    if number in _NO_ACCESS:
        return 507, _files.READ_ONLY
    # A page that takes no values cannot have got wrong ones.
    told_something = request.method != "GET" or request.url.path.startswith(API)
    if isinstance(error, _ODD_VALUES) and (told_something or request.url.query):
        return 400, NOT_UNDERSTOOD
    return 500, FAILED


def visitor_of(request: Request) -> Visitor:
    """Who sent a request. Behind a proxy on this machine the server itself has put the address
    that the proxy names into `client`."""
    address = request.client.host if request.client else "unknown"
    return Visitor(address, request.cookies.get(COOKIE))


def is_same_origin(request: Request) -> bool:
    """Whether a request comes from our own page, or from a program that is no browser."""
    origin = request.headers.get("origin")
    if origin is None:
        return True
    own = {request.headers.get(name) for name in ("host", "x-forwarded-host")}
    return urlsplit(origin).netloc in own


def _too_large() -> _Refused:
    return _Refused(413, f"The file is larger than {MAX_BYTES // MEGABYTE} MB; please shrink it.")


def _bounded(request: Request, receive: Receive, limit: int, refusal: _Refused) -> Receive:
    """`receive` that refuses more than `limit` bytes, whatever the header says of their number."""
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limit:
        raise refusal
    got = 0

    async def bounded() -> Message:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > limit:
            raise refusal
        return message

    return bounded


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(400, "The request was cut off.")
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body which was read already, and then what the real one gives."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
