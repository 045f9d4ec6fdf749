"""The head of a request has an end, whatever parser reads it."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
import uvicorn

import app
from benchmarks.startup import free_port
from demos.server import http
from tests.conftest import wait_for


async def echo(scope, receive, send):
    """The number of bytes of the body and of the head's fields."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    content = f"{size} {len(scope['headers'])}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": content})


@contextmanager
def serving(served, log_level="critical"):
    http.install()
    found = free_port()
    server = uvicorn.Server(uvicorn.Config(served, port=found, log_level=log_level))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    assert server.config.http_protocol_class is http.BoundedProtocol
    yield found, server
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="module")
def port():
    with serving(echo) as (found, _):
        yield found


def sent(port, parts):
    """How many bytes went out before the server refused, and what it said."""
    count, said = 0, b""
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                count += len(part)
                time.sleep(0)
            said = connection.recv(4096)
        except OSError:  # reset: it was closed while we went on
            said = b"reset"
    return count, said


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (b"GET / HTTP/1.1\r\nX-A: ", b"a" * 1000),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 200),
        (b"GET /", b"a" * 1000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 200),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;", b"a=b;" * 200),
    ],
    ids=["one field", "many fields", "address", "trailers", "extensions"],
)
def test_an_endless_head_is_refused(port, begin, more):
    count, said = sent(port, [begin, *[more] * 20_000])
    assert said == b"reset" or said.startswith(b"HTTP/1.1 400"), said
    assert count < 8_000_000  # what lies in the buffers of the sockets, and not the 20 MB
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("size", [0, 10, 5_000_000])
def test_a_body_may_be_long(port, size):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", b"x" * size, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.read().split()[0] == str(size).encode()


def test_a_body_in_small_chunks_may_be_long(port):
    chunks = b"5\r\nhello\r\n" * 50_000
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    _, said = sent(port, [head, chunks, b"0\r\n\r\n"])
    assert said.startswith(b"HTTP/1.1 200")


def test_heads_of_one_connection_are_not_added_up(port):
    one = b"GET / HTTP/1.1\r\nX-A: " + b"a" * 30_000 + b"\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        for _ in range(10):
            connection.sendall(one)
            said = b""
            while not said.endswith(b"0\r\n\r\n"):  # head and body may come one after the other
                said += connection.recv(4096) or b"closed 0\r\n\r\n"
            assert said.startswith(b"HTTP/1.1 200"), said


@pytest.mark.skipif(sys.platform == "win32", reason="uvloop does not exist there")
def test_uvloop_is_found_good_where_a_loop_already_runs():
    async def in_a_notebook():
        return http._loops()

    assert asyncio.run(in_a_notebook()) is True


async def answer_slowly(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(200):
        await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": True})
    await send({"type": "http.response.body"})


def test_who_leaves_with_several_answers_under_way_is_no_news(caplog):
    with serving(answer_slowly, log_level="info") as (found, server):
        logging.getLogger("uvicorn").propagate = True  # which uvicorn's configuration ends
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", found), 20) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\n\r\n" * 5)
                connection.recv(4096)
        wait_for(lambda: not server.server_state.tasks)
    assert [record.levelname for record in caplog.records if record.name == "uvicorn.error"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_the_hub_is_served_so():
    with app.served_page() as page:
        assert page.server.config.http_protocol_class is http.BoundedProtocol
