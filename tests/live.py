"""The real app, served on a free port of this machine for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@contextmanager
def hub() -> Iterator[str]:
    """Address of a running hub; closed at the end."""
    import app
    from demos import _page

    page = _page.build()
    app.launch(
        page,
        server_name="127.0.0.1",
        server_port=None,
        share=False,
        auth=None,
        prevent_thread_lock=True,
        quiet=True,
    )
    try:
        yield page.local_url
    finally:
        page.close()
