"""Start Vision Hub: `python app.py`. Settings are environment variables (see core/settings.py)."""

from __future__ import annotations

import logging
import os
from typing import Any

# Both are read when Gradio and the hub client are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core.settings import get_settings
from demos import _page

_log = logging.getLogger("vision-hub")


async def healthz(_: Request) -> JSONResponse:
    """200 once the app serves."""
    return JSONResponse({"status": "ok"})


def meter(_: Request) -> JSONResponse:
    """The cache meter over plain HTTP."""
    return JSONResponse(_page.status())


def launch(page: gr.Blocks, **overrides: Any) -> Any:
    """Serve `page` with the settings of the environment; `overrides` are for tests."""
    settings = get_settings()
    options: dict[str, Any] = {
        "server_name": settings.host,
        "server_port": settings.port,
        "share": settings.share,
        "auth": settings.login,
        "theme": gr.themes.Soft(font=("system-ui", "sans-serif")),
        "css_paths": [_page.CSS],
        "footer_links": ["api", "settings"],
        "show_error": False,
        "max_file_size": "20mb",
        "state_session_capacity": 256,
        "enable_monitoring": False,
        "ssr_mode": False,
        "app_kwargs": {"routes": [Route("/healthz", healthz), Route("/status", meter)]},
    }
    return page.launch(**{**options, **overrides})


def main() -> None:
    """Build the page, serve it, warm the models up behind it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it reports every request
    page = _page.build()
    launch(page, prevent_thread_lock=True)
    if get_settings().share and not page.share_url:
        _log.warning("No share link could be made; the hub works at %s only.", page.local_url)
    _page.warm_up()
    page.block_thread()


if __name__ == "__main__":
    main()
