"""Bodies on their way in: how large, how slow, how many at once."""

from __future__ import annotations

import asyncio
import json

import pytest
from starlette.requests import Request

from demos.server import bodies, files
from demos.server import guard as _guard
from demos.server.bodies import Body, Refused, Room
from demos.server.guard import Guard, Rules
from tests.asgi import Answer, scope_of

JOIN, UPLOAD = "/gradio_api/queue/join", "/gradio_api/upload"


@pytest.fixture(autouse=True)
def not_full(monkeypatch):
    monkeypatch.setattr(files, "is_full", lambda: False)


async def reads(scope, receive, send):
    """An app that reads a body, and makes an answer of its own of what goes wrong, as FastAPI."""
    status = 200
    try:
        while (await receive())["more_body"]:
            pass
    except Exception:
        status = 418
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b"[]"})


class Client:
    """Sends parts of a body when told to."""

    def __init__(self, guard, path, address="10.0.0.1", **headers):
        self.parts: asyncio.Queue = asyncio.Queue()
        self.sent = []
        self.task = asyncio.ensure_future(
            guard(scope_of(path, address=address, **headers), self.parts.get, self._hear)
        )

    async def _hear(self, message):
        self.sent.append(message)

    def send(self, size, more=True):
        self.parts.put_nowait({"type": "http.request", "body": b" " * size, "more_body": more})

    def leave(self):
        self.parts.put_nowait({"type": "http.disconnect"})

    async def answer(self):
        await self.task
        return Answer(self.sent)


@pytest.mark.parametrize("path", [JOIN, UPLOAD, "/gradio_api/cancel", "/login"])
def test_a_slow_body_is_given_up(monkeypatch, path):
    monkeypatch.setattr(bodies, "IDLE_SECONDS", 0.05)

    async def work():
        client = Client(Guard(reads, Rules()), path, content_length="100")
        client.send(10)
        return await client.answer()

    answer = asyncio.run(work())
    assert (answer.status, answer.detail) == (408, bodies.SLOW)


def test_a_body_that_drips_is_given_up(monkeypatch):
    """Each part comes in time, all of them never would."""
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.3)
    monkeypatch.setattr(bodies, "MIN_RATE", 1000)

    async def work():
        client = Client(Guard(reads, Rules()), UPLOAD, content_length="1000000")
        while not client.task.done():
            client.send(1)
            await asyncio.sleep(0.01)
        return await client.answer()

    assert asyncio.run(work()).status == 408


def test_a_slow_server_is_not_the_client_s_fault(monkeypatch):
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 5.0)
    monkeypatch.setattr(bodies, "MIN_RATE", 10**9)
    clock = [0.0]
    monkeypatch.setattr(bodies.time, "monotonic", lambda: clock[0])

    async def slow(scope, receive, send):
        more = True
        while more:
            more = (await receive())["more_body"]
            clock[0] += 60
        await reads(scope, receive, send)

    async def work():
        client = Client(Guard(slow, Rules()), UPLOAD, content_length="3")
        for more in (True, True, False, False):
            client.send(1, more)
        return await client.answer()

    assert asyncio.run(work()).status == 200


@pytest.mark.parametrize("path", [JOIN, UPLOAD, "/gradio_api/cancel"])
def test_what_a_client_breaks_off_is_not_news_for_the_log(caplog, path):
    async def work():
        guard = Guard(reads, Rules())
        client = Client(guard, path, content_length="1000")
        client.send(10)
        client.leave()
        return guard, await client.answer()

    guard, answer = asyncio.run(work())
    assert answer.status == 400 and answer.detail == bodies.CUT
    assert not caplog.records
    rules = guard.rules
    assert rules.small.used == rules.large.used == rules.files.used == [0, 0]


@pytest.mark.parametrize(
    ("path", "size", "room"),
    [(JOIN, 2**16 + 1, "large"), (JOIN, 10, "small"), (UPLOAD, 10_000, "files")],
)
def test_there_is_room_for_so_much_at_once(path, size, room):
    limits = {room: Room(100, 4 * size, share=0.5)}

    async def work():
        guard = Guard(reads, Rules(**limits))
        said = {"content_length": str(size)}
        first = [Client(guard, path, **said) for _ in range(2)]
        await asyncio.sleep(0.05)
        mine = await Client(guard, path, **said).answer()
        others = [Client(guard, path, address=f"10.0.1.{n}", **said) for n in range(2)]
        await asyncio.sleep(0.05)
        beyond = await Client(guard, path, address="10.0.2.1", **said).answer()
        assert getattr(guard.rules, room).used == [4, 4 * size]
        for client in (*first, *others):
            client.leave()
            await client.task
        assert getattr(guard.rules, room).used == [0, 0]
        return mine, beyond

    mine, beyond = asyncio.run(work())
    assert (mine.status, mine.detail) == (429, bodies.MUCH)
    assert (beyond.status, beyond.detail) == (503, bodies.CROWDED)
    assert int(beyond.headers["retry-after"]) > 0


def test_a_body_that_does_not_say_its_length_takes_room_as_it_comes():
    async def work():
        guard = Guard(reads, Rules(large=Room(10, 1000)))
        client = Client(guard, JOIN, transfer_encoding="chunked")
        client.send(700)
        await asyncio.sleep(0.05)
        used = list(guard.rules.large.used)
        client.send(700)
        return used, await client.answer()

    used, answer = asyncio.run(work())
    assert used == [1, 700] and answer.status == 503


def test_a_body_may_not_be_longer_than_it_said_by_much():
    async def work():
        room = Room(10, 1000)
        request = Request(scope_of("/x", content_length="3"))
        parts = iter([b"x" * 5, b"x" * 5])

        async def receive():
            return {"type": "http.request", "body": next(parts), "more_body": True}

        with room.place("a", 3) as place:
            body = Body(request, receive, 8, "Too large.", place)
            await body.receive()
            assert room.used == [1, 5]
            with pytest.raises(Refused):
                await body.receive()
            assert json.loads(bytes(body.refused.response.body))["detail"] == "Too large."
        assert room.used == [0, 0]

    asyncio.run(work())


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_request_is_always_let_in(share):
    room = Room(2, 100, share)
    with room.place("a", 100):
        pass
    with pytest.raises(Refused), room.place("a", 101):
        pass
    assert room.used == [0, 0]


def test_open_answers_are_bounded_in_number_and_time(monkeypatch):
    async def stream(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body"})

    async def work():
        guard = Guard(stream, Rules(streams=Room(2)))
        path = "/gradio_api/heartbeat/ab"
        open_ones = []
        for address in ("a", "b"):
            scope = scope_of(path, "GET", address)
            open_ones.append(asyncio.ensure_future(guard(scope, asyncio.Event().wait, _ignore)))
        await asyncio.sleep(0)
        sent = []

        async def hear(message):
            sent.append(message)

        await guard(scope_of(path, "GET", "c"), asyncio.Event().wait, hear)
        assert Answer(sent).status == 503
        await asyncio.gather(*open_ones)
        assert guard.rules.streams.used == [0, 0]

    monkeypatch.setattr(_guard, "STREAM_SECONDS", 0.2)
    asyncio.run(work())


async def _ignore(_):
    pass
