"""Gradio's sessions: cheap for calls of the API, kept for those who look at the page."""

from __future__ import annotations

import gradio as gr
import pytest
from gradio_client import Client

import app
from demos.gradio_patches import sessions


@pytest.fixture
def page():
    with gr.Blocks() as blocks:
        kept, word, said = gr.State(0), gr.Textbox(), gr.Textbox()

        def count(number: int, text: str) -> tuple[int, str]:
            return number + 1, f"{text} {number + 1}"

        word.submit(count, [kept, word], [kept, said], api_name="count")
    blocks.launch(prevent_thread_lock=True, quiet=True, state_session_capacity=8)
    sessions.install(blocks)
    yield blocks
    blocks.close()


def test_a_new_session_computes_no_settings_of_components(page, monkeypatch):
    monkeypatch.setattr(
        type(page.default_config), "config_for_block", lambda *_: pytest.fail("computed")
    )
    assert page.app.state_holder["new"].config_values == {}


def test_what_was_sent_and_shown_is_not_kept(page):
    client = Client(page.local_url, verbose=False)
    long = "a" * 100_000
    assert client.predict(long, api_name="/count") == f"{long} 1"
    (session,) = page.app.state_holder.session_data.values()
    assert session.state_data
    assert long not in repr(
        (session.config_values, session.state_data, session.blocks_config.blocks)
    )


def test_state_goes_on_within_a_session_and_not_into_another(page):
    first, second = Client(page.local_url, verbose=False), Client(page.local_url, verbose=False)
    assert first.predict("a", api_name="/count") == "a 1"
    assert first.predict("b", api_name="/count") == "b 2"
    assert second.predict("c", api_name="/count") == "c 1"


def test_sessions_without_state_are_forgotten_first(page, monkeypatch):
    monkeypatch.setattr(sessions, "STATELESS", 2)
    holder = page.app.state_holder
    holder["visitor"].state_data[1] = "objects"
    for number in range(20):
        assert not holder[f"call {number}"].state_data
    assert list(holder.session_data) == ["visitor", "call 18", "call 19"]
    assert set(holder.time_last_used) == set(holder.session_data)


def test_sessions_with_state_are_bounded_too(page):
    holder = page.app.state_holder
    for number in range(20):
        holder[str(number)].state_data[1] = number
    assert list(holder.session_data) == [str(number) for number in range(12, 20)]


def test_the_hub_is_served_so():
    with app.served_page() as hub:
        holder = hub.app.state_holder
        assert isinstance(holder, sessions.Sessions) and hub.state_holder is holder
        assert holder.capacity == sessions.CAPACITY
