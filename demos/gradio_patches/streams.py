"""Let a page that closed its stream listen again without losing anything.

A page has one stream for all its events. It closes it when the last event has ended, and opens
another for the next one. If that was asked for meanwhile, Gradio takes the closing for a visitor
who leaves: it stops their jobs and deletes their messages, so the new stream fails and the answer
never comes. Here a stream whose client has left goes on for `GRACE` seconds, and the next client of
its session takes it over; otherwise Gradio is told then.

The server notices late that a client has left, and what it sent meanwhile is lost. So the next
client gets the ends of events once more, and all that came after the last one that the client may
have waited for; a client ignores messages about events that it has done with. A client that waits
for nothing new gets the rest of the stream before, whose end it has missed.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from demos.server.asgi import App, Message, Receive, Send

GRACE = 3.0  # seconds
_COMPLETED, _CLOSES = b'"msg":"process_completed"', b'"msg":"close_stream"'
_EVENT = re.compile(rb'"event_id":"(\w+)"')


class _Sent(NamedTuple):
    when: float
    message: Message
    completes: bool  # an event
    is_last: bool  # no other event was open then


class _Recent:
    """The messages of the last `GRACE` seconds, and where the client may have left among them."""

    def __init__(self) -> None:
        self._sent: deque[_Sent] = deque()
        self._open: set[bytes] = set()  # events that have not ended

    def add(self, message: Message) -> None:
        """Note a message that was sent to a client."""
        body = message.get("body", b"")
        found = _EVENT.search(body)
        ends = bool(found) and _COMPLETED in body
        if found:
            (self._open.discard if ends else self._open.add)(found[1])
        now = time.monotonic()
        self._sent.append(_Sent(now, message, ends, ends and not self._open))
        while self._sent[0].when < now - GRACE:
            self._sent.popleft()

    def unseen(self, ends: bool) -> list[Message]:
        """What a client that has left may not have seen: all after the end of its last event, the
        first such end in this time; with `ends`, also each end of an event until then."""
        since = time.monotonic() - GRACE
        recent = [one for one in self._sent if one.when >= since]
        lasts = [number for number, one in enumerate(recent) if one.is_last]
        after = lasts[0] + 1 if lasts else len(recent)
        self._sent.clear()
        before = [one for one in recent[:after] if ends and one.completes]
        return [one.message for one in (*before, *recent[after:])]


class _Stream:
    """One stream of Gradio's, and the client that reads it now."""

    def __init__(self, app: App, scope: Any, before: _Stream | None) -> None:
        self.start: Message | None = None
        self.clients = 0  # that it has had
        self._waiting: list[Message] = []  # while nobody reads
        self._recent = _Recent()
        self._closes = False  # Gradio has said that this stream ends
        self._carried = before.left_over() if before else []
        self._send: Send | None = None
        self._replaced = asyncio.Event()  # the client that reads it now is
        self._gone = asyncio.Event()  # the last client has, for long enough
        self._task = asyncio.ensure_future(app(scope, self._receive, self._pass_on))

    async def _receive(self) -> Message:
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _pass_on(self, message: Message) -> None:
        self._closes = self._closes or _CLOSES in message.get("body", b"")
        messages = [message]
        if message["type"] == "http.response.start":
            self.start = message
            messages += self._carried
        for one in messages:
            if self._send is None:
                self._waiting.append(one)
            else:
                await self._give(one, self._send)

    async def _give(self, message: Message, send: Send) -> None:
        self._recent.add(message)
        await send(_copy(message))

    def left_over(self) -> list[Message]:
        """What nobody has read, or perhaps not, for the stream that follows this one."""
        return [one for one in self._rest(ends=False) if _EVENT.search(one["body"])]

    def _rest(self, ends: bool) -> list[Message]:
        """The bodies that nobody has read, or perhaps not, which go out of this stream's hands."""
        messages = self._recent.unseen(ends) + self._waiting
        self._waiting = []
        return [{**one, "more_body": True} for one in messages if one.get("body")]

    @property
    def is_going(self) -> bool:
        """Whether another client can take it over."""
        return not self._gone.is_set() and not self._closes and not self._task.done()

    @property
    def is_unread(self) -> bool:
        """Whether it waits for another client."""
        return self._send is None and self.is_going

    async def serve(self, receive: Receive, send: Send) -> bool:
        """Pass it on to a client, instead of to the one before; whether it has ended, else the
        client has left."""
        self.clients += 1
        self._replaced.set()
        self._replaced = replaced = asyncio.Event()
        self._send = None
        if self.start is not None and self.start not in self._waiting:
            await send(_copy(self.start))
        self._waiting[:0] = self._recent.unseen(ends=True)
        while self._waiting and not replaced.is_set():
            await self._give(self._waiting.pop(0), send)
        if not replaced.is_set():
            self._send = send
        ends = [asyncio.ensure_future(one) for one in (_left(receive), replaced.wait())]
        try:
            await asyncio.wait({*ends, self._task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in ends:
                one.cancel()
            if not replaced.is_set():
                self._send = None
        if self._task.done():
            self._task.result()
            return True
        return False

    async def repeat_end(self, send: Send) -> bool:
        """Tell a client how the stream ended that it has missed; whether anything was left."""
        rest = self._rest(ends=True)
        if self.start is None or not rest:
            return False
        for one in (self.start, *rest):
            await send(_copy(one))
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return True

    async def end(self) -> None:
        """Tell Gradio that the client has left."""
        self._gone.set()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # nobody is there to read it


def _copy(message: Message) -> Message:
    """For one client, whose headers are added to it."""
    return {**message, **({"headers": [*message["headers"]]} if "headers" in message else {})}


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class Streams:
    """The streams of one page, by session.

    Args:
        app: Gradio's routes.
        newest: When the newest request of a session was made whose answer has not been sent, by
            `time.monotonic`; None without any.
    """

    def __init__(self, app: App, newest: Callable[[str], float | None]) -> None:
        self.app = app
        self._newest = newest
        self._streams: dict[str, _Stream] = {}

    async def serve(self, session: str, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request for a session's messages."""
        stream = self._streams.get(session)
        if stream is None or not stream.is_going:
            if stream and self._newest(session) is None and await stream.repeat_end(send):
                return
            stream = self._streams[session] = _Stream(self.app, scope, stream)
        client = stream.clients + 1
        if not await stream.serve(receive, send):
            if await self._nobody_comes(session, stream, client):
                await stream.end()
            elif stream.is_going:
                return  # for another client, who waits themselves if they have left since
        asyncio.get_running_loop().call_later(GRACE, self._forget, session, stream)

    async def _nobody_comes(self, session: str, stream: _Stream, client: int) -> bool:
        """Whether a stream is still unread some time after that client left, and after the
        session's newest request, which asks for the stream a moment later."""
        until = time.monotonic() + GRACE
        while (left := until - time.monotonic()) > 0:
            await asyncio.sleep(left)
            if stream.clients != client or not stream.is_unread:
                return False
            until = max(until, (self._newest(session) or 0.0) + GRACE)
        return True

    def _forget(self, session: str, stream: _Stream) -> None:
        if self._streams.get(session) is stream and not stream.is_going:
            del self._streams[session]
