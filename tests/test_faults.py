"""Injected faults: each a clear sentence, the next request right, the other tabs untouched."""

from __future__ import annotations

import pytest

from benchmarks import fault_list, faults
from core.serving import runtime

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hub():
    runtime.reset()
    with faults.served_hub() as served:
        yield served
    runtime.reset()


@pytest.mark.parametrize("fault", fault_list.FAULTS, ids=lambda fault: fault.name)
def test_fault_is_met(hub, fault):
    row = hub.examine(fault)
    assert row.met, row


@pytest.mark.parametrize(
    "text",
    ["", "Traceback (most recent call last)", "no full stop", "See /tmp/x.", "One.\nTwo.", "None"],
)
def test_what_is_no_clear_sentence(text):
    assert not faults.is_clear(text)


def test_a_fault_that_is_not_met_is_told():
    row = faults.Row(fault_list.FAULTS[1], "There is too little memory.", True, True)
    assert row.met
    assert not faults.Row(row.fault, row.said, False, True).met
    assert not faults.Row(row.fault, row.said, True, False).met
    assert not faults.Row(row.fault, "Please try again.", True, True).met


def test_a_section_is_written_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# Head\n\n<!-- a -->\nold\n<!-- /a -->\n\nTail\n")
    faults.write_section(page, "a", "new")
    faults.write_section(page, "a", "newer")
    assert page.read_text() == "# Head\n\n<!-- a -->\n\nnewer\n\n<!-- /a -->\n\nTail\n"
