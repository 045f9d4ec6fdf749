"""The real app, served on a free port of this machine for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from gradio_client import Client

from app import served as hub
from tests.conftest import PATIENCE

__all__ = ["EXAMPLES", "client_of", "hub", "hub_with"]

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def client_of(url: str) -> Client:
    """A client that waits as long as everything else does; its own limit is five seconds."""
    return Client(url, verbose=False, httpx_kwargs={"timeout": PATIENCE})


@contextmanager
def hub_with(**variables: str) -> Iterator[int]:
    """The port of a hub that is launched with these variables in its environment."""
    import app
    from core.settings import get_settings
    from demos import _page

    with pytest.MonkeyPatch.context() as patch:
        for name in ("SHARE", "SPACE_ID", "HOST", "PORT", "AUTH", "VISION_HUB_RATE"):
            patch.delenv(name, raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        page = _page.build()
        app.launch(
            page, server_name="127.0.0.1", server_port=None, prevent_thread_lock=True, quiet=True
        )
        try:
            yield int(urlsplit(str(page.local_url)).port or 80)
        finally:
            page.close()
            patch.undo()
            get_settings.cache_clear()
