"""Events begin in their order, every visitor gets places, and no slot is lost."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
import time
import uuid
from urllib.parse import urlsplit

import gradio as gr
import pytest
from gradio_client import Client

import app
from demos import _page
from demos.gradio_patches import queue as _queue
from demos.gradio_patches import streams
from demos.shell import ui
from tests.conftest import PATIENCE, wait_for

SECONDS = PATIENCE


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Hub:
    """A served page with a short and a long handler that wait for their turn to end."""

    def __init__(self):
        self.begun, self.go_on, self.ended = [], threading.Semaphore(0), []
        with _page.Page() as self.page:
            box, out = gr.Textbox(), gr.Textbox()
            box.submit(self.work, box, out, api_name="work", concurrency_id="one")
            box.submit(
                self.long, box, out, api_name="long", concurrency_id=ui.LONG_QUEUE[0],
                concurrency_limit=1,
            )  # fmt: skip
        app.launch(
            self.page, prevent_thread_lock=True, quiet=True, server_name="127.0.0.1",
            server_port=free_port(), share=False, auth=None,
        )  # fmt: skip
        self.queue = self.page._queue
        self.address = urlsplit(self.page.local_url).netloc
        self.numbers = {fn.api_name: number for number, fn in self.page.fns.items()}

    def work(self, name):
        self.begun.append(name)
        assert self.go_on.acquire(timeout=SECONDS)
        if name == "bad":
            raise ValueError(name)
        return name

    def long(self, name):
        self.begun.append(name)
        try:
            while not self.go_on.acquire(timeout=0.01):
                yield gr.skip()
            yield name
        finally:
            self.ended.append(name)

    def asked(self, name):
        """A request by a client that is in the queue or begun."""
        before = self.queue.events_recorded
        job = Client(self.page.local_url, verbose=False).submit(name, api_name="/work")
        wait_for(lambda: self.queue.events_recorded > before)
        return job

    def post(self, path, body, cookie=None):
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        headers = {"Content-Type": "application/json"}
        if cookie:
            headers["Cookie"] = f"vision_hub_visitor={cookie}"
        try:
            connection.request("POST", f"/gradio_api/{path}", json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.load(response)
        finally:
            connection.close()

    def join(self, session, name="x", cookie=None, endpoint="long"):
        """Status and answer of a request without anybody listening for what comes of it."""
        body = {"data": [name], "fn_index": self.numbers[endpoint], "session_hash": session}
        return self.post("queue/join", body, cookie)

    def cancel(self, session, event):
        body = {"fn_index": self.numbers["long"], "session_hash": session, "event_id": event}
        assert self.post("cancel", body)[0] == 200

    def listen(self, session):
        """The messages of a session, until the server ends the stream."""
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
        lines = [line for line in connection.getresponse() if line.startswith(b"data: ")]
        connection.close()
        return [json.loads(line[6:]) for line in lines]

    def is_idle(self):
        lines = self.queue.event_queue_per_concurrency_id.values()
        busy = [line for line in lines if line.queue or line.current_concurrency]
        return not busy and not any(self.queue.active_jobs)


@pytest.fixture
def hub():
    made = Hub()
    try:
        yield made
    finally:
        made.go_on.release(500)
        made.page.close()


def test_they_begin_in_their_order_each_when_the_one_before_it_ends(hub):
    jobs = [hub.asked(name) for name in "abc"]
    for count, job in enumerate(jobs, start=1):
        wait_for(lambda count=count: len(hub.begun) == count)
        time.sleep(0.1)
        assert len(hub.begun) == count, "two at once where one may run"
        hub.go_on.release()
        assert job.result(SECONDS) == "abc"[count - 1]
    assert hub.begun == ["a", "b", "c"]


def test_one_that_fails_makes_room_too(hub):
    bad, good = hub.asked("bad"), hub.asked("good")
    hub.go_on.release(2)
    with pytest.raises(Exception, match=r".+"):
        bad.result(SECONDS)
    assert good.result(SECONDS) == "good"
    assert hub.begun == ["bad", "good"]


def test_one_taken_back_while_it_waits_does_not_begin(hub):
    first, second, third = (hub.asked(name) for name in "abc")
    second.cancel()
    wait_for(lambda: len(hub.queue) == 1)
    hub.go_on.release(2)
    assert first.result(SECONDS) == "a"
    assert third.result(SECONDS) == "c"
    assert hub.begun == ["a", "c"]


# --- jobs that are cancelled ---


def without_limits(monkeypatch):
    for name in ("VISITOR_LONG", "ADDRESS_LONG", "ADDRESS_ALL", "LONG_WAITING"):
        monkeypatch.setattr(_queue, name, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("at_once", [False, True])
def test_long_jobs_start_after_crowds_of_cancelled_ones(hub, monkeypatch, at_once):
    without_limits(monkeypatch)
    monkeypatch.setattr(_queue, "UNHEARD_SECONDS", 20.0)  # so long runs what nobody listens to
    monkeypatch.setattr(_queue, "SWEEP_SECONDS", 0.2)
    for number in range(6):
        session = f"crowd{number}"
        events = [hub.join(session)[1]["event_id"] for _ in range(40)]
        cancels = [threading.Thread(target=hub.cancel, args=(session, e)) for e in events]
        for thread in cancels:
            thread.start()
            if not at_once:
                thread.join(SECONDS)
        for thread in cancels:
            thread.join(SECONDS)
        hub.join(session)  # one whose end is not awaited: it waits, or it runs
        hub.cancel(session, "another event, which cancels what runs all the same")
    wait_for(lambda: len(hub.ended) == len(hub.begun))
    status, answer = hub.join("after", "after")
    assert status == 200, answer
    wait_for(lambda: "after" in hub.begun)
    hub.go_on.release(40)
    last = [m for m in hub.listen("after") if m["msg"] == "process_completed"]
    assert last[0]["success"] and last[0]["output"]["data"] == ["after"]
    wait_for(hub.is_idle)
    wait_for(lambda: not hub.queue.event_ids_to_events)


def test_a_job_cancelled_before_its_first_step_frees_its_slot(hub):
    """The moment between the start of a task and its first step, which is hard to hit from
    outside: here it is hit each time."""
    started = []
    run = hub.page.places.process_events

    def cancelled_at_once(events, *rest):
        coroutine = run(events, *rest)
        started.append(events[0]._id)
        asyncio.get_running_loop().call_soon(cancel, events[0]._id)
        return coroutine

    def cancel(event_id):
        for task in asyncio.all_tasks():
            if task.get_name().endswith(f"<gradio-sep>{event_id}"):
                task.cancel()

    # `call_soon` above comes before the task's own first step, as a cancel from outside may.
    hub.queue.process_events = cancelled_at_once
    for count in range(1, 6):
        hub.join("s")
        wait_for(lambda count=count: len(started) == count)
        wait_for(hub.is_idle)
    assert hub.begun == []
    wait_for(lambda: not hub.queue.event_ids_to_events)
    hub.queue.process_events = run
    hub.join("s", "after")
    wait_for(lambda: hub.begun == ["after"])


# --- the share of each visitor ---


def joins(hub, count, cookie=None, endpoint="long"):
    """What a visitor is told who joins so often, each time as another session."""
    return [hub.join(uuid.uuid4().hex, "x", cookie, endpoint) for _ in range(count)]


def refused(answers):
    return [answer["detail"] for status, answer in answers if status != 200]


def test_one_visitors_crowd_leaves_places_to_the_others(hub):
    joins(hub, 1)
    wait_for(lambda: hub.begun)
    answers = joins(hub, 33, "anna")
    assert [status for status, _ in answers] == [200] * 4 + [429] * 29
    assert set(refused(answers)) == {_queue.WAITING.format(4)}
    assert not refused(joins(hub, 4, "bert")), "another visitor from the same address"
    assert not refused(joins(hub, 4)), "one without a cookie"


def test_new_cookies_do_not_make_a_crowd_of_visitors(hub):
    joins(hub, 1)
    wait_for(lambda: hub.begun)
    answers = [joins(hub, 1, f"cookie{n}")[0] for n in range(40)]
    assert len(answers) - len(refused(answers)) == _queue.ADDRESS_LONG
    assert set(refused(answers)) == {_queue.SHARED.format(_queue.ADDRESS_LONG)}
    short = hub.asked("short")  # meanwhile
    hub.go_on.release(50)
    assert short.result(SECONDS) == "short"


def test_an_address_cannot_fill_the_queue_with_short_requests(hub):
    answers = joins(hub, _queue.SIZE + 8, endpoint="work")
    assert len(hub.queue) == _queue.ADDRESS_ALL < _queue.SIZE
    assert set(refused(answers)) == {_queue.SHARED.format(_queue.ADDRESS_ALL)}


def test_places_come_back(hub):
    joins(hub, 1)
    wait_for(lambda: hub.begun)
    session = "mine"
    events = [hub.join(session)[1]["event_id"] for _ in range(4)]
    assert hub.join(session)[0] == 429
    hub.cancel(session, events[0])
    assert hub.join(session)[0] == 200


# --- jobs that nobody listens for ---


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(_queue, "UNHEARD_SECONDS", 0.5)
    monkeypatch.setattr(_queue, "SWEEP_SECONDS", 0.05)


def test_jobs_that_nobody_listens_for_end(hasty, hub):
    joins(hub, 4)
    wait_for(lambda: hub.is_idle() and not hub.queue.event_ids_to_events)
    assert hub.begun == hub.ended  # those that had begun were stopped
    hub.join("late")
    wait_for(hub.is_idle)
    told = [m for m in hub.listen("late") if m["msg"] == "process_completed"]
    assert told[0]["output"]["error"] == _queue.UNHEARD


def test_a_job_that_is_listened_for_goes_on(hasty, hub):
    hub.join("heard")
    heard = []
    listener = threading.Thread(target=lambda: heard.extend(hub.listen("heard")))
    listener.start()
    wait_for(lambda: "heard" in hub.page.places._listening)
    time.sleep(1.5)  # three times as long as one that nobody hears may last
    assert not hub.ended
    hub.go_on.release(20)
    listener.join(SECONDS)
    assert [m["output"]["data"] for m in heard if m["msg"] == "process_completed"] == [["x"]]


def test_an_endpoint_is_listened_for_by_its_event(hasty, hub):
    _, answer = hub.post("call/long", {"data": ["x"], "session_hash": "mine"})
    lines = []

    def listen():
        connection = http.client.HTTPConnection(hub.address, timeout=SECONDS)
        connection.request("GET", f"/gradio_api/call/long/{answer['event_id']}")
        lines.extend(connection.getresponse().read().decode().splitlines())

    listener = threading.Thread(target=listen)
    listener.start()
    wait_for(lambda: answer["event_id"] in hub.page.places._listening)
    time.sleep(1.5)
    assert not hub.ended
    hub.go_on.release(20)
    listener.join(SECONDS)
    assert "event: complete" in lines


def left(hub, session):
    """Listen until the first message, and go."""
    connection = http.client.HTTPConnection(hub.address, timeout=SECONDS)
    connection.request("GET", f"/gradio_api/queue/data?session_hash={session}")
    response = connection.getresponse()
    next(line for line in response if line.startswith(b"data: "))
    response.close()
    connection.close()


def test_a_page_that_listens_again_gets_all_that_is_still_to_come(hub):
    for number in range(3):
        session = f"again-{number}"
        hub.join(session, name=str(number))
        for _ in range(3):
            left(hub, session)
        hub.go_on.release()
        done = [m for m in hub.listen(session) if m["msg"] == "process_completed"]
        assert [m["output"]["data"] for m in done] == [[str(number)]]
    assert hub.begun == hub.ended == ["0", "1", "2"]


def left_at_once(newest=lambda session: None):
    """What Gradio is told of the clients of a session, and a coroutine function for one client that
    leaves at once."""
    told = []

    async def gradio(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        told.append(await receive())

    async def leaves():
        return {"type": "http.disconnect"}

    async def ignores(message):
        pass

    served = streams.Streams(gradio, newest)
    return told, lambda: served.serve("s", {}, leaves, ignores)


def test_each_client_that_leaves_has_the_whole_time_to_come_back(monkeypatch):
    """Timers of one loop end in the order of their times, however busy the machine is."""
    monkeypatch.setattr(streams, "GRACE", 0.4)
    told, client = left_at_once()

    async def play():
        first = asyncio.ensure_future(client())
        await asyncio.sleep(0.25)
        second = asyncio.ensure_future(client())
        await asyncio.sleep(0.25)
        assert told == [], "the time of the first is over, that of the second is not"
        await asyncio.gather(first, second)
        assert told == [{"type": "http.disconnect"}]

    asyncio.run(play())


def body(message):
    return {"type": "http.response.body", "body": b"data: " + json.dumps(
        message, separators=(",", ":")).encode() + b"\n\n", "more_body": True}  # fmt: skip


def test_one_that_asked_while_it_was_away_has_the_whole_time_from_then(monkeypatch):
    """A page asks for something new, and for its stream a moment later."""
    monkeypatch.setattr(streams, "GRACE", 0.4)
    asked = []
    told, client = left_at_once(lambda session: max(asked, default=None))

    async def play():
        first = asyncio.ensure_future(client())
        await asyncio.sleep(0.3)
        asked.append(time.monotonic())
        await asyncio.sleep(0.2)
        assert told == [], "it would have lost what it has just asked for"
        await first
        assert told == [{"type": "http.disconnect"}]

    asyncio.run(play())


def played(script, waits=True):
    """What each client of a session gets, where Gradio sends the steps of `script` one by one and
    "next" is a client that comes while the one before has left without the server's noticing;
    `waits` is whether that one has asked for something new."""
    got: list[list[str]] = []

    async def play():
        now, go_on = asyncio.Event(), asyncio.Queue()

        async def gradio(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                message = await go_on.get()
                await send(body(message))
                if message["msg"] == "close_stream":
                    await asyncio.sleep(0.03)  # it has yet to end
                    break
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive():
            await now.wait()
            return {"type": "http.disconnect"}

        served = streams.Streams(gradio, lambda session: 0.0 if waits else None)
        clients = []

        def come():
            mine: list[str] = []
            got.append(mine)

            async def send(message):
                if message.get("body"):
                    told = json.loads(message["body"][6:])
                    mine.append(f"{told['event_id']} {told['msg']}")
                elif message.get("more_body") is False:
                    mine.append("the end")

            clients.append(asyncio.ensure_future(served.serve("s", {}, receive, send)))

        come()
        for step in script:
            await asyncio.sleep(0.01)
            if step == "next":
                come()
            elif step is not None:  # else only time goes by
                go_on.put_nowait(step)
        await asyncio.sleep(0.05)
        for one in clients:
            one.cancel()

    asyncio.run(play())
    return got


def told(event, kind):
    return {"msg": kind, "event_id": event}


def test_a_client_that_comes_late_gets_what_was_sent_to_the_one_that_had_left():
    first = [told("a", "process_starts"), told("a", "process_completed")]
    second = [told("b", "process_starts"), told("b", "process_completed")]
    close = told(None, "close_stream")
    done, known = ["b process_starts", "b process_completed"], ["a process_completed"]
    # The client closed its stream after "a", or lost it; "b" was sent before the server noticed.
    assert played([*first, *second, "next"])[1] == known + done
    assert played([*first, second[0], "next", second[1]])[1] == known + done
    # So it was, and then Gradio ended the stream; the client waits for another event.
    assert played([*first, *second, close, *[None] * 4, "next"])[1] == done
    # Gradio ends the stream as the next client comes, who must not be told that.
    assert played([*first, close, "next", *second])[1] == done
    # An event that goes on is of a client that hears of it; nothing comes twice.
    assert played([first[0], "next", first[1]])[1] == known


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "ending"])
def test_a_client_that_missed_the_end_of_all_gets_it(ended):
    """Without this it would wait for ever: Gradio has nothing more to send."""
    first = [told("a", "process_starts"), told("a", "process_completed")]
    missed = [told("b", "process_starts"), told("b", "process_completed")]
    close, pause = told(None, "close_stream"), [None] * 4 * ended
    ends = ["None close_stream", "the end"]
    once = ["a process_completed", *ends]
    assert played([*first, close, *pause, "next"], waits=False)[1] == once
    twice = ["a process_completed", "b process_starts", "b process_completed", *ends]
    assert played([*first, *missed, close, *pause, "next"], waits=False)[1] == twice
    both = [first[0], missed[0], first[1], missed[1], close]
    ended_both = ["a process_completed", "b process_completed", *ends]
    assert played([*both, *pause, "next"], waits=False)[1] == ended_both


def test_the_jobs_of_a_page_that_does_not_come_back_are_stopped(hub, monkeypatch):
    monkeypatch.setattr(streams, "GRACE", 0.2)
    hub.join("gone")
    left(hub, "gone")
    wait_for(hub.is_idle)
    assert hub.begun == hub.ended


def test_nothing_is_kept_of_sessions_that_are_over(hasty, hub, monkeypatch):
    monkeypatch.setattr(_queue, "FORGET_SECONDS", 0.5)
    hub.go_on.release(100)
    for _ in range(3):
        joins(hub, 1)  # its answer is never fetched
        session = uuid.uuid4().hex
        hub.join(session)
        assert hub.listen(session)
    queue, places = hub.queue, hub.page.places
    kept = (queue.pending_event_ids_session, queue.event_ids_to_events)
    wait_for(lambda: not any(map(len, kept)) and not places._heard and not places._unfetched)
    assert len(queue.pending_messages_per_session) == 0
    wait_for(places._sweeper.done)


# --- what it costs when nobody is there ---


def test_an_idle_queue_looks_seldom(hub, monkeypatch):
    naps, sleep = [], asyncio.sleep

    def counted(delay, *args):
        naps.append(delay)
        return sleep(delay, *args)

    job = hub.asked("a")
    wait_for(lambda: hub.begun == ["a"])
    monkeypatch.setattr(asyncio, "sleep", counted)
    time.sleep(1)  # one works, nobody waits
    looks = naps.count(_queue.LOOK_SECONDS)
    assert 0 < looks <= 110, "Gradio's own way looks a thousand times a second"
    hub.go_on.release()
    assert job.result(SECONDS) == "a"


# --- values that wait ---


def test_large_values_of_one_address_wait_up_to_a_limit(hub, monkeypatch):
    monkeypatch.setattr(_queue, "ADDRESS_HELD", 5_000_000)
    large = "x" * 2_000_000
    statuses = [hub.join(f"large{number}", large, endpoint="work")[0] for number in range(3)]
    assert statuses == [200, 200, 429]
    status, answer = hub.join("another", large, endpoint="work")
    assert status == 429 and "upload the file" in answer["detail"]
    assert hub.join("small", "a small one", endpoint="work")[0] == 200
    hub.go_on.release(3)
    wait_for(hub.is_idle)
    assert hub.join("later", large, endpoint="work")[0] == 200, "what was answered counts no more"
    hub.go_on.release()
    wait_for(hub.is_idle)


def test_large_values_of_all_addresses_wait_up_to_a_limit(hub, monkeypatch):
    monkeypatch.setattr(_queue, "HELD", 3_000_000)
    assert hub.join("one", "x" * 2_000_000, endpoint="work")[0] == 200
    assert hub.join("two", "x" * 2_000_000, endpoint="work")[0] == 429
    hub.go_on.release()
    wait_for(hub.is_idle)


def test_the_length_of_all_strings_in_values():
    assert _queue.characters(["abc", {"url": "12345", "more": [1, None, ["67"]]}, True]) == 10
