"""A hub with a login behind a real nginx, set up in the ways that people set it up."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from benchmarks.startup import free_port
from tests.browser import chromium, tab
from tests.conftest import wait_for
from tests.live import EXAMPLES, hub_with

pytestmark = pytest.mark.slow
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
GUIDE = Path(__file__).resolve().parent.parent / "docs" / "reliability.md"
RECOMMENDED = " ".join(re.findall(r"^ +(proxy_(?!pass)[^;]+;)", GUIDE.read_text("utf-8"), re.M))
# Name -> how nginx passes requests on.
WAYS = {
    "as recommended": RECOMMENDED,
    "the name without the port": "proxy_set_header Host $host;",
    "another name": "",
    "forwarded hosts": "proxy_set_header X-Forwarded-Host '$http_host, inner.example';",
    "addresses appended": (
        "proxy_set_header Host $http_host;"
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
    ),
}
OTHERS = "proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off;"
# A browser that tells where its requests come from, one that does not (over plain HTTP), none.
BROWSERS = {"tells": {"sec-fetch-site": "same-origin"}, "does not": {}}
UNKNOWABLE = ("another name", "does not")  # nothing in the request names the hub
RATE = 40


def servers(upstream, ports):
    return "client_max_body_size 40m;" + "".join(
        f"server {{ listen 127.0.0.1:{ports[name]};"
        f"location / {{ proxy_pass http://127.0.0.1:{upstream};"
        f"{way} {'' if way == RECOMMENDED else OTHERS} }} }}\n"
        for name, way in WAYS.items()
    )


@contextmanager
def running(folder, servers, answers):
    """An nginx with these `server` blocks, from when `answers()` says that one answers."""
    if NGINX is None:
        reason = "no nginx here: install the nginx-light package"
        if os.environ.get("VISION_HUB_REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    kept = "".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;"
        f"events {{}}\nhttp {{ access_log off; {kept}\n{servers}}}\n"
    )
    log = folder / "error.log"
    process = subprocess.Popen(
        [NGINX, "-p", str(folder), "-c", str(path), "-e", str(log)], stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: process.poll() is not None or answers())
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def nginx(folder, upstream):
    """Ports of an nginx in front of the hub, by the name of the way."""
    ports = {name: free_port() for name in WAYS}
    with running(folder, servers(upstream, ports), lambda: _answers(ports["as recommended"])):
        yield ports


def _answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    with (
        hub_with(AUTH="anna:secret", VISION_HUB_RATE=str(RATE)) as port,
        nginx(tmp_path_factory.mktemp("nginx"), port) as found,
    ):
        yield found


@contextmanager
def browser(port, headers, address="127.0.0.1"):
    """What a browser sends to http://localhost:<port>/, from an address of this machine."""
    way_out = httpx.HTTPTransport(local_address=address)
    url = f"http://localhost:{port}"
    with httpx.Client(base_url=url, headers=headers, timeout=60, transport=way_out) as client:
        yield client


def origin(port):
    return {"origin": f"http://localhost:{port}"}


@pytest.mark.parametrize("kind", BROWSERS)
@pytest.mark.parametrize("way", WAYS)
def test_a_visitor_logs_in_uploads_and_gets_an_answer(ports, way, kind):
    port = ports[way]
    with browser(port, BROWSERS[kind]) as client:
        assert client.get("/").status_code == 200
        form = {"username": "anna", "password": "secret"}
        login = client.post("/login", data=form, headers=origin(port))
        if (way, kind) == UNKNOWABLE:
            assert login.status_code == 403
            assert "proxy must pass on the Host" in login.json()["detail"]
            return
        assert login.status_code == 200, login.text
        with open(EXAMPLES / "chelsea.jpg", "rb") as picture:
            sent = client.post("/gradio_api/upload", files={"files": picture}, headers=origin(port))
        assert sent.status_code == 200, sent.text
        (path,) = sent.json()
        values = [{"path": path, "meta": {"_type": "gradio.FileData"}}, "auto", 3, 1.0]
        config = client.get("/config").json()
        number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "classify")
        session = f"{way}{kind}".replace(" ", "")
        body = {"data": values, "fn_index": number, "session_hash": session}
        joined = client.post("/gradio_api/queue/join", json=body, headers=origin(port))
        assert joined.status_code == 200, joined.text
        with client.stream("GET", f"/gradio_api/queue/data?session_hash={session}") as stream:
            for line in stream.iter_lines():
                if "process_completed" in line:
                    break
        said = json.loads(line.removeprefix("data: "))
        assert len(said["output"]["data"][0]["confidences"]) == 3, said


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "null"},
    ],
    ids=str,
)
def test_other_sites_stay_out(ports, way, headers):
    with browser(ports[way], headers) as client:
        for method, path in (
            ("POST", "/login"),
            ("GET", "/config"),
            ("POST", "/gradio_api/upload"),
        ):
            answer = client.request(method, path)
            assert answer.status_code == 403, (path, answer.text)
            assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("way", WAYS)
def test_other_sites_get_no_leave_to_send_headers(ports, way):
    """A page may not set X-Forwarded-Host unless the hub says so beforehand."""
    asked = {
        "origin": "https://evil.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "x-forwarded-host",
    }
    with browser(ports[way], asked) as client:
        answer = client.options("/config")
        assert answer.status_code == 403
        assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize("way", ["as recommended", "addresses appended"])
def test_a_visitor_cannot_choose_an_address(ports, way):
    """The limit of logins holds, whatever address the visitor claims to come from."""
    mine = f"127.0.1.{list(WAYS).index(way) + 1}"
    form = {"username": "anna", "password": "wrong"}
    with browser(ports[way], {}, mine) as client:
        answers = [
            client.post("/login", data=form, headers={"x-forwarded-for": f"10.1.{n}.1"}).status_code
            for n in range(12)
        ]
    assert answers == [400] * 10 + [429] * 2


@pytest.mark.browser
@pytest.mark.parametrize("way", ["the name without the port", "another name", "forwarded hosts"])
def test_a_real_browser_logs_in_and_sees_its_pictures(ports, way):
    """Console errors are not looked at: until they are mended, thumbnails have a wrong address."""
    loaded = "selector => document.querySelector(selector)?.naturalWidth > 0"
    with chromium() as running:
        page = running.new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://localhost:{ports[way]}/")
        page.get_by_role("textbox").nth(0).fill("anna")
        page.locator("input[type=password]").fill("secret")
        page.get_by_role("button", name="Login").click()
        tab(page, "Detect")
        page.wait_for_function(loaded, arg="#picture-examples img")
        page.locator("#picture input[type=file]").first.set_input_files(EXAMPLES / "astronaut.jpg")
        page.wait_for_function(loaded, arg="#detect-result img")
        page.close()
