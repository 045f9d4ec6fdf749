"""Long jobs over the network: Cancel and a closed tab stop them, and they keep nobody waiting."""

from __future__ import annotations

import http.client
import json
import threading
import time
import uuid
from contextlib import contextmanager
from urllib.parse import urlsplit

import gradio as gr
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

import app
from core import restore
from core.serving import runtime
from demos.gradio_patches import queue
from demos.server.answer import BUSY
from demos.shell import ui
from tests.conftest import PATIENCE, make_picture, wait_for

pytestmark = pytest.mark.slow
SECONDS = PATIENCE


@pytest.fixture(scope="module")
def page():
    with app.served_page() as built:
        yield built


@pytest.fixture
def client(page):
    return Client(page.local_url, verbose=False)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "large.png"
    Image.fromarray(make_picture(256, 256)).save(path)
    return path


@pytest.fixture
def gate(page, monkeypatch):
    """Counts the model calls of restoration; each waits, off the device, until released."""
    wait_for(lambda: at_rest(page))  # a job of the test before would be counted

    class Gate:
        def __init__(self):
            self.calls, self.open = 0, threading.Semaphore(0)

        def let(self, count=10_000):
            for _ in range(count):
                self.open.release()

        def until(self, calls):
            wait_for(lambda: self.calls >= calls)

    made, run = Gate(), restore.Net.__call__

    def counted(self, *args):
        made.calls += 1
        assert made.open.acquire(timeout=SECONDS)
        return run(self, *args)

    monkeypatch.setattr(restore, "TILES", (128, 128, 128))
    monkeypatch.setattr(restore.Net, "__call__", counted)
    yield made
    made.let()


def in_use():
    return sum(model["in_use"] for model in runtime.models().stats()["models"])


def wanted(page):
    """The events for whose answer somebody waits."""
    return [event for event in list(page._queue.event_ids_to_events.values()) if event.alive]


def at_rest(page):
    """No job waits, begins or runs. Between the queue and its model, a job is in neither."""
    return in_use() == 0 and not page._queue.event_ids_to_events


def stops(gate, after):
    """The call that was under way ends; no other follows, and the model is given back."""
    gate.let()
    wait_for(lambda: in_use() == 0)
    time.sleep(0.2)
    assert gate.calls <= after + 1, "the job went on"


class Raw:
    """Gradio's own protocol, as the page speaks it, with a connection that can be closed."""

    def __init__(self, page, client, picture):
        self.page = page
        self.address = urlsplit(page.local_url).netloc
        self.session = uuid.uuid4().hex
        uploaded = client.predict(handle_file(picture), api_name="/classify")
        assert uploaded
        self.path = upload(self.address, picture)

    def post(self, path, body):
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.load(response)

    def body(self, fn_index):
        """What the page sends for this button: the picture, and the other inputs as they stand."""
        image = {"path": self.path, "meta": {"_type": "gradio.FileData"}}
        inputs = self.page.fns[fn_index].inputs
        data = [image if isinstance(block, gr.Image) else block.value for block in inputs]
        assert image in data
        return {"data": data, "fn_index": fn_index, "session_hash": self.session}

    def join(self, fn_index):
        status, answer = self.post("/gradio_api/queue/join", self.body(fn_index))
        assert status == 200, answer
        return answer["event_id"]

    @contextmanager
    def listening(self):
        connection = http.client.HTTPConnection(self.address, timeout=SECONDS)
        connection.request("GET", f"/gradio_api/queue/data?session_hash={self.session}")
        response = connection.getresponse()
        assert response.read(5) == b"data:"
        yield
        connection.sock.close()
        response.close()


def upload(address, picture):
    edge = uuid.uuid4().hex
    body = (
        f'--{edge}\r\nContent-Disposition: form-data; name="files"; filename="p.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    body += picture.read_bytes() + f"\r\n--{edge}--\r\n".encode()
    connection = http.client.HTTPConnection(address, timeout=SECONDS)
    headers = {"Content-Type": f"multipart/form-data; boundary={edge}"}
    connection.request("POST", "/gradio_api/upload", body, headers)
    return json.load(connection.getresponse())[0]


@pytest.fixture
def raw(page, client, picture):
    return Raw(page, client, picture)


def tab_handler(page):
    """The number of the event behind the Denoise button."""
    button = next(b for b in page.blocks.values() if getattr(b, "elem_id", "") == "denoise-run")
    return next(i for i, fn in page.fns.items() if (button._id, "click") in fn.targets)


def test_cancel_by_a_client_stops_an_endpoint(client, picture, gate):
    job = client.submit(handle_file(picture), sigma=20, api_name="/denoise")
    gate.let(2)
    gate.until(3)
    job.cancel()
    stops(gate, 3)


def test_a_client_that_goes_away_stops_an_endpoint(page, raw, gate):
    body = {"data": [{"path": raw.path, "meta": {"_type": "gradio.FileData"}}, "auto", 20]}
    _, answer = raw.post("/gradio_api/call/denoise", body)
    connection = http.client.HTTPConnection(raw.address, timeout=SECONDS)
    connection.request("GET", f"/gradio_api/call/denoise/{answer['event_id']}")
    response = connection.getresponse()
    gate.let(2)
    gate.until(3)
    connection.close()
    response.close()
    wait_for(lambda: not wanted(page))
    stops(gate, 3)


def test_a_closed_tab_stops_its_job(page, raw, gate):
    raw.join(tab_handler(page))
    with raw.listening():
        gate.let(2)
        gate.until(3)
    wait_for(lambda: not wanted(page))
    stops(gate, 3)


def test_the_cancel_button_stops_its_job(page, raw, gate):
    fn = tab_handler(page)
    event = raw.join(fn)
    with raw.listening():
        gate.let(2)
        gate.until(3)
        cancelled = {"session_hash": raw.session, "fn_index": fn, "event_id": event}
        done = threading.Thread(target=raw.post, args=("/gradio_api/cancel", cancelled))
        done.start()
        time.sleep(0.5)  # it waits for the tile that is under way, and no other follows
        stops(gate, 3)
        wait_for(lambda: not wanted(page))
        done.join(SECONDS)


def test_short_requests_are_answered_while_long_jobs_fill_their_queue(client, picture, gate):
    jobs = [
        client.submit(handle_file(picture), sigma=20 + i, api_name="/denoise") for i in range(5)
    ]
    gate.until(ui.LONG_QUEUE[1])  # as many as may, and the others wait
    label, _ = client.predict(handle_file(picture), top_k=3, api_name="/classify")
    assert label["label"]
    assert gate.calls == ui.LONG_QUEUE[1]
    gate.let()
    for job in jobs:
        path, info = job.result(timeout=SECONDS)
        assert info["checkpoint"] == "denoise-starter"
    assert np.asarray(Image.open(path)).shape == (256, 256, 3)


def test_long_jobs_start_after_others_were_cancelled_before_they_began(page, client, raw, gate):
    number = next(i for i, fn in page.fns.items() if fn.api_name == "segment_everything")
    image = {"path": raw.path, "meta": {"_type": "gradio.FileData"}}
    for _ in range(3):
        body = {"data": [image, "auto", 4], "fn_index": number, "session_hash": raw.session}
        answers = [raw.post("/gradio_api/queue/join", body) for _ in range(12)]
        events = [answer["event_id"] for status, answer in answers if status == 200]
        assert len(events) >= 4
        assert {status for status, _ in answers} <= {200, 429}
        for event in events:
            one = {"session_hash": raw.session, "fn_index": number, "event_id": event}
            assert raw.post("/gradio_api/cancel", one)[0] == 200
    gate.let()
    for endpoint in ("/denoise", "/deblur"):
        _, info = client.predict(raw_picture(raw), api_name=endpoint)
        assert info["checkpoint"].startswith(endpoint[1:])


def crowd(page, raw, gate, waiting):
    """As many long jobs at work as may, and some that wait; the body that asks for one more."""
    fn = tab_handler(page)
    for _ in range(ui.LONG_QUEUE[1]):
        raw.join(fn)
    gate.until(ui.LONG_QUEUE[1])
    for _ in range(waiting):
        raw.join(fn)
    return raw.body(fn)


def test_a_full_queue_is_said_at_once(page, client, raw, gate, monkeypatch):
    monkeypatch.setattr(page._queue, "max_size", 2)
    body = crowd(page, raw, gate, waiting=2)
    status, answer = raw.post("/gradio_api/queue/join", body)  # no job ends meanwhile
    assert status == 503
    assert answer["detail"] == BUSY
    with raw.listening():
        pass  # the tab is closed, and its jobs end
    time.sleep(0.3)
    gate.let()
    wait_for(lambda: at_rest(page))
    label, _ = client.predict(raw_picture(raw), api_name="/classify")
    assert label["label"]


def test_a_crowd_of_long_jobs_leaves_room_for_short_requests(page, client, raw, gate, monkeypatch):
    monkeypatch.setattr(queue, "LONG_WAITING", 2)
    body = crowd(page, raw, gate, waiting=2)
    status, answer = raw.post("/gradio_api/queue/join", body)
    assert (status, answer["detail"]) == (503, BUSY)
    label, _ = client.predict(raw_picture(raw), api_name="/classify")  # while they wait
    assert label["label"]
    with raw.listening():
        pass
    time.sleep(0.3)
    gate.let()
    wait_for(lambda: at_rest(page))


def raw_picture(raw):
    return handle_file(raw.path)


def test_a_refused_job_does_not_hold_its_place(client, picture, gate):
    gate.let()
    with pytest.raises(AppError, match="Sigma must lie"):
        client.predict(handle_file(picture), sigma=1000, api_name="/denoise")
    assert in_use() == 0
