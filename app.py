"""Start Vision Hub: `python app.py`. Settings are environment variables (see core/settings.py)."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

gc.disable()  # until the imports are done, see core/cpu/collector.py

# All of these are read when Gradio and huggingface_hub are imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
# The queue collects figures on events for a page that is disabled here, after each event.
os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "100")
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", "1000")

if os.environ.get("SPACES_ZERO_GPU"):
    # `spaces` would delete weight files of the hub's cache once their tensors are packed.
    os.environ.setdefault("ZEROGPU_MMAP_AUTOPRUNE_PATTERN", "/none")
    os.environ.setdefault("VISION_HUB_BATCH", "1")  # each call has a process of its own
    importlib.import_module("spaces")  # the Space has it; it must come before PyTorch

from demos.server import files

# Uploads go to a folder that nobody else uses, so that it can be cleaned.
os.environ["GRADIO_TEMP_DIR"] = str(files.claim())

import gradio as gr
from pydantic import ValidationError
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from core.checkpoints import to_preload
from core.cpu import allocator, collector, compute_threads
from core.images import MAX_BYTES
from core.settings import Settings, get_settings
from core.sources import downloads, resolver
from demos import _page
from demos.gradio_patches import queue, sessions, share
from demos.server import basic, gate, guard, http, mcp, pages
from demos.shell import elsewhere, owner, preview, ui, zero

gc.enable()

PRIVATE_NETWORKS = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
_log = logging.getLogger("vision-hub")


async def healthz(_: Request) -> JSONResponse:
    """200 once the app serves."""
    return JSONResponse({"status": "ok"})


def meter(_: Request) -> JSONResponse:
    """The cache meter over plain HTTP."""
    return JSONResponse(_page.status())


def theme() -> gr.themes.Base:
    """Gradio's Soft theme, calmer: plain titles, borders, one accent, and small print dark enough
    to read (contrast 4.5 to 1)."""
    return gr.themes.Soft(font=("system-ui", "sans-serif")).set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_label_text_color="*body_text_color",
        block_label_background_fill="*background_fill_primary",
        block_label_background_fill_dark="*background_fill_secondary",
        block_label_text_weight="500",
        block_title_text_color="*body_text_color",
        block_title_text_weight="600",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_padding="0",
        block_border_width="1px",
        block_border_width_dark="1px",
        block_shadow="none",
        block_shadow_dark="none",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_secondary_border_color="*neutral_200",
        button_border_width="1px",
        button_border_width_dark="1px",
        link_text_color_dark="*secondary_300",
        link_text_color_hover_dark="*secondary_200",
    )


def launch(page: _page.Page, **overrides: Any) -> Any:
    """Serve `page` with the settings from the environment; `overrides` are for tests."""
    settings = get_settings()
    if settings.space_id:
        # On a Space all requests come through its proxies, on other machines: without trusting them
        # all visitors would be one, with one rate limit and each other's uploads. Only the proxies
        # are trusted: addresses forged by a visitor precede the one that the proxies saw.
        os.environ.setdefault("FORWARDED_ALLOW_IPS", PRIVATE_NETWORKS)
    routes = [Route("/healthz", healthz)]
    if settings.login is None:  # plain routes have no login; the API's /status does
        routes.append(Route("/status", meter))
    rules = guard.Rules(
        settings.per_minute,
        login=settings.login is not None,
        mcp=settings.mcp,
        previews=_page.previews(page),
    )
    middleware = [
        Middleware(guard.Guard, rules=rules),
        Middleware(queue.Listening, places=page.places),
        Middleware(preview.Previews),
        Middleware(pages.Pages, login=rules.login),
    ]
    lifespan = gate.around(rules.login)
    if settings.mcp:
        offered = mcp.Mcp(_page.tools(page), guard.MAX_JSON)
        middleware = [
            Middleware(basic.Basic),
            *middleware,
            Middleware(offered.middleware),
        ]
        lifespan = offered.around(lifespan)
    options: dict[str, Any] = {
        # Unset, Gradio's own GRADIO_SERVER_NAME decides, which Spaces set.
        "server_name": settings.address,
        "server_port": settings.port or None,
        "share": settings.share,
        "auth": settings.login,
        "theme": theme(),
        "css_paths": _page.CSS,
        "footer_links": ["api"],
        # Gradio says this to screen readers after each event, and has no words for it.
        "i18n": gr.I18n(en={"common.complete": "Done"}),
        "show_error": False,
        "max_file_size": MAX_BYTES,
        "state_session_capacity": sessions.CAPACITY,
        "enable_monitoring": False,
        "run_history": False,
        "ssr_mode": False,
        "mcp_server": False,  # ours is demos/server/mcp.py
        "app_kwargs": {
            "routes": routes,
            "middleware": middleware,
            "lifespan": lifespan,
        },
    }
    http.install()
    launched = page.launch(**{**options, **overrides})
    sessions.install(page)
    return launched


@contextmanager
def served_page() -> Iterator[_page.Page]:
    """The page, served on a free port of this machine, for tests and scripts."""
    page = _page.build()
    launch(
        page,
        server_name="127.0.0.1",
        server_port=None,
        share=False,
        auth=None,
        prevent_thread_lock=True,
        quiet=True,
    )
    try:
        yield page
    finally:
        try:
            page.close()
        except RuntimeError:  # Gradio wakes waiters while one of them leaves
            page.close()


@contextmanager
def served() -> Iterator[str]:
    """Address of `served_page`."""
    with served_page() as page:
        yield str(page.local_url)


def use_replicas() -> None:
    """Send the tasks' calls to the replicas of a Ray cluster, or end with a sentence."""
    from core.serving import backends
    from scale import environment, page

    try:
        backends.use(page.Ray(), elsewhere.modules())
    except ImportError as error:
        if error.name != "ray":
            raise
        sys.exit(environment.MISSING)
    except ConnectionError:
        sys.exit(environment.NO_CLUSTER)


def preload() -> None:
    """Begin the downloads that the settings name, in the background."""
    wanted, unknown = to_preload(get_settings().preloaded, resolver.on_gpu())
    if unknown:
        _log.error(
            "VISION_HUB_PRELOAD names no checkpoint to download: %s. Use recommended, all, none, "
            "or keys that /checkpoints lists as full.",
            ", ".join(unknown),
        )
    if wanted:
        downloads.preload(wanted)


def started(settings: Settings) -> tuple[_page.Page, share.Attempt]:
    """Build the page and serve it, or end with a sentence."""
    page = _page.build()
    if settings.zero_gpu:
        _page.place()  # in this thread, and before the launch, which packs what is on the GPU
    try:
        with share.watched() as attempt:
            launch(page, prevent_thread_lock=True)
    except ImportError as error:
        if error.name != "mcp":
            raise
        sys.exit(mcp.MISSING)
    except OSError as error:
        if "empty port" not in str(error):
            raise
        sys.exit(
            f"Port {settings.port} is taken, or {settings.address or 'the host'} is not an address "
            "of this machine; choose another port, as in VISION_HUB_PORT=8000 make run."
        )
    return page, attempt


def main() -> None:
    """Build the page, serve it, and warm up the models in the background."""
    allocator.tune()  # before the first request imports PyTorch
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs every request
    try:
        settings = get_settings()
    except ValidationError as error:  # its text repeats values, including a password
        sys.exit("\n".join(f"{fault['loc'][0]}: {fault['msg']}" for fault in error.errors()))
    collector.spare_libraries()
    if settings.backend == "ray":
        use_replicas()
    if not settings.expects_gpu:
        compute_threads.dedicate()
    resolver.limit_waiting(ui.DEVICE_QUEUE[1] // 2)
    zero.install()
    if settings.short_host and not settings.address:
        _log.info("HOST is not an address of this machine and is ignored; set VISION_HUB_HOST.")
    with collector.paused():
        page, attempt = started(settings)
    if settings.share:
        level = logging.INFO if page.share_url else logging.WARNING
        _log.log(level, "%s", share.told(page, attempt))
    _log.info("To pin and unload models: %s", owner.link(str(page.local_url)))
    files.keep_sweeping()
    if not settings.zero_gpu:  # there, a model can run only for a visitor
        _page.warm_up(models=settings.backend == "local")
    preload()
    page.block_thread()


if __name__ == "__main__":
    main()
