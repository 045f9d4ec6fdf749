"""Let a page that closed its stream listen again without losing anything.

A page has one stream for all its events. It closes it when the last event has ended, and opens
another for the next one. If that was asked for meanwhile, Gradio takes the closing for a visitor
who leaves: it stops their jobs and deletes their messages, so the new stream fails and the answer
never comes. Here a stream whose client has left goes on for `GRACE` seconds, and the next client of
its session takes it over; otherwise Gradio is told then.

The server notices late that a client has left. What it sent meanwhile was about events that came
after the last one that the client waited for, so the next client gets that once more; a client
ignores messages about events that it has done with.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from typing import Any

from demos.server.asgi import App, Message, Receive, Send

GRACE = 3.0  # seconds
_COMPLETED, _CLOSES = b'"msg":"process_completed"', b'"msg":"close_stream"'
_EVENT = re.compile(rb'"event_id":"(\w+)"')


class _Recent:
    """The messages of the last `GRACE` seconds, and where the client may have left among them."""

    def __init__(self) -> None:
        self._sent: deque[tuple[float, Message, bool]] = deque()
        self._open: set[bytes] = set()  # events that have not ended

    def add(self, message: Message) -> None:
        """Note a message that was sent to a client."""
        body = message.get("body", b"")
        found = _EVENT.search(body)
        ends = bool(found) and _COMPLETED in body
        if found:
            (self._open.discard if ends else self._open.add)(found[1])
        now = time.monotonic()
        self._sent.append((now, message, ends and not self._open))
        while self._sent[0][0] < now - GRACE:
            self._sent.popleft()

    def unseen(self) -> list[Message]:
        """What a client that has left may not have seen: all after the end of its last event, the
        first such end in this time."""
        since = time.monotonic() - GRACE
        recent = [(message, end) for when, message, end in self._sent if when >= since]
        ends = [number for number, (_, end) in enumerate(recent) if end]
        self._sent.clear()
        return [message for message, _ in recent[ends[0] + 1 :]] if ends else []


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
        messages = self._recent.unseen() + self._waiting
        self._waiting = []
        bodies = (one for one in messages if _EVENT.search(one.get("body", b"")))
        return [{**one, "more_body": True} for one in bodies]

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
        self._waiting[:0] = self._recent.unseen()
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
    """The streams of one page, by session."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._streams: dict[str, _Stream] = {}

    async def serve(self, session: str, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request for a session's messages."""
        stream = self._streams.get(session)
        if stream is None or not stream.is_going:
            stream = self._streams[session] = _Stream(self.app, scope, stream)
        client = stream.clients + 1
        if not await stream.serve(receive, send):
            await asyncio.sleep(GRACE)
            # Somebody has taken it over, and waits themselves if they have left since; or it ended.
            if stream.clients != client or not stream.is_unread:
                return
            await stream.end()
        asyncio.get_running_loop().call_later(GRACE, self._forget, session, stream)

    def _forget(self, session: str, stream: _Stream) -> None:
        if self._streams.get(session) is stream and not stream.is_going:
            del self._streams[session]
