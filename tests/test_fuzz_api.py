"""Anything as the JSON of every endpoint and of every event of the page: an answer or a sentence
that was meant for it, never the one that stands for a crash, and then the next is right."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import time
import uuid
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from benchmarks.faults import is_clear
from benchmarks.soak import ROUND, Caller
from core.lessons import why_this_class
from core.sam import grid
from demos.shell import ui
from tests.conftest import PATIENCE
from tests.live import hub

pytestmark = pytest.mark.slow
# Values that are nearly right lead deeper than random ones.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
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
# Those that have turned out to matter, in the place of each value.
PLAIN = [None, [], {}, ["auto"], "", "two\nlines", False, 0, 10**400]
ENDPOINTS = sorted({endpoint for endpoint, *_ in ROUND} | {"segment_everything"})
WITHOUT_VALUES = ["checkpoints", "status"]
FITTING = {
    "checkpoint": ["auto"],
    "top_k": [1, 5],
    "temperature": [1.0],
    "threshold": [0.0, 0.7],
    "words": ["", "a cat, a red cup"],
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
    "points": POINTS | st.lists(st.lists(NUMBERS, min_size=3, max_size=3), max_size=2),
    "box": st.lists(NUMBERS, min_size=3, max_size=5),
}
SECONDS = PATIENCE  # within which an event of the page must have ended


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
    with hub() as address, pytest.MonkeyPatch.context() as patch:
        patch.setattr(why_this_class, "STEPS", 2)  # points of a curve, each some forward passes
        patch.setattr(grid, "_batch", remembered(grid._batch))
        port = urlsplit(address).port
        asking = Caller(port, 0)
        asking.right = [asking.ask(*row, fresh=False)[0] for row in ROUND[:1]]
        path = asking._upload(asking._picture(64, fresh=False))
        asking.picture = {"path": path, "meta": {"_type": "gradio.FileData"}}
        asking.config = json.loads(asked(port, "GET", "/config")[1])
        yield asking


def remembered(batch):
    """The masks of a grid of points, computed once: each visit begins with the same."""
    known = {}

    def same(engine, embedding, points, settings):
        key = embedding.features[-1].numpy().tobytes(), points.tobytes(), *settings.values()
        if key not in known:
            known[key] = batch(engine, embedding, points, settings)
        return list(known[key])

    return same


def asked(port, method, path, body=None):
    """Status and text of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        kind = {"Content-Type": "application/json"}
        connection.request(method, path, body, kind)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def post(port, path, body):
    return asked(port, "POST", f"/gradio_api/{path}", body)


def said(caller, endpoint, body):
    """None for an answer; else the sentence of a refusal. Fails where it is none."""
    status, text = post(caller.port, f"call/{endpoint}", body)
    if status != 200:
        assert is_a_refusal(status, text), (status, text)
        return json.loads(text)["detail"]
    event = json.loads(text)["event_id"]
    stream = caller._request("GET", f"call/{endpoint.removeprefix('v2/')}/{event}").decode()
    if "event: complete" in stream:
        return None
    error = json.loads(stream.rsplit("\ndata: ", 1)[1])
    assert_meant(error["error"], body)
    return error["error"]


def is_a_refusal(status, text):
    """Whether a status below 500 comes with one clear sentence."""
    return status < 500 and is_clear(json.loads(text)["detail"])


def assert_meant(sentence, sent):
    """A clear sentence, and not the one of a handler that crashed."""
    assert is_clear(sentence or ""), (sentence, sent)
    assert sentence != ui._UNEXPECTED, sent


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
    """At most one odd value at a time, since the first that is refused hides the others."""
    known = json.loads(asked(caller.port, "GET", "/gradio_api/info")[1])["named_endpoints"]
    image, *names = (one["parameter_name"] for one in known[f"/{endpoint}"]["parameters"])
    assert image == "image"
    heard, fitting = set(), [FITTING[name][0] for name in names]

    def ask(values):
        heard.add(said(caller, endpoint, json.dumps({"data": [caller.picture, *values]})))

    for place, plain in itertools.product(range(len(names)), PLAIN):
        ask([*fitting[:place], plain, *fitting[place + 1 :]])

    @bounded(40)
    @given(st.data())
    def fuzz(data):
        values = [data.draw(st.sampled_from(FITTING[name])) for name in names]
        odd = data.draw(st.integers(0, len(values)))
        if odd < len(values):
            values[odd] = data.draw(ODD.get(names[odd], NUMBERS) | VALUES)
        ask(values)

    fuzz()
    assert None in heard and len(heard) > 1  # some were answered, others refused
    assert is_well(caller)


def test_any_json_for_any_endpoint(caller):
    @bounded(20)
    @given(
        st.sampled_from([*ENDPOINTS, *WITHOUT_VALUES, "nothing", "v2/classify", "v2/nothing"]),
        st.one_of(VALUES, st.fixed_dictionaries({"data": VALUES})),
    )
    def fuzz(endpoint, value):
        said(caller, endpoint, json.dumps(value))

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


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ({"path": "/etc/hosts", "meta": {"_type": "gradio.FileData"}}, "upload it again"),
        ({"path": "/etc/hosts"}, "upload it again"),
        ({"url": "http://127.0.0.1:9/a.png"}, "upload a picture"),
        (
            {"path": "http://127.0.0.1:9/a.png", "meta": {"_type": "gradio.FileData"}},
            "does not download",
        ),
        ({"url": "data:image/png;base64,!!!!"}, "not valid base64"),
        ({"url": "data:image/png,abc"}, "not a picture"),
        ({"url": "DATA:image/png;base64"}, "not complete"),
        ({"url": "data:image/png;base64,aGVsbG8="}, "not a picture"),
        ({}, "upload a picture"),
        ([], "don't match"),
        ("photo.png", "don't match"),
    ],
)
def test_pictures_that_are_none(caller, image, words):
    sentence = said(caller, "classify", json.dumps({"data": [image, "auto", 5, 1]}))
    assert words in sentence and is_clear(sentence)


@pytest.mark.parametrize(
    ("endpoint", "values"),
    [
        ("classify", ["auto", 2.5, 1]),
        ("classify", ["auto", "5", 1]),
        ("classify", ["auto", True, 1]),
        ("classify", ["auto", 5, "1"]),
        ("detect", ["auto", False, ""]),
        ("super_resolve", ["auto", 2.9]),
        ("reconstruct", ["auto", 0.75, 0.5]),
        ("segment_everything", ["auto", 4.5]),
        ("segment", [[["9", "9", "1"]], None, "auto", True]),
        ("segment", [[[9, 9, True]], None, "auto", True]),
        ("segment", [[[9, 9, 1]], ["1", "2", "30", "40"], "auto", True]),
        ("segment", [[[9, 9, 1]], None, "auto", 1]),
    ],
)
def test_values_of_another_type_are_refused(caller, endpoint, values):
    sentence = said(caller, endpoint, json.dumps({"data": [caller.picture, *values]}))
    assert sentence and "must be" in sentence and is_clear(sentence)


@pytest.mark.parametrize(
    "head", ["data:image/jpeg;base64,", "DATA:;BASE64, ", " data:x/y;a=b;base64,"]
)
def test_a_data_url_is_a_picture(caller, head):
    import base64

    content = base64.encodebytes(caller._picture(64, fresh=False)).decode()
    image = {"url": head + content}
    assert said(caller, "classify", json.dumps({"data": [image, "auto", 5, 1]})) is None


@pytest.mark.parametrize("given", [["auto", 0.5], ["auto"], []])
def test_values_left_out_at_the_end_have_their_defaults(caller, given):
    assert said(caller, "detect", json.dumps({"data": [caller.picture, *given]})) is None


def test_a_picture_has_no_default(caller):
    assert "picture" in said(caller, "detect", json.dumps({"data": []}))


def test_nothing_of_the_server_is_served(caller):
    for path in ("/etc/passwd", "app.py", "../app.py", "core/settings.py", "%2e%2e/app.py"):
        status, text = asked(caller.port, "GET", f"/gradio_api/file={path}")
        assert status in (403, 404), path
        assert "root:" not in text and "import" not in text


# --- the events of the page itself ---


class Visit:
    """A page that somebody has open: what its gr.State holds lasts from event to event."""

    def __init__(self, caller):
        self.port, self.picture = caller.port, caller.picture
        self.components = {one["id"]: one for one in caller.config["components"]}
        known = caller.config["dependencies"]
        self.events = [event for event in known if event["api_visibility"] == "private"]
        self.session = uuid.uuid4().hex
        self.gesture = gesture("nothing")

    def event(self, elem_id, kind, name):
        """The event of that kind of a component, whose handler's name begins so."""
        elements = {one["props"].get("elem_id"): number for number, one in self.components.items()}
        target = [elements[elem_id], kind]
        return next(
            e for e in self.events if target in e["targets"] and e["api_name"].startswith(name)
        )

    def fitting(self, event):
        """What the page could send; sliders at their lowest, which makes a small grid of points."""
        values = []
        for one in (self.components[number] for number in event["inputs"]):
            usual = one["props"].get("minimum", one["props"].get("value"))
            own = {"image": self.picture, "dataset": 0, "state": None}
            values.append(own.get(one["type"], usual))
        return values

    def send(self, event, data, event_data=None, trigger=None):
        """Outputs of an event and the sentences that it shows. Fails where one is none."""
        body = {"fn_index": event["id"], "trigger_id": trigger, "session_hash": self.session}
        sent = json.dumps({**body, "data": data, "event_data": event_data})
        status, text = post(self.port, "queue/join", sent)
        if status != 200:
            assert is_a_refusal(status, text), (status, text, sent)
            return [], [json.loads(text)["detail"]]
        outputs, sentences = [], []
        for message in self._messages(sent):
            kind, output = message["msg"], message.get("output") or {}
            assert kind != "unexpected_error", (message, sent)
            # Nor among the outputs, where the canvas has its sentences.
            assert ui._UNEXPECTED not in json.dumps(message), (event["api_name"], sent)
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
        """Until the server ends the stream, which it does when the event has ended."""
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
        """A picture on the canvas, one object on it, and masks of everything mode below it."""
        load = self.event("segment-turn", "change", "load")
        outputs, said = self.send(load, self.fitting(load))
        assert not said, said
        self.gesture = gesture(outputs[0][1]["value"]["picture"])
        prompt = self.event("segment-canvas", "prompt", "_prompt")
        outputs, _ = self.send(prompt, self.fitting(prompt), self.gesture)
        assert outputs[0][0]["masks"][0]["mask"]
        everything = self.event("segment-canvas", "everything", "_run")
        values = self.fitting(everything)
        values[5] = False  # not the thresholds of the checkpoint, but those that every mask passes
        values[-1] = False  # ground too
        assert self.send(everything, values)[0][-1][0]["props"]["segments"]["count"]


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
    """A list or an object with one value of it replaced, perhaps a deep one, or as it is."""
    keys = list(values) if isinstance(values, dict) else list(range(len(values)))
    key = draw(st.sampled_from([None, *keys]))
    if key is None:
        return values
    made = dict(values) if isinstance(values, dict) else list(values)
    inside, odd = values[key], st.sampled_from(PLAIN) | NUMBERS | VALUES
    made[key] = draw(one_odd(inside) | odd if isinstance(inside, (dict, list)) else odd)
    return made


def fuzz_event(visit, event, examples):
    """Data that nearly fit, and any, with what events of the canvas tell."""
    fitting = visit.fitting(event)
    for place, plain in itertools.product(range(len(fitting)), (None, [])):
        visit.send(event, [*fitting[:place], plain, *fitting[place + 1 :]], visit.gesture)
    triggers = [None, -1, *(number for number, _ in event["targets"])]

    @seed(event["id"])  # else events with like inputs would get the same cases
    @bounded(examples)
    @given(
        st.just(fitting) | one_odd(fitting) | st.lists(VALUES, max_size=6),
        one_odd(visit.gesture) | VALUES,
        st.sampled_from(triggers),
    )
    def fuzz(data, told, trigger):
        visit.send(event, data, told, trigger)

    fuzz()


def name(event):
    """Of the handler; Gradio numbers those of one name."""
    return re.sub(r"_\d+$", "", event["api_name"])


def test_any_values_for_the_events_of_the_page(caller):
    events = Visit(caller).events
    assert len(events) > 50
    # The server runs the same handler on the same components, whichever control sent them.
    alike = {(name(e), *map(tuple, (e["inputs"], e["outputs"]))): e for e in events}
    assert len(alike) > 50
    for event in alike.values():
        visit = Visit(caller)  # what is sent to an event changes the session
        if "state" in (visit.components[number]["type"] for number in event["inputs"]):
            visit.begin()
        fuzz_event(visit, event, 3)
    assert is_well(caller)


@pytest.mark.parametrize("kind", ["prompt", "hover", "detail", "pick"])
def test_any_gesture_on_the_canvas(caller, kind):
    visit = Visit(caller)
    visit.begin()
    event = visit.event("segment-canvas", kind, f"_{kind}")
    heard = set()

    @bounded(60)
    @given(one_odd(visit.gesture))
    def fuzz(told):
        _, sentences = visit.send(event, visit.fitting(event), told)
        heard.update(sentences or [None])

    fuzz()
    assert None in heard and len(heard) > 1
    assert is_well(caller)
