"""The app killed in the middle of its work, and the arithmetic of the soak."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks import soak, soak_report
from benchmarks.startup import free_port
from core.sources import hf_client
from demos.server import files
from tests import hub_server
from tests.conftest import PATIENCE, wait_for


@pytest.mark.slow
def test_a_short_soak_leaves_nobody_out_and_a_killed_hub_gives_the_same_answers(tmp_path):
    """Also with a home that cannot be written."""
    port, uploads, soaked = free_port(), tmp_path / "uploads", soak_report.Report(4)
    # Where nothing can be remembered, a processor with bf16 measures anew after the second start
    # whether it may use it, and answers in fp32 until then; here both are to do the same sums.
    same = {"VISION_HUB_PRECISION": "fp32"}
    unwritable = {"HOME": "/dev/null/home", "HF_HOME": "/dev/null/hub", **same}
    with soak.running(port, uploads, **same) as process:
        soak.beside_long_jobs(port, 1, soaked)
        soak.soak(port, process.pid, uploads, soaked)
        own = next(uploads.iterdir())
        cut = own / "tmp_cut_off"
        cut.write_bytes(b"half of an upload")
        report = soak.restart(port, uploads, process, endpoints=1, **unwritable)
    assert report.same and report.restart > 0
    assert soaked.errors == [] and min(soaked.served) > 0
    assert soaked.alone and soaked.beside
    assert 0 < soaked.files < soak_report.FILES_MB
    assert min(mb for _, mb in soaked.memory) > 100
    # What the killed process left behind is swept by the next one.
    past = time.time() - files.CUT_SECONDS - 60
    os.utime(cut, (past, past))
    files.sweep(own, files.KEEP_SECONDS, 10**9)
    assert not cut.exists()


@pytest.mark.perf
def test_a_killed_hub_is_back_within_ten_seconds(tmp_path):
    port = free_port()
    with soak.running(port, tmp_path) as process:
        report = soak.restart(port, tmp_path, process, endpoints=1)
    assert 0 < report.restart <= soak_report.LIMITS["restart"]


FETCH = """
from core.sources import hf_client
print(hf_client.download("me/net", "model.safetensors", None, "Net"), flush=True)
"""


def test_a_download_that_kill_9_cut_off_goes_on_where_it_stopped(tmp_path):
    content = random.Random(0).randbytes(30_000_000)
    with hub_server.serve() as local:
        local.put("me/net", "model.safetensors", content)
        local.faults["me/net"] = "stall"  # after one half
        there = {"HF_ENDPOINT": local.url, "HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path)}
        command = [sys.executable, "-c", FETCH]
        env = {**os.environ, **there, "VISION_HUB_OFFLINE": "0", "HF_HUB_OFFLINE": "0"}

        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
        try:
            wait_for(lambda: any(f.stat().st_size > 10**6 for f in tmp_path.rglob("*.part")))
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE)
        (part,) = tmp_path.rglob("*.part")
        had = part.stat().st_size
        # What other programs leave is theirs to continue, and goes when it is old.
        old, young = (part.with_name(f"{name}.incomplete") for name in ("old", "young"))
        for left in (old, young):
            left.write_bytes(b"half")
        past = time.time() - hf_client.CUT - 60
        os.utime(old, (past, past))
        local.faults.clear()
        # Where a lock of a killed process were waited for, this would not come to its end.
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=True
        )
    assert Path(done.stdout.strip()).read_bytes() == content
    assert local.ranges == [had] and 0 < had < len(content)
    assert set(tmp_path.rglob("*.incomplete")) == {young}
    assert not list(tmp_path.rglob("*.part"))


COLD = """
import threading
import numpy as np
grey, errors = np.full((64, 64, 3), 127, np.uint8), []
def classify():
    from core import classify
    classify.predict(grey)
def detect():
    from core import detect
    detect.predict(grey)
def reconstruct():
    from core import reconstruct
    reconstruct.predict(grey)
def segment():
    from core import segment
    segment.predict(grey, [[5, 5, 1]])
def denoise():
    from core import restore
    restore.denoise(grey)
def run(task):
    try:
        from demos.shell import ui
        ui.guarded(task, libraries=True)()
    except Exception as error:
        errors.append(repr(error))
threads = [threading.Thread(target=run, args=(task,))
           for task in (classify, detect, reconstruct, segment, denoise) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(errors)
"""


@pytest.mark.slow
def test_many_at_once_are_answered_while_the_libraries_come_in():
    done = subprocess.run(
        [sys.executable, "-c", COLD],
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=True,
    )
    assert done.stdout.strip().endswith("[]"), done.stdout + done.stderr


def test_jain():
    assert soak_report.jain([5, 5, 5, 5]) == 1
    assert soak_report.jain([8, 0, 0, 0]) == 0.25
    assert 0.9 < soak_report.jain([5, 5, 5, 2]) < 0.95
    assert soak_report.jain([0, 0]) == 0


def test_slope_counts_after_the_second_minute():
    growing = [(s, 100 + max(0, s - 120) * 0.1) for s in range(300)]
    assert soak_report.slope_mb_per_minute(growing) == pytest.approx(6)
    start_only = [(s, min(s, 100)) for s in range(300)]
    assert soak_report.slope_mb_per_minute(start_only) == pytest.approx(0, abs=1e-6)


def test_verdicts():
    def report(**values):
        fine = {
            "served": [9] * 8,
            "memory": [(s, 500.0) for s in range(300)],
            "files": 20.0,
            "alone": [0.1] * 9,
            "beside": [0.2] * 9,
            "restart": 5.0,
            "same": True,
        }
        made = soak_report.Report(300)
        for name, value in {**fine, **values}.items():
            setattr(made, name, value)
        return made

    assert all(holds for *_, holds in report().verdicts())
    assert "holds" in report().markdown()
    worse = [
        {"served": [9] * 7 + [1]},
        {"memory": [(s, 500 + s * 0.1) for s in range(300)]},
        {"files": 300.0},
        {"beside": [0.4] * 9},
        {"restart": 11.0},
        {"same": False},
        {"errors": ["classify: no answer"]},
    ]
    for values in worse:
        bad = report(**values)
        assert [holds for *_, holds in bad.verdicts()].count(False) == 1, values
        assert "**exceeded**" in bad.markdown()
    short = report(served=[9] * 7 + [1], beside=[0.4] * 9)
    short.seconds = 30
    assert False not in [holds for *_, holds in short.verdicts()]
