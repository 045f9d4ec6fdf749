"""ASGI middleware between the network and Gradio.

It decides which routes are open, who must log in, limits sizes and rates, and controls who may use
which uploaded file. Refusals are JSON with one sentence in `detail`, which Gradio's page shows.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
from gradio.route_utils import FnIndexInferError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from core.errors import DISK_FULL, NOT_WRITABLE, InputError
from core.images import MAX_BYTES
from demos.server import files as _files
from demos.server import login as _login
from demos.server import routes
from demos.server.answer import COOKIE, JOBS, TOO_LARGE, Answer
from demos.server.asgi import App, Message, Receive, Refused, Scope, Send
from demos.server.bodies import Body, Room, again, parse, said_length
from demos.server.routes import API, JOIN, MCP, UPLOAD
from demos.server.visitors import RateLimit, Uploads, Visitor, is_cheap_to_check

NOT_UNDERSTOOD = "The app could not understand this request; /gradio_api/info lists the endpoints."
FAILED = "The app failed on this request. Please try again; the log has details for the owner."
NO_LOGIN = "Please log in first."
MEGABYTE = 2**20
MAX_UPLOAD = MAX_BYTES + MEGABYTE  # the form around the file
MAX_JSON = MAX_BYTES * 4 // 3 + 2 * MEGABYTE  # a data: URL is base64
SMALL_BODY = 2**16  # parsed in place; a thread switch takes longer
MAX_NAME = 128  # characters of a session's name
LOGINS_PER_MINUTE = 10
PREVIEWS_PER_MINUTE = 1200  # more than a page sends while the mouse moves
STREAM_SECONDS = 8 * 3600.0  # an hour more than a page's data is kept
_CALLS = (*JOBS, MCP)  # bodies of JSON with values, maybe pictures
# What Gradio's routes raise for unknown endpoints and values of the wrong type.
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
    """Rules from the settings: jobs and uploads per minute for each visitor (0: no limit), and
    whether there is a login and MCP is on.

    `previews` are the ids of events that a page sends while the mouse moves. They would use up the
    limit in seconds, so they have a generous one of their own. The rooms limit what is in transit
    at the same time: small bodies; large ones, which are held in memory; uploads, which go to disk;
    and open responses.
    """

    per_minute: int = 0
    login: bool = False
    mcp: bool = False
    previews: frozenset[int] = frozenset()
    uploads: Uploads = field(default_factory=Uploads)
    small: Room = field(default_factory=lambda: Room(512, 32 * MEGABYTE))
    large: Room = field(default_factory=lambda: Room(128, 96 * MEGABYTE))
    files: Room = field(default_factory=lambda: Room(128, 512 * MEGABYTE))
    streams: Room = field(default_factory=lambda: Room(600))


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
            # Gradio would build the whole page for it. Gradio sends this itself at startup, and
            # gives up if the answer takes three seconds, as on a machine under load.
            await HTMLResponse()(scope, receive, state.send)
            return
        with ExitStack() as places:
            try:
                await self._serve(request, visitor, receive, state, places)
            except Refused as refused:
                await _answer(refused.response, request, state)
            except Exception as error:  # Gradio's routes raise many kinds
                if state.started:
                    raise
                why = state.refused()
                await _answer(why.response if why else _told(error, request), request, state)

    async def _serve(
        self,
        request: Request,
        visitor: Visitor,
        receive: Receive,
        state: Answer,
        places: ExitStack,
    ) -> None:
        path = routes.path_of(request)
        route = routes.find(request.method, path)
        if route is None or (path == MCP and not self.rules.mcp):
            raise Refused(404, "There is no such page.")
        if self.rules.login and route.login and not await _login.is_known(self.app, request):
            raise Refused(401, NO_LOGIN)
        if request.method != "POST":
            if said_length(request) != 0:
                raise Refused(400, "This kind of request has no body.")
            if route.stream:
                places.enter_context(self.rules.streams.place(visitor.address))
                receive = _until(time.monotonic() + STREAM_SECONDS, receive)
            if path == "/logout":
                _login.log_out_alone(request.scope)
            await self.app(request.scope, receive, state.send)
            return
        body = await self._body(request, visitor, receive, path, places)
        state.refused = lambda: body.refused
        receive = body.receive
        if path.startswith(_CALLS):
            receive = await self._admit_job(request, visitor, body, path == JOIN)
        if path == UPLOAD:
            state.uploaded = lambda name: self.rules.uploads.add(name, visitor)
        await self.app(request.scope, receive, state.send)
        if body.refused:
            raise body.refused

    async def _body(
        self, request: Request, visitor: Visitor, receive: Receive, path: str, places: ExitStack
    ) -> Body:
        """The body of a request that may have one; nothing of it has been read."""
        room, limit, sentence = self.rules.small, SMALL_BODY, "The request is too large."
        said = said_length(request)
        if path == "/login":
            self._count(self._logins, visitor, "logins")
        elif path == UPLOAD:
            self._count(self._jobs, visitor)
            if await run_in_threadpool(_files.is_full):
                raise Refused(507, _files.FULL)
            room, limit, sentence = self.rules.files, MAX_UPLOAD, TOO_LARGE
        elif path.startswith(_CALLS):
            limit, sentence = MAX_JSON, TOO_LARGE
            if said is None or said > SMALL_BODY:
                room = self.rules.large
        if said is not None and said > limit:
            raise Refused(413, sentence)
        place = places.enter_context(room.place(visitor.address, said or 0))
        return Body(request, receive, limit, sentence, place)

    async def _admit_job(
        self, request: Request, visitor: Visitor, body: Body, by_page: bool
    ) -> Receive:
        small = 0 < (said_length(request) or 0) <= SMALL_BODY
        if not small:  # counted before reading
            self._count(self._jobs, visitor)
        content, payload = await body.read(), None
        try:
            payload = parse(content) if small else await run_in_threadpool(parse, content)
        finally:
            if small:  # invalid JSON counts too
                preview = by_page and self._is_preview(payload)
                self._count(self._previews if preview else self._jobs, visitor)
        if small and is_cheap_to_check(payload):
            self._check(payload, visitor)
        else:
            await run_in_threadpool(self._check, payload, visitor)
        return again(content, body.receive)

    def _is_preview(self, payload: Any) -> bool:
        number = payload.get("fn_index") if isinstance(payload, dict) else None
        return isinstance(number, int) and number in self.rules.previews

    def _count(self, limit: RateLimit, visitor: Visitor, what: str = "requests") -> None:
        seconds = math.ceil(limit.wait(visitor.address))
        if seconds:
            raise Refused(
                429,
                f"Too many {what} in a minute; please continue in {seconds} s.",
                {"retry-after": str(seconds)},
            )

    def _check(self, payload: Any, visitor: Visitor) -> None:
        session = payload.get("session_hash") if isinstance(payload, dict) else None
        if isinstance(session, str) and len(session) > MAX_NAME:
            raise Refused(400, f"The session's name is longer than {MAX_NAME} characters.")
        try:
            self.rules.uploads.check(payload, visitor)
        except InputError as error:
            raise Refused(403, str(error)) from None


def _told(error: Exception, request: Request) -> Response:
    """The response for a failed route; the log has details for the owner."""
    status, sentence = _status_of(error, request)
    where = f"{request.method} {request.url.path[:200]!r}"
    if status == 400:  # one line, so that strangers cannot fill the log
        _log.warning("%s failed: %s", where, type(error).__name__)
    else:
        _log.error("%s failed", where, exc_info=error)
    return JSONResponse({"detail": sentence}, status)


def _status_of(error: Exception, request: Request) -> tuple[int, str]:
    """Status and sentence for an exception of a route."""
    number = error.errno if isinstance(error, OSError) else None
    if number in DISK_FULL:
        return 507, _files.FULL
    if number in NOT_WRITABLE:
        return 507, _files.READ_ONLY
    # A page that takes no values cannot have received wrong ones.
    told_something = request.method != "GET" or request.url.path.startswith(API)
    if isinstance(error, _ODD_VALUES) and (told_something or request.url.query):
        return 400, NOT_UNDERSTOOD
    return 500, FAILED


def visitor_of(request: Request) -> Visitor:
    """Who sent a request. Behind a proxy on this machine, the server has already put the address
    that the proxy reports into `client`."""
    address = request.client.host if request.client else "unknown"
    return Visitor(address, request.cookies.get(COOKIE))


async def _answer(response: Response, request: Request, state: Answer) -> None:
    """Send one of the guard's own responses, unless the app has started one."""
    if not state.started:
        state.own = True
        await response(request.scope, request.receive, state.send)


def _until(end: float, receive: Receive) -> Receive:
    """A `receive` that reports a disconnect at a certain time."""

    async def limited() -> Message:
        with anyio.move_on_after(end - time.monotonic()):
            return await receive()
        return {"type": "http.disconnect"}

    return limited
