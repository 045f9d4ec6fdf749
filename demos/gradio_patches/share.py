"""The public link: a QR code of it, or a sentence on why there is none.

Gradio does not raise if it cannot make a link, and prints only a part of the reason, so its
function is watched while the page is launched.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import gradio as gr
import httpx
import segno
from gradio import networking
from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError

BLOCKED = "a firewall or virus scanner may be blocking it"
NOT_ON_SPACES = "There is no share link on a Space: it has a public address already."


@dataclass(slots=True)
class Attempt:
    """What Gradio's function raised, if it did."""

    error: Exception | None = None


@contextmanager
def watched() -> Iterator[Attempt]:
    """Watch the launch of a page for the reason why there is no link."""
    attempt, made = Attempt(), networking.setup_tunnel

    def setup_tunnel(*args: Any, **kwargs: Any) -> str:
        try:
            return made(*args, **kwargs)
        except Exception as error:
            attempt.error = error
            raise

    networking.setup_tunnel = setup_tunnel
    try:
        yield attempt
    finally:
        networking.setup_tunnel = made


def told(page: gr.Blocks, attempt: Attempt) -> str:
    """What to say after the launch: the link with its QR code, or why there is none."""
    if page.share_url:
        return f"Anybody with this link can use the app:\n{page.share_url}\n{code(page.share_url)}"
    if page.space_id:
        return NOT_ON_SPACES
    return f"There is no share link: {reason(attempt.error)}. The app is only at {page.local_url}"


def code(link: str) -> str:
    """A QR code of the link for a terminal, in half blocks."""
    text = io.StringIO()
    segno.make(link, micro=False).terminal(text, border=2, compact=True)
    return text.getvalue()


def reason(error: Exception | None) -> str:
    """Why Gradio made no link, in a few words."""
    match error:
        case ShareCertificateWriteError():
            return "the folder that the app was started in cannot be written"
        case ChecksumMismatchError():
            return (
                "Gradio's tunnel program was damaged or changed on its way here; delete the folder "
                "gradio/frpc in Hugging Face's cache and try again"
            )
        case httpx.HTTPError():
            return f"Gradio's tunnel program could not be downloaded; {BLOCKED}"
        case OSError() if "incompatible" in str(error):
            return "Gradio has no tunnel program for this kind of machine"
        case OSError():
            return f"Gradio's tunnel program could not be started; {BLOCKED}"
        case RuntimeError():
            return "Gradio's share service did not answer; is there a connection to the internet?"
        case ValueError():
            return f"Gradio's tunnel program could not connect to its server; {BLOCKED}"
    return "Gradio did not say why"
