"""A hub below a path of a site with TLS: the example configuration, behind a real nginx."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from gradio_client import Client, handle_file
from PIL import Image

from benchmarks.startup import free_port
from tests.browser import chromium, tab, watch_errors
from tests.conftest import PATIENCE
from tests.live import EXAMPLES, hub_with
from tests.test_packaging import ROOT
from tests.test_proxy import running

pytestmark = pytest.mark.slow
CONFIGURATION = (ROOT / "deploy" / "nginx.conf").read_text("utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))


def certificate(folder: Path) -> None:
    """A self-signed one, made by the command in compose.yaml."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    made = ("-keyout", str(folder / "site.key"), "-out", str(folder / "site.crt"))
    ask = (openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1")
    subprocess.run([*ask, "-subj", "/CN=localhost", *made], check=True, capture_output=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the site; the hub is below it, at /vision/."""
    folder, port = tmp_path_factory.mktemp("site"), free_port()
    certificate(folder)
    url = f"https://localhost:{port}"
    with hub_with(GRADIO_ROOT_PATH=COMPOSE["services"]["hub"]["environment"]["GRADIO_ROOT_PATH"],
                  VISION_HUB_RATE="500") as hub:  # fmt: skip
        there = CONFIGURATION
        for old, new in (
            ("listen 8443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("/etc/nginx/certs/", f"{folder}/"),
            ("http://hub:7860/", f"http://127.0.0.1:{hub}/"),
        ):
            assert old in there
            there = there.replace(old, new)
        with running(folder, there, lambda: answers(url)):
            yield url


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/vision/healthz", verify=False).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def asked(site: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=site, verify=False, timeout=PATIENCE) as client:
        yield client


def test_only_the_path_leads_to_the_hub(asked: httpx.Client):
    assert asked.get("/").status_code == 404
    moved = asked.get("/vision?tab=segment")
    assert moved.status_code == 301
    assert moved.headers["location"].endswith("/vision/?tab=segment")


def test_headers_of_the_page(asked: httpx.Client, site: str):
    page = asked.get("/vision/")
    assert page.status_code == 200
    assert page.headers["strict-transport-security"].startswith("max-age=")
    assert "content-security-policy" in page.headers
    assert "http://" not in page.text.replace("http://www.w3.org", "")  # which browsers would block
    config = asked.get("/vision/config").json()
    assert config["root"] == f"{site}/vision"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_no_old_protocol_is_spoken(site: str):
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    try:
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    except ValueError:
        pytest.skip("this machine's OpenSSL cannot speak it")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{site}/vision/healthz", verify=old)


def test_uploads_up_to_the_hubs_own_limit_come_through(asked: httpx.Client):
    """A photograph of more than nginx's usual limit is taken; too large a file is refused with the
    hub's sentence, not with nginx's page."""
    for size, status in ((3_000_000, 200), (30_000_000, 413)):
        files = {"files": ("photo.jpg", b"\xff\xd8" + bytes(size), "image/jpeg")}
        sent = asked.post("/vision/gradio_api/upload", files=files)
        assert sent.status_code == status, sent.text
        assert "nginx" not in sent.text


def test_results_arrive_as_events(asked: httpx.Client):
    """The first event comes while the answer is still open: nothing waits in nginx."""
    data = {"data": [], "event_data": None, "session_hash": "path", "trigger_id": None}
    config = asked.get("/vision/config").json()
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "status")
    joined = asked.post("/vision/gradio_api/queue/join", json={**data, "fn_index": number})
    assert joined.status_code == 200, joined.text
    events = []
    with asked.stream("GET", "/vision/gradio_api/queue/data?session_hash=path") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line:
                events.append(json.loads(line.removeprefix("data: "))["msg"])
            if "process_completed" in line:
                break
    assert len(events) > 1


def test_a_client_calls_the_api(site: str, tmp_path: Path):
    client = Client(
        f"{site}/vision/", verbose=False, ssl_verify=False, download_files=str(tmp_path)
    )
    classes, info = client.predict(handle_file(EXAMPLES / "chelsea.jpg"), api_name="/classify")
    assert classes["label"] and info["checkpoint"]
    drawn, found, _ = client.predict(handle_file(EXAMPLES / "astronaut.jpg"), api_name="/detect")
    with Image.open(drawn) as picture:
        assert list(picture.size) == found["image_size"]


@pytest.mark.browser
def test_the_whole_page_in_a_browser(site: str, tmp_path: Path):
    """An upload, a click on the canvas, a download, and the state in the address."""
    with chromium() as browser:
        context = browser.new_context(ignore_https_errors=True, accept_downloads=True)
        context.set_default_timeout(1000 * PATIENCE)
        page = context.new_page()
        errors, outside = watch_errors(page), []
        page.on("request", lambda sent: _note(sent.url, f"{site}/vision/", outside))
        page.goto(f"{site}/vision?tab=classify")
        picture = EXAMPLES / "astronaut.jpg"
        page.locator("#picture input[type=file]").first.set_input_files(picture)
        page.locator("#classify-result .bars li").first.wait_for()
        _downloads(page, tmp_path)
        tab(page, "Segment")
        _clicks(page)
        page.wait_for_function("location.search.includes('tab=segment')")
        address = page.url
        assert address.startswith(f"{site}/vision/?")
        assert [error for error in errors if "/favicon.ico" not in error] == []  # the site's
        assert outside == []
        context.close()
        with browser.new_context(ignore_https_errors=True) as other:
            shared = other.new_page()
            shared.goto(address)  # as somebody else who was sent it
            shared.locator("#segment-canvas").wait_for()
            assert shared.url == address


def _note(url: str, below: str, outside: list[str]) -> None:
    """Requests that leave the path; the first address, without its slash, does not count."""
    if url.startswith("http") and not url.startswith((below, below[:-1] + "?")):
        outside.append(url)


def _downloads(page: Any, folder: Path) -> None:
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download JSON").or_(
            page.get_by_role("button", name="Download JSON")
        ).first.click()
    path = folder / "classes.json"
    waiting.value.save_as(path)
    assert len(json.loads(path.read_text())["classes"]) == 5


def _clicks(page: Any) -> None:
    """One click in the middle of the canvas gives a mask."""
    status = "document.querySelector('#segment-canvas .pp-status')?.innerText"
    page.wait_for_function(f"{status}?.includes('Ready')")
    canvas = page.locator("#segment-canvas .pp-canvas")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_function(f"{status}?.includes('of the picture')")


# ---- compose.yaml
def test_compose_passes_on_what_the_image_and_the_proxy_expect():
    hub, proxy = COMPOSE["services"]["hub"], COMPOSE["services"]["proxy"]
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for service in (hub, proxy):
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
    assert hub["user"].startswith("1000") and "USER 1000" in dockerfile
    assert "ports" not in hub  # only the proxy can be reached from outside
    (cache,) = hub["volumes"]
    name, _, path = cache.partition(":")
    assert name in COMPOSE["volumes"] and f"HF_HOME={path}/" in dockerfile
    assert "HEALTHCHECK" in dockerfile
    assert proxy["depends_on"] == {"hub": {"condition": "service_healthy"}}
    (subnet,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    assert hub["environment"]["FORWARDED_ALLOW_IPS"] == subnet["subnet"]
    mounted = {line.split(":")[0]: line.split(":")[1] for line in proxy["volumes"]}
    assert (ROOT / "deploy/nginx.conf").samefile(ROOT / next(iter(mounted)))
    assert f"{mounted['./certs']}/site.crt;" in CONFIGURATION
    assert proxy["ports"] == ["8443:8443"] and "listen 8443 ssl" in CONFIGURATION
    assert "http://hub:7860/" in CONFIGURATION and "PORT=7860" in dockerfile


def test_the_gpu_file_names_real_build_arguments():
    told = yaml.safe_load((ROOT / "deploy/compose.gpu.yaml").read_text("utf-8"))
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    for name, value in told["services"]["hub"]["build"]["args"].items():
        assert f"--build-arg {name}={value}" in dockerfile
