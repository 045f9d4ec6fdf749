"""Language models: a real MCP client lists the tools and calls them; nothing opens by that."""

from __future__ import annotations

import base64
import io
import json

import anyio
import httpx
import pytest
from PIL import Image

from core.imaging import coco
from demos import _page
from tests.live import EXAMPLES, hub_with

pytest.importorskip("mcp")
pytestmark = pytest.mark.slow
from mcp import ClientSession  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402

TOOLS = {
    "classify", "detect", "segment", "segment_everything", "segment_semantic", "reconstruct",
    "denoise", "super_resolve", "deblur", "checkpoints",
}  # fmt: skip
RPC = {"accept": "application/json, text/event-stream"}
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def picture(name):
    content = base64.b64encode((EXAMPLES / name).read_bytes()).decode()
    return f"data:image/jpeg;base64,{content}"


@pytest.fixture(scope="module")
def url():
    with hub_with(VISION_HUB_MCP="1") as port:
        yield f"http://127.0.0.1:{port}/gradio_api/mcp"


def talk(url, *calls, **headers):
    """What a client hears: the tools, and the result of each call."""

    async def conversation():
        http = httpx.AsyncClient(headers=headers, timeout=300)
        async with (
            http,
            streamable_http_client(url, http_client=http) as (reader, writer, _),
            ClientSession(reader, writer) as session,
        ):
            await session.initialize()
            tools = (await session.list_tools()).tools
            return tools, [await session.call_tool(name, values) for name, values in calls]

    return anyio.run(conversation)


def test_a_client_classifies_detects_and_segments(url):
    cat, person = picture("chelsea.jpg"), picture("hopper.jpg")
    tools, answers = talk(
        url,
        ("classify", {"image": cat, "top_k": 3}),
        ("detect", {"image": person, "threshold": 0.5}),
        ("segment", {"image": cat, "points": [[200, 150, 1]]}),
    )
    assert {tool.name for tool in tools} == TOOLS
    assert not any(answer.isError for answer in answers)
    classes, info = [json.loads(part.text) for part in answers[0].content]
    assert len(classes["confidences"]) == 3 and "cat" in classes["label"]
    assert info["checkpoint"] == "classify-starter"
    drawn, path, found, _ = answers[1].content
    assert drawn.mimeType == "image/jpeg"
    found = json.loads(found.text)
    with Image.open(io.BytesIO(base64.b64decode(drawn.data))) as image:
        assert list(image.size) == found["image_size"]
    assert "person" in {one["label"] for one in found["detections"]}
    masks = json.loads(answers[2].content[2].text)["masks"]
    assert int(coco.decode(masks[0]["rle"]).sum()) == masks[0]["area"] > 0
    # The picture that one tool drew is a picture for the next.
    again = talk(url, ("classify", {"image": json.loads(path.text)["path"]}))[1][0]
    assert not again.isError


def test_every_tool_describes_itself_and_its_arguments():
    described = _page.tools(_page.build())
    assert {tool.name for tool in described} == TOOLS
    for tool in described:
        assert tool.about[0].isupper() and tool.about.endswith(".")
        assert ("Returns: " in tool.about) == bool(tool.pictures)
        for name, schema in tool.schema["properties"].items():
            assert schema["description"].endswith("."), (tool.name, name)
            assert schema["type"], (tool.name, name)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "'image' is a required property"),
        ({"image": "http://127.0.0.1/a.png"}, "does not download pictures from addresses"),
        ({"image": "HTTPS://example.org/a.png"}, "does not download pictures from addresses"),
        ({"image": str(EXAMPLES / "chelsea.jpg")}, "isn't linked to your session"),
        ({"image": "/etc/passwd"}, "isn't linked to your session"),
        ({"image": ""}, "Please"),
        ({"image": "data:image/png;base64,AAAA"}, "picture"),
        ({"image": {"path": "/etc/passwd"}}, "isn't linked to your session"),
        ({"image": picture("hopper.jpg"), "checkpoint": "x"}, "checkpoint"),
        ({"image": picture("hopper.jpg"), "surprise": 1}, "surprise"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_refused_gets_one_sentence(url, values, sentence):
    answer = httpx.post(
        url,
        headers=RPC,
        json=LIST | {"method": "tools/call", "params": {"name": "classify", "arguments": values}},
        timeout=300,
    )
    assert sentence in answer.text and "Traceback" not in answer.text
    assert "confidences" not in answer.text


def test_a_tool_that_is_no_tool_is_refused(url):
    for name in ("status", "attention", "nothing", "../queue/join"):
        _, (answer,) = talk(url, (name, {}))
        assert answer.isError and "There is no tool" in answer.content[0].text


def test_other_methods_and_addresses_stay_closed(url):
    for method in ("GET", "DELETE", "PUT"):
        assert httpx.request(method, url).status_code in (404, 405)
    for path in ("/sse", "/schema", "/messages", "/http"):
        assert httpx.get(url + path).status_code == 404
        assert httpx.post(url + path, json=LIST).status_code == 404
    assert httpx.post(url, content="{", headers=RPC).status_code == 400


def test_it_is_off_unless_switched_on():
    with hub_with(VISION_HUB_MCP="0", GRADIO_MCP_SERVER="true") as port:
        for path in ("mcp", "mcp/"):
            address = f"http://127.0.0.1:{port}/gradio_api/{path}"
            assert httpx.post(address, json=LIST, headers=RPC).status_code == 404


def test_the_login_and_the_rate_hold():
    with hub_with(VISION_HUB_MCP="1", AUTH="anna:secret:1", VISION_HUB_RATE="8") as port:
        url = f"http://127.0.0.1:{port}/gradio_api/mcp"
        assert httpx.post(url, json=LIST, headers=RPC).status_code == 401
        for wrong in (("anna", "secret"), ("bob", "secret:1")):
            assert httpx.post(url, json=LIST, headers=RPC, auth=wrong).status_code == 401
        right = "Basic " + base64.b64encode(b"anna:secret:1").decode()
        _, (answer,) = talk(url, ("checkpoints", {}), authorization=right)
        assert not answer.isError and "classify-starter" in answer.content[0].text
        statuses = [
            httpx.post(url, json=LIST, headers={**RPC, "authorization": right}).status_code
            for _ in range(9)
        ]
        assert statuses[-1] == 429
        guesses = [
            httpx.post(url, json=LIST, headers=RPC, auth=("anna", str(n))).status_code
            for n in range(12)
        ]
        assert set(guesses) == {401}
        # Now even the right ones have to wait, unless they were known before.
        for scheme, status in (("BASIC", 401), ("Basic", 429)):
            known = {**RPC, "authorization": right.replace("Basic", scheme)}
            assert httpx.post(url, json=LIST, headers=known).status_code == status
