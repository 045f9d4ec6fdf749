"""Make Gradio's per-session state cheap and bounded.

Every API call is its own session. For each, Gradio 6.31 computes the settings of every component of
the page (36 ms of CPU time and 0.4 MB with 250 components) and stores the values sent, including
pictures in `data:` URLs. Only links to a page's state would need that, and there are none here. It
also drops the least recently used sessions, so a few hundred API calls would remove the state of a
visitor who looks at the page for some minutes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

CAPACITY = 4096  # sessions in all
STATELESS = 256  # without gr.State; more than the queue holds


class Session(SessionState):
    """A session that keeps gr.State and changed components, not values sent and shown."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # Settings are computed up front for the components found in `blocks`: none.
        bare: Any = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(bare)

    def _update_config(self, key: int) -> None:
        """Gradio stores a component's settings."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Gradio stores a value."""


class Sessions(StateHolder):
    """The sessions of a page; those without state are dropped first."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
            self._forget()
        return super().__getitem__(session_id)

    def _forget(self) -> None:
        with self.lock:
            sessions = list(self.session_data.items())  # least recently used first
            empty = [key for key, session in sessions if not session.state_data]
            for key in empty[:-STATELESS]:
                self.session_data.pop(key, None)
                self.time_last_used.pop(key, None)


def install(page: gr.Blocks) -> None:
    """Use this for the sessions of a launched page."""
    page.app.state_holder = Sessions()
    page.app.state_holder.set_blocks(page)
