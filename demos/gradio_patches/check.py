"""The private names of Gradio that this project uses, checked once at startup.

Gradio's minor version is pinned because of them (requirements.txt). Without the check, a release
that renames one would fail in the middle of somebody's request.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import gradio as gr

# Keyed by the file that uses them. The first word is a Gradio module, or an object to create.
USED: dict[str, tuple[str, ...]] = {
    "demos/gradio_patches/queue.py": (
        *("queueing.Event", "queueing.Queue"),
        *("queue.push", "queue.process_events", "queue.clean_events", "queue.send_message"),
        *("queue.blocks", "queue.stopped", "queue.sleep_when_free"),
        *("queue.progress_update_sleep_when_free", "queue.event_queue_per_concurrency_id"),
        *("queue.event_ids_to_events", "queue.pending_event_ids_session"),
        *("queue.pending_messages_per_session", "line.queue"),
        *("event._id", "event.alive", "event.session_hash", "event.concurrency_id"),
        *("event.enqueue_time", "event.request", "server_messages.ProcessCompletedMessage"),
    ),
    "demos/gradio_patches/light.py": (
        *("blocks.anyio.to_thread.run_sync", "processing_utils.async_move_files_to_cache"),
        *("data_classes.GradioModel", "route_utils.API_PREFIX", "client.encode_file_path"),
        "component.temp_files",
    ),
    "demos/gradio_patches/sessions.py": (
        *("state_holder.StateHolder", "state_holder.SessionState._update_config"),
        *("state_holder.SessionState._update_value_in_config", "session.state_data"),
        *("holder.session_data", "holder.time_last_used", "holder.lock", "holder.set_blocks"),
        *("page.default_config", "page.app.state_holder"),
    ),
    "demos/gradio_patches/share.py": (
        *("networking.setup_tunnel", "exceptions.ChecksumMismatchError"),
        *("exceptions.ShareCertificateWriteError", "page.space_id", "page.share_url"),
    ),
    "demos/_page.py": ("page.preprocess_data", "page.process_api", "page.fns", "page._queue"),
    "demos/shell/ui.py": tuple(
        f"context.LocalContext.{name}" for name in ("blocks", "event_id", "request")
    ),
    "demos/server/guard.py": ("route_utils.FnIndexInferError",),
    "demos/segment/__init__.py": ("EventData._data",),
}


MODULES = (
    *("blocks", "context", "data_classes", "exceptions", "networking", "processing_utils"),
    *("queueing", "route_utils", "server_messages", "state_holder"),
)


def check(page: gr.Blocks | None = None) -> None:
    """Stop if this version of Gradio lacks a name that we use; a page's names need a page.

    Raises:
        RuntimeError: one sentence with every missing name and the file that uses it.
    """
    found = _objects(page)
    missing = [
        f"{name} ({user})"
        for user, names in USED.items()
        for name in names
        if (page or not name.startswith("page.")) and not _has(found, name)
    ]
    if missing:
        raise RuntimeError(
            f"Gradio {gr.__version__} lacks names that Vision Hub uses: {', '.join(missing)}; "
            "please install the version in requirements.txt."
        )


def _objects(page: gr.Blocks | None) -> dict[str, Any]:
    """The objects that the names start from; None for one that cannot be created."""
    made: dict[str, Any] = {"page": page}
    for name in MODULES:
        made[name] = _made(import_module, f"gradio.{name}")
    queues, states = made["queueing"], made["state_holder"]
    nothing = SimpleNamespace(blocks={}, concurrency_id="any")
    bare = SimpleNamespace(blocks={}, default_config=nothing)
    return made | {
        "client": _made(import_module, "gradio_client.utils"),
        "component": gr.Textbox(render=False),
        "EventData": gr.EventData(None, {}),
        "queue": _made(getattr(queues, "Queue", None), True, 1, 1, None, nothing, 1),
        "line": _made(getattr(queues, "EventQueue", None), "any", 1),
        "event": _made(getattr(queues, "Event", None), None, nothing, None, None),
        "holder": _made(getattr(states, "StateHolder", None)),
        "session": _made(getattr(states, "SessionState", None), bare),
    }


def _made(make: Callable[..., Any] | None, *values: Any) -> Any:
    try:
        return make(*values) if make else None
    except (ImportError, AttributeError, TypeError):
        return None


def _has(found: dict[str, Any], name: str) -> bool:
    first, _, rest = name.partition(".")
    try:
        attrgetter(rest)(found.get(first))
    except AttributeError:
        return False
    return True


check()  # at import, before the modules that need these names
