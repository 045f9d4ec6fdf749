"""What Gradio keeps for each session, made cheap and bounded.

Every call of the API is a session of its own. For each, Gradio 6.31 computes the settings of every
component of the page, with 250 components 36 ms of CPU time and 0.4 MB, and adds the values that
are sent, pictures in `data:` URLs among them. Only links to a page's state would need that, and
there are none here. And it forgets the sessions used longest ago, so that a few hundred calls of
the API would take the objects of a visitor who looks at a page for some minutes.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

CAPACITY = 4096  # sessions in all
STATELESS = 256  # of which hold no gr.State; more than can wait in the queue


class Session(SessionState):
    """A session that keeps gr.State and changed components, not what was sent and shown."""

    def __init__(self, blocks: gr.Blocks) -> None:
        # Settings are computed at once for the components that are found in `blocks`: none.
        bare: Any = SimpleNamespace(default_config=blocks.default_config, blocks={})
        super().__init__(bare)

    def _update_config(self, key: int) -> None:
        """Gradio's note of a component's settings."""

    def _update_value_in_config(self, key: int, value: Any) -> None:
        """Gradio's note of a value."""


class Sessions(StateHolder):
    """The sessions of a page; those that hold nothing are forgotten first."""

    def __getitem__(self, session_id: str) -> SessionState:
        if session_id not in self.session_data:
            self.session_data[session_id] = Session(self.blocks)
            self._forget()
        return super().__getitem__(session_id)

    def _forget(self) -> None:
        with self.lock:
            sessions = list(self.session_data.items())  # used longest ago first
            empty = [key for key, session in sessions if not session.state_data]
            for key in empty[:-STATELESS]:
                self.session_data.pop(key, None)
                self.time_last_used.pop(key, None)


def install(page: gr.Blocks) -> None:
    """Let the app of a page that was launched keep its sessions so."""
    page.app.state_holder = Sessions()
    page.app.state_holder.set_blocks(page)
