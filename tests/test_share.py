"""The public link: shown with a QR code, or a sentence on why there is none."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import httpx
import numpy as np
import pytest
from gradio import networking
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

from demos import _page
from demos.gradio_patches import share
from tests.live import hub_with

LINK = "https://0123456789abcdef01.gradio.live"


def test_the_qr_code_is_read_as_the_link():
    """By OpenCV's reader, from the terminal's half blocks."""
    rows = [line for line in share.code(LINK).splitlines() if line]
    upper = {"█": (1, 1), "▀": (1, 0), "▄": (0, 1), " ": (0, 0)}
    light = np.array([[upper[c][half] for c in row] for row in rows for half in (0, 1)], np.uint8)
    picture = np.pad(np.kron(light * 255, np.ones((8, 8), np.uint8)), 32, constant_values=255)
    read, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert read == LINK


def page(**known):
    told = {"share_url": None, "space_id": None, "local_url": "http://127.0.0.1:7860/"}
    return SimpleNamespace(**{**told, **known})


def test_a_link_is_printed_with_its_code():
    said = share.told(page(share_url=LINK), share.Attempt())
    assert f"\n{LINK}\n" in said and share.code(LINK) in said


def test_a_space_needs_none():
    said = share.told(page(space_id="anna/vision"), share.Attempt())
    assert said == share.NOT_ON_SPACES


REASONS = [
    (ShareCertificateWriteError("read-only"), "cannot be written"),
    (ChecksumMismatchError(), "damaged or changed"),
    (httpx.ConnectError("refused"), "could not be downloaded"),
    (OSError("Cannot set up a share link as this platform is incompatible."), "this kind of mach"),
    (FileNotFoundError("frpc_linux_amd64_v0.3"), "could not be started"),
    (PermissionError("frpc"), "virus scanner"),
    (RuntimeError("Could not get share link from Gradio API Server."), "did not answer"),
    (ValueError("Could not create share URL."), "could not connect"),
    (None, "did not say why"),
]


@pytest.mark.parametrize(("error", "words"), REASONS, ids=str)
def test_without_a_link_the_reason_is_told(error, words):
    said = share.told(page(), share.Attempt(error))
    assert said.startswith("There is no share link: ") and words in said
    assert said.endswith("The app is only at http://127.0.0.1:7860/")


@pytest.mark.slow
@pytest.mark.parametrize("link", [LINK, None])
def test_what_gradio_makes_of_it_is_told(link, monkeypatch):
    """A real launch with SHARE=1, up to Gradio's own function; it hides the error."""

    def tunnel(**_):
        if link is None:
            raise httpx.ConnectError("refused")
        return link

    made: list[_page.Page] = []
    build = _page.build
    monkeypatch.setattr(networking, "setup_tunnel", tunnel)
    monkeypatch.setattr(_page, "build", lambda: made.append(build()) or made[-1])
    with share.watched() as attempt, hub_with(SHARE="1"):
        said = share.told(made[0], attempt)
    assert (LINK in said) == (link is not None)
    assert ("could not be downloaded" in said) == (link is None)
    assert networking.setup_tunnel is tunnel
