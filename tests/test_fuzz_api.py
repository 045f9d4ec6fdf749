"""Anything as the JSON of every endpoint and of every event of the page: an answer or a sentence
that was meant for it, never that of a crash, and then the next is right."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.faults import is_clear
from benchmarks.soak import ROUND, Caller
from demos import _ui
from tests.live import hub

pytestmark = pytest.mark.slow
# Values that are nearly right lead deeper than random ones.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.just(10**400),  # no float holds it
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["auto", "own:x", "classify-starter", "../..", "\0", "\ud800", "a" * 300]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["path", "url", "meta", "_type", "x", "size", "is_stream"]),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=6,
)
# Near those that fit, and where conversions end; none that makes a long job of a grid of points.
NUMBERS = st.floats(-2, 5) | st.integers(-2, 5) | st.sampled_from([120, 10**400, 1e300, 5e-324])
POINTS = st.lists(st.lists(st.integers(-9, 99) | NUMBERS | SCALARS, max_size=4), max_size=3)
ENDPOINTS = sorted({endpoint for endpoint, *_ in ROUND} | {"segment_everything"})
WITHOUT_VALUES = ["checkpoints", "status"]
# What fits, and what does not quite: at most one odd value is sent at a time, since the first that
# is refused hides the others.
FITTING = {
    "checkpoint": ["auto"],
    "top_k": [1, 5],
    "temperature": [1.0],
    "threshold": [0.0, 0.7],
    "mask_ratio": [0.75],
    "seed": [0],
    "sigma": [None, 20],
    "scale": [2, 4],
    "points": [[[20, 20, 1]], [[9, 9, 1], [30, 30, 0]]],
    "box": [None, [5, 5, 40, 30]],
    "multimask": [True, False],
    "points_per_side": [4],
}
ODD = {
    "checkpoint": VALUES,
    "points": POINTS | st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=2) | VALUES,
    "box": st.lists(NUMBERS, min_size=3, max_size=5) | VALUES,
    "multimask": VALUES,
}
SECONDS = 60  # within which an event of the page must have ended


def bounded(examples):
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,  # the same cases in every run, so that a failure is nobody's bad luck
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture(scope="module")
def caller():
    with hub() as address:
        port = urlsplit(address).port
        asking = Caller(port, 0)
        asking.right = [asking.ask(*row, fresh=False)[0] for row in ROUND[:1]]
        path = asking._upload(asking._picture(64, fresh=False))
        asking.picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        yield asking


def got(port, path):
    """JSON of the server."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def post(port, path, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        kind = {"Content-Type": "application/json"}
        connection.request("POST", f"/gradio_api/{path}", body, kind)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def said(caller, endpoint, body):
    """None for an answer; else the sentence of a refusal. Fails where it is none."""
    status, text = post(caller.port, f"call/{endpoint}", body)
    if status != 200:
        assert status in (400, 403, 404, 413, 422), (status, text)
        assert "Traceback" not in text and 'File "' not in text
        return json.loads(text)["detail"]
    stream = caller._request("GET", f"call/{endpoint}/{json.loads(text)['event_id']}").decode()
    if "event: complete" in stream:
        return None
    error = json.loads(stream.rsplit("\ndata: ", 1)[1])
    assert_meant(error["error"], body)
    return error["error"]


def assert_meant(sentence, sent):
    """A clear sentence, and not the one of a handler that crashed."""
    assert is_clear(sentence or ""), (sentence, sent)
    assert sentence != _ui._UNEXPECTED, sent


def is_well(caller):
    """The next request is right."""
    return [caller.ask(*row, fresh=False)[0] for row in ROUND[:1]] == caller.right


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, *WITHOUT_VALUES])
def test_any_values_with_a_picture(caller, endpoint):
    @bounded(8)
    @given(st.lists(st.one_of(VALUES, POINTS), max_size=5))
    def fuzz(values):
        said(caller, endpoint, json.dumps({"data": [caller.picture, *values]}))

    fuzz()
    assert is_well(caller)


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_odd_values_reach_the_handlers(caller, endpoint):
    known = got(caller.port, "/gradio_api/info")["named_endpoints"][f"/{endpoint}"]["parameters"]
    names = [parameter["parameter_name"] for parameter in known]
    assert names[0] == "image"
    heard = set()

    @bounded(40)
    @given(st.data())
    def fuzz(data):
        values = [data.draw(st.sampled_from(FITTING[name])) for name in names[1:]]
        odd = data.draw(st.integers(0, len(values)))
        if odd < len(values):
            values[odd] = data.draw(ODD.get(names[odd + 1], NUMBERS | VALUES))
        heard.add(said(caller, endpoint, json.dumps({"data": [caller.picture, *values]})))

    fuzz()
    assert None in heard and len(heard) > 1  # some were answered, others refused
    assert is_well(caller)


def test_any_json_for_any_endpoint(caller):
    @bounded(8)
    @given(
        st.sampled_from([*ENDPOINTS, *WITHOUT_VALUES, "nothing", "v2/classify", "v2/nothing"]),
        st.one_of(VALUES, st.fixed_dictionaries({"data": VALUES})),
    )
    def fuzz(endpoint, value):
        status, text = post(caller.port, f"call/{endpoint}", json.dumps(value))
        if status != 200:
            assert is_a_refusal(status, text), (status, text)

    fuzz()
    assert is_well(caller)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("queue/join", {"data": [], "fn_index": 9999, "session_hash": "s"}),
        ("queue/join", {"data": [], "fn_index": -1, "session_hash": "s"}),
        ("queue/join", {"data": [], "fn_index": "x", "session_hash": "s"}),
        ("queue/join", {"data": [], "fn_index": 0, "session_hash": "s" * 1000}),
        ("queue/join", {}),
        ("call/nope", {"data": []}),
        ("call/v2/classify", {"foo": 1}),
        ("call/v2/classify", {}),
        ("upload", {"no": "file"}),
    ],
)
def test_requests_that_no_page_sends_get_a_sentence(caller, path, value):
    status, text = post(caller.port, path, json.dumps(value))
    assert is_a_refusal(status, text), (status, text)
    assert is_well(caller)


def is_a_refusal(status, text):
    """Whether a status below 500 comes with one clear sentence."""
    return status < 500 and is_clear(json.loads(text)["detail"])


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}, "upload it again"),
        ({"path": "/etc/hosts"}, "upload it again"),
        ({"url": "http://127.0.0.1:9/a.png"}, "upload a picture"),
        ({"path": "http://127.0.0.1:9/a.png", "meta": {"_type": "gradio.FileData"}}, "not fetch"),
        ({"url": "data:image/png;base64,!!!!"}, "not valid base64"),
        ({"url": "data:image/png,abc"}, "must be base64"),
        ({"url": "data:image/png;base64,aGVsbG8="}, "not a picture"),
        ({}, "upload a picture"),
        ([], "do not fit"),
        ("photo.png", "do not fit"),
    ],
)
def test_pictures_that_are_none(caller, image, words):
    sentence = said(caller, "classify", json.dumps({"data": [image, "auto", 5, 1]}))
    assert words in sentence and is_clear(sentence)


def test_a_data_url_is_a_picture(caller):
    import base64

    content = base64.b64encode(caller._picture(64, fresh=False)).decode()
    image = {"url": f"data:image/jpeg;base64,{content}"}
    assert said(caller, "classify", json.dumps({"data": [image, "auto", 5, 1]})) is None


def test_nothing_of_the_server_is_served(caller):
    for path in ("/etc/passwd", "app.py", "../app.py", "core/settings.py", "%2e%2e/app.py"):
        connection = http.client.HTTPConnection("127.0.0.1", caller.port, timeout=30)
        connection.request("GET", f"/gradio_api/file={path}")
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status in (403, 404), path
        assert "root:" not in text and "import" not in text
        connection.close()


# --- the events of the page itself ---


class Visit:
    """A page that somebody has open: what its gr.State holds lasts from event to event."""

    def __init__(self, caller):
        self.port, self.picture = caller.port, caller.picture
        self.config = got(self.port, "/config")
        self.components = {one["id"]: one for one in self.config["components"]}
        self.events = [e for e in self.config["dependencies"] if e["api_visibility"] == "private"]
        self.session = uuid.uuid4().hex

    def event(self, name):
        return next(event for event in self.events if event["api_name"] == name)

    def fitting(self, event):
        """What the page sends for an event while nobody has changed a control."""
        return [self._value(self.components[number]) for number in event["inputs"]]

    def _value(self, component):
        own = {"image": self.picture, "dataset": 0, "state": None}
        return own.get(component["type"], component["props"].get("value"))

    def send(self, event, data, event_data=None, **more):
        """Outputs of an event, and the sentences that it shows. Fails where one is none."""
        body = {"fn_index": event["id"], "session_hash": self.session, "data": data, **more}
        sent = json.dumps({**body, "event_data": event_data})
        status, text = post(self.port, "queue/join", sent)
        if status != 200:
            assert is_a_refusal(status, text), (status, text, sent)
            return [], [json.loads(text)["detail"]]
        outputs, sentences = [], []
        for message in self._messages(sent):
            kind, output = message["msg"], message.get("output") or {}
            assert kind != "unexpected_error", (message, sent)
            assert _ui._UNEXPECTED not in json.dumps(message), (event["api_name"], sent)
            if kind == "log":
                sentences.append(message["log"])
            elif kind == "process_completed" and not message["success"]:
                sentences.append(output["error"])
            elif kind in ("process_generating", "process_completed"):
                outputs.append(output["data"])
        for sentence in sentences:
            assert_meant(sentence, sent)
        return outputs, sentences

    def _messages(self, sent):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", f"/gradio_api/queue/data?session_hash={self.session}")
            end = time.monotonic() + SECONDS
            for line in connection.getresponse():
                assert time.monotonic() < end, ("it does not end", sent)
                if line.startswith(b"data: "):
                    yield json.loads(line[6:])
        finally:
            connection.close()

    def begin(self):
        """A picture on the canvas with one object on it, and the masks of everything mode."""
        load, prompt = self.event("_load"), self.event("_prompt")
        outputs, _ = self.send(load, self.fitting(load))
        self.gesture = gesture(outputs[0][0]["value"]["picture"])
        answered, sentences = self.send(prompt, self.fitting(prompt), self.gesture)
        assert answered[0][0]["masks"][0]["mask"] and not sentences


def gesture(picture):
    """One value that fits every event of the canvas."""
    one = {"id": 1, "rev": 1, "name": "Coin", "color": "#12ab34", "points": [[20, 20, 1]]}
    one |= {"box": None, "choice": None, "given": None}
    return {
        **{"picture": picture, "seq": 1, "gesture": "include", "active": 1, "want": [1]},
        **{"objects": [one], "object": one, "point": [9, 9, 1], "x": 20, "y": 20},
        **{"rect": [0, 0, 40, 30], "size": [64, 48]},
    }


@st.composite
def one_odd(draw, values):
    """A list or an object with one value of it replaced, a deep one too, or nothing at all."""
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = draw(st.sampled_from([None, *keys]))
    if key is None:
        return values
    inside = values[key]
    nested = isinstance(inside, (dict, list)) and inside
    odd = draw(one_odd(inside) | VALUES if nested else NUMBERS | VALUES)
    made = dict(values) if isinstance(values, dict) else list(values)
    made[key] = odd
    return made


def fuzz_event(visit, event, examples):
    """Data that nearly fit, and of another length, with what an event of the canvas says."""
    fitting = visit.fitting(event)
    triggers = [None, 10**6, *(number for number, _ in event["targets"])]

    @bounded(examples)
    @given(
        st.one_of(one_odd(fitting), st.just(fitting), st.lists(VALUES, max_size=6)),
        st.one_of(one_odd(visit.gesture), VALUES),
        st.sampled_from(triggers),
    )
    def fuzz(data, said, trigger):
        visit.send(event, data, said, trigger_id=trigger)

    fuzz()


def test_any_values_for_the_events_of_the_page(caller):
    known = Visit(caller)
    assert len(known.events) > 50
    for event in known.events:
        visit = Visit(caller)  # as what was sent to the event before changes a session
        visit.begin()
        fuzz_event(visit, event, 4)
    assert is_well(caller)
