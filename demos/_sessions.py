"""What Gradio keeps for each session, made cheap and bounded.

Every call of the API is a session of its own. For each, Gradio 6.31 computes and keeps the settings
of every component of the page, which only links to a page's state need (there are none here): with
250 components 36 ms of CPU time and 0.4 MB, more than a classification costs. And it forgets the
sessions used longest ago, so that a few hundred calls of the API would take the objects of a
visitor who looks at a page for some minutes.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
from gradio.state_holder import StateHolder

CAPACITY = 4096  # sessions in all
STATELESS = 256  # of which hold no gr.State; more than can wait in the queue


class Sessions(StateHolder):
    """Sessions that start without settings, those that hold nothing forgotten first."""

    def set_blocks(self, blocks: gr.Blocks) -> None:
        """Serve the sessions of a page."""
        super().set_blocks(blocks)
        # A session computes the settings of the components that it finds in `blocks` at once, and
        # those of others when a value of theirs is set.
        bare = SimpleNamespace(default_config=blocks.default_config, blocks={})
        self.blocks = bare  # type: ignore[assignment]

    def update(self, session_id: str) -> None:
        """Note that a session is in use, and forget what is too many."""
        super().update(session_id)
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
