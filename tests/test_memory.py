"""A picture of 48 megapixels takes little more memory than itself, and gives it back."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import memory
from benchmarks.soak import Caller, running
from benchmarks.startup import free_port
from tests.conftest import PATIENCE

MARGIN = 1.25  # another allocator, another Pillow: the benchmark has the goals themselves

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc"
)


@pytest.mark.perf
def test_a_large_picture_raises_the_server_by_little_and_it_comes_back(tmp_path):
    port = free_port()
    with running(port, tmp_path) as process:
        caller = Caller(port, 0, seconds=4 * PATIENCE)
        for endpoint in ("classify", "segment_everything"):
            row = memory.measured(caller, process.pid, endpoint, memory.SIDE)
            assert row.above < MARGIN * memory.MOST, row
            assert row.left < 2 * memory.LEFT, row


def test_a_peak_is_seen_and_forgotten():
    before = memory.in_memory(os.getpid(), "VmRSS")
    memory.forget_peak(os.getpid())
    block = np.ones(100_000_000, np.uint8)
    assert memory.in_memory(os.getpid(), "VmHWM") > before + 90
    assert memory.in_memory(os.getpid(), "VmRSS") > before + 90
    del block


def test_the_table_tells_what_was_missed():
    fine = memory.Row("classify", 144, 0, 400, 10, 5)
    high = memory.Row("segment", 144, 0, 700, 10, 5)
    kept = memory.Row("denoise", 144, 144, 600, 300, 60)
    assert [row.holds for row in (fine, high, kept)] == [True, False, False]
    lines = memory.table([fine, high, kept]).splitlines()
    assert lines[2] == "| `/classify` | 144 | 0 | 256 | 10 | 5 | holds |"
    assert lines[4].endswith("| 300 | 60 | **exceeded** |")
