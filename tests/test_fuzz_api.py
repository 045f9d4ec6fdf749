"""Anything as the JSON of every endpoint: an answer or a sentence, then the next is right."""

from __future__ import annotations

import http.client
import json
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.faults import is_clear
from benchmarks.soak import ROUND, Caller
from tests.live import hub

pytestmark = pytest.mark.slow
# Values that are nearly right lead deeper than random ones.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(["auto", "own:x", "classify-starter", "../..", "\0", "a" * 300]),
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
POINTS = st.lists(st.lists(st.one_of(st.integers(-9, 99), SCALARS), max_size=4), max_size=3)
ENDPOINTS = sorted({endpoint for endpoint, *_ in ROUND} | {"checkpoints", "status"})
BOUNDED = settings(
    max_examples=8,
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
        asking.path = asking._upload(asking._picture(64, fresh=False))
        yield asking


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
    assert is_clear(error["error"] or ""), error
    return error["error"]


def is_well(caller):
    """The next request is right."""
    return [caller.ask(*row, fresh=False)[0] for row in ROUND[:1]] == caller.right


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_any_values_with_a_picture(caller, endpoint):
    image = {"path": caller.path, "meta": {"_type": "gradio.FileData"}}

    @BOUNDED
    @given(st.lists(st.one_of(VALUES, POINTS), max_size=5))
    def fuzz(values):
        said(caller, endpoint, json.dumps({"data": [image, *values]}))

    fuzz()
    assert is_well(caller)


def test_any_json_for_any_endpoint(caller):
    @BOUNDED
    @given(
        st.sampled_from([*ENDPOINTS, "nothing", "v2/classify", "v2/nothing"]),
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
