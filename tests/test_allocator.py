"""The allocator keeps large blocks, also in worker threads, and gives them back when it is told."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
import threading
import time
import types

import gradio as gr
import pytest

from core.cpu import allocator
from tests.conftest import PATIENCE, wait_for

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
# Thirty times 64 MB in a worker thread, and how many page faults that takes.
SCRIPT = """
import resource, sys, threading
from core.cpu import allocator
done = allocator.tune() if sys.argv[1] == "tuned" else None
import numpy as np
counted = []
def work():
    np.ones(8_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(30):
        np.ones(8_000_000)
    counted.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
thread = threading.Thread(target=work)
thread.start()
thread.join()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
kept = resident()
allocator.trim()
print(done, counted[0], kept - resident())
"""


def run(mode: str, **environment: str) -> tuple[str, int, int]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mode],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    tuned, faults, given_back = done.stdout.split()
    return tuned, int(faults), int(given_back)


@glibc
def test_large_blocks_are_kept_until_trimmed():
    _, stock, _ = run("stock")
    tuned, faults, given_back = run("tuned")
    assert tuned == "True"
    assert faults < stock / 20
    assert given_back > 50_000_000


@glibc
def test_the_owners_own_settings_stand():
    assert run("tuned", MALLOC_ARENA_MAX="4")[0] == "False"


@pytest.fixture
def trims(monkeypatch):
    """How often memory was given back by threads of this test; pages of others trim as well."""
    done: list[int] = []
    others = {*threading.enumerate()}

    def noted():
        if threading.current_thread() not in others:
            done.append(1)

    monkeypatch.setattr(allocator, "trim", noted)
    return done


def test_memory_goes_back_once_after_the_work(trims, monkeypatch):
    done = threading.Event()
    clock = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: done.wait(300))
    monkeypatch.setattr(allocator, "time", clock)
    trimmer = allocator.Trimmer(idle=0.5, at_most=600)
    for _ in range(5):
        trimmer.note()
    assert not trims
    done.set()
    wait_for(lambda: trims)
    wait_for(lambda: not trimmer._waits)
    assert trims == [1]
    trimmer.note()
    wait_for(lambda: len(trims) == 2)


def test_memory_goes_back_while_work_never_ends(trims):
    trimmer = allocator.Trimmer(idle=60, at_most=0.05)
    trimmer.note()
    wait_for(lambda: trims)


def test_every_call_of_the_page_is_noted(monkeypatch):
    """Also one that is refused before its handler begins."""
    from demos import _page

    noted: list[int] = []
    monkeypatch.setattr(_page._trimmer, "note", lambda: noted.append(1))
    with gr.Blocks():
        page = _page.Page()
    with pytest.raises(gr.Error):
        asyncio.run(page.process_api(None, []))
    assert noted == [1]
