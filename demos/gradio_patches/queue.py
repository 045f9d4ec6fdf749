"""Gradio's queue with a limited share of places per visitor.

The queue is Gradio's. This adds limits for long jobs, visitors and the size of waiting values, ends
jobs that no client listens to, and frees the slot however a job is cancelled.
"""

from __future__ import annotations

import asyncio
import time
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from typing import Any

from gradio.queueing import Event, Queue
from gradio.server_messages import ProcessCompletedMessage
from starlette.exceptions import HTTPException
from starlette.requests import Request

from demos.gradio_patches import streams
from demos.server import answer
from demos.server.guard import visitor_of
from demos.server.visitors import values_in
from demos.shell import ui

SIZE = 64  # waiting requests
LONG_WAITING = 32  # long jobs among them, so that short requests always fit
# One visitor's places: by cookie, and by address, since cookies can be discarded.
VISITOR_LONG, ADDRESS_LONG = 4, 12
ADDRESS_ALL = 32
# Characters of the values of requests that wait or run, as `data:` URLs; small ones don't count.
HELD, ADDRESS_HELD, SMALL = 192_000_000, 96_000_000, 1_000_000
# How often Gradio checks whether an event can begin. Its default, a millisecond, costs 6 % of a
# core when idle and slows the networks down.
LOOK_SECONDS = 0.01
PROGRESS_SECONDS = 0.05
UNHEARD_SECONDS = 60.0  # a job ends after this long without a listener
FORGET_SECONDS = 600.0  # a result is kept this long if not fetched
SWEEP_SECONDS = 5.0
WAITING = "You already have {} jobs waiting; wait for one to finish, or cancel one."
SHARED = "Your network already has {} jobs waiting; please try again in a minute."
HEAVY = "Too much picture data is waiting; please upload the file, or try again in a minute."
UNHEARD = "The page was disconnected, so this job was stopped; please start it again."


class Places:
    """Who may wait in the queue of one page, and for how long; not thread-safe."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.watched = False  # whether `Listening` reports listening clients
        self._push, self._process = queue.push, queue.process_events
        self._listening: Counter[str] = Counter()  # clients, by session and by event
        self._heard: dict[str, float] = {}  # when the last one left
        self._unfetched: dict[str, float] = {}  # sessions with unfetched results, and since when
        self._held: dict[str, tuple[int, str]] = {}  # characters and address, by event
        self._sweeper: asyncio.Task[None] | None = None
        replaced: Any = queue
        replaced.push, replaced.process_events = self.push, self.process_events
        queue.sleep_when_free = LOOK_SECONDS
        queue.progress_update_sleep_when_free = PROGRESS_SECONDS

    async def push(self, body: Any, request: Any, username: str | None) -> Any:
        """Gradio's `Queue.push`, for visitors with places left.

        Raises:
            HTTPException: 429, if the visitor has used up their share.
        """
        fn = self.queue.blocks.fns.get(body.fn_index)
        if fn is None or fn.fn is None:  # the event runs only in the browser
            return False, answer.UNFIT, "error"
        long = fn.concurrency_id == ui.LONG_QUEUE[0]
        if long and len(self._waiting(ui.LONG_QUEUE[0])) >= LONG_WAITING:
            return False, answer.BUSY, "queue_full"
        if refusal := self._over_share(request, long):
            raise HTTPException(429, refusal)
        size, address = characters(body.data), visitor_of(request).address
        if size > SMALL and self._too_much(size, address):
            raise HTTPException(429, HEAVY)
        if self.watched and (self._sweeper is None or self._sweeper.done()):
            self._sweeper = asyncio.create_task(self._sweep())
        done, event, said = await self._push(body, request, username)
        if done and size > SMALL:
            self._held[str(event)] = size, address
        return done, event, said

    def _too_much(self, size: int, address: str) -> bool:
        """Whether the values of all requests, or of that address, would exceed their limit."""
        known = self.queue.event_ids_to_events
        self._held = {event: held for event, held in self._held.items() if event in known}
        near = sum(held for held, whose in self._held.values() if whose == address)
        everybody = sum(held for held, _ in self._held.values())
        return near + size > ADDRESS_HELD or everybody + size > HELD

    def _waiting(self, *names: str) -> list[Event]:
        lines = self.queue.event_queue_per_concurrency_id
        return [event for name in names if name in lines for event in lines[name].queue]

    def _over_share(self, request: Request, long: bool) -> str | None:
        """Why a visitor gets no more places; None if they do."""
        visitor = visitor_of(request)
        all_waiting = self._waiting(*self.queue.event_queue_per_concurrency_id)
        near = [e for e in all_waiting if visitor_of(e.request).address == visitor.address]
        if len(near) >= ADDRESS_ALL:
            return SHARED.format(len(near))
        if not long:
            return None
        near = [e for e in near if e.concurrency_id == ui.LONG_QUEUE[0]]
        own = [e for e in near if visitor_of(e.request) == visitor]
        if len(own) >= VISITOR_LONG:
            return WAITING.format(len(own))
        return SHARED.format(len(near)) if len(near) >= ADDRESS_LONG else None

    def process_events(self, events: list[Event], *args: Any) -> Coroutine[Any, Any, None]:
        """Gradio's `Queue.process_events`, but a job that is cancelled before its first step also
        frees its slot."""
        begun = self._processed(events, *args)
        begun.send(None)  # run to the pause: later exceptions reach the `try`
        return begun

    async def _processed(self, events: list[Event], *args: Any) -> None:
        try:
            await _pause()
        except asyncio.CancelledError:
            for event in events:
                event.alive = False  # Gradio then only cleans up
            raise
        finally:
            try:
                await self._process(events, *args)
            finally:  # a second cancel can interrupt Gradio's cleanup
                for event in events:
                    self.queue.event_ids_to_events.pop(event._id, None)

    def begin(self, key: str) -> None:
        """A client starts listening to a session, or to one event."""
        self._listening[key] += 1

    def end(self, key: str) -> None:
        """A client stops listening."""
        self._listening[key] -= 1
        if self._listening[key] <= 0:
            del self._listening[key]
        self._heard[key] = time.monotonic()

    def newest(self, session: str) -> float | None:
        """When the newest of a session's events was asked for whose end was not sent, by
        `time.monotonic`; None without any."""
        known = self.queue.event_ids_to_events
        waited_for = self.queue.pending_event_ids_session.get(session, ())
        times = [known[key].enqueue_time if key in known else 0.0 for key in waited_for]
        return max(times, default=None)

    async def _sweep(self) -> None:
        """Stop jobs that nobody listens to, until nothing is left to watch."""
        queue = self.queue
        while not queue.stopped and (self._heard or queue.pending_event_ids_session):
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for event in list(queue.event_ids_to_events.values()):
                if now - self._last_sign(event, now) > UNHEARD_SECONDS:
                    await self._stop(event)
            self._forget(now)

    def _last_sign(self, event: Event, now: float) -> float:
        keys = (event.session_hash, event._id)
        if any(key in self._listening for key in keys):
            return now
        return max(event.enqueue_time, *(self._heard.get(key, 0.0) for key in keys))

    async def _stop(self, event: Event) -> None:
        message = ProcessCompletedMessage(output={"error": UNHEARD}, success=False)
        self.queue.send_message(event, message)  # read on reconnection
        await self.queue.clean_events(event_id=event._id)

    def _forget(self, now: float) -> None:
        """Drop unfetched results and records of sessions that have ended."""
        queue, events = self.queue, self.queue.event_ids_to_events
        busy = {*events, *(event.session_hash for event in events.values()), *self._listening}
        for key in {*self._heard, *queue.pending_event_ids_session} - busy:
            unfetched = queue.pending_event_ids_session.get(key)
            if unfetched and now - self._unfetched.setdefault(key, now) <= FORGET_SECONDS:
                continue
            for notes in (self._heard, self._unfetched, queue.pending_event_ids_session):
                notes.pop(key, None)
            queue.pending_messages_per_session.pop(key, None)


def characters(values: Any) -> int:
    """The length of all strings in JSON values."""
    return sum(len(value) for value in values_in(values) if isinstance(value, str))


@types.coroutine
def _pause() -> Generator[None, None, None]:
    yield


class Listening:
    """ASGI middleware that reports to `Places` which clients listen for results."""

    def __init__(self, app: Any, places: Places) -> None:
        self.app = app
        self.places = places
        self.streams = streams.Streams(app, places.newest)
        places.watched = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        key = _listens_for(Request(scope)) if scope["type"] == "http" else None
        if key is None:
            await self.app(scope, receive, send)
            return
        self.places.begin(key)
        try:
            if "session_hash" in Request(scope).query_params:
                await self.streams.serve(key, scope, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            self.places.end(key)


def _listens_for(request: Request) -> str | None:
    """The session or event whose messages a request asks for."""
    if request.method != "GET":
        return None
    path = request.url.path.removeprefix(request.scope.get("root_path", "")).rstrip("/")
    if path == f"{answer.API}/queue/data":
        return request.query_params.get("session_hash")
    parts = path.removeprefix(f"{answer.API}/call/").split("/")
    return parts[-1] if path.startswith(f"{answer.API}/call/") and len(parts) > 1 else None
