"""ZeroGPU: what runs a model runs in a forked process, and its results come back."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import classify, detect, images, reconstruct, restore, segment
from core.checkpoints import TASK_SPECS
from core.errors import HubError, InputError
from core.lessons import attention, nms, positions
from core.serving import backends, runtime
from core.settings import get_settings
from demos.shell import elsewhere, zero
from tests.conftest import PATIENCE
from tests.live import EXAMPLES
from tests.test_packaging import ROOT

CAT = EXAMPLES / "chelsea.jpg"
SMALL = EXAMPLES / "small.png"


class Forked:
    """Stands in for `spaces.GPU`: a process per call, arguments and results pickled both ways."""

    def __init__(self) -> None:
        self.seconds: list[int] = []
        self.inside = False  # only a copy of this, in a forked process, is ever True

    def __call__(self, task: Callable[..., Any], duration: Callable[..., int]) -> Any:
        def answer(call: backends.Call) -> Any:
            if self.inside:
                return task(call)
            self.seconds.append(duration(call))
            return next(self._from_process(lambda sent: [task(sent)], call))

        def steps(call: backends.Call) -> Iterator[Any]:
            if self.inside:
                yield from task(call)
                return
            self.seconds.append(duration(call))
            yield from self._from_process(task, call)

        return answer if task is zero._answer else steps

    def _from_process(self, task: Callable[..., Any], call: backends.Call) -> Iterator[Any]:
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe(duplex=False)
        sent = pickle.dumps(call)

        def work() -> None:
            self.inside = True

            def run() -> None:
                for found in task(pickle.loads(sent)):
                    theirs.send(found)
                theirs.send("the end")

            # As `spaces` does: OpenMP's helpers did not survive the fork, a new thread gets others.
            thread = threading.Thread(target=run)
            thread.start()
            thread.join()

        process = fork.Process(target=work, daemon=True)
        process.start()
        theirs.close()
        try:
            while not isinstance(found := ours.recv(), str):
                yield found
        finally:
            process.kill()
            process.join()


@pytest.fixture
def gpu() -> Iterator[Forked]:
    stand_in = Forked()
    backends.use(zero.ZeroGpu(stand_in), elsewhere.modules())
    try:
        yield stand_in
    finally:
        backends.stop()


def same(one: Any, other: Any) -> None:
    """Equal, down to the last pixel; but not in seconds, and in hits of a store."""
    if isinstance(one, np.ndarray | torch.Tensor):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    elif is_dataclass(one):
        assert type(one) is type(other)
        for name in (f.name for f in fields(one) if f.name not in ("info", "seconds", "cache")):
            same(getattr(one, name), getattr(other, name))
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert one == other


def everything(image: Any) -> Any:
    return runtime.finish(segment.everything_steps(image, points_per_side=4))


CALLS: dict[str, tuple[Callable[[], Any], int]] = {  # with the seconds of GPU
    "classify": (lambda: classify.predict(CAT, "auto", 3), 15),
    "the names of classes": (lambda: classify.classes()[:5], 15),
    "detect": (lambda: detect.predict(CAT), 15),
    "detect, inside": (lambda: detect.inside(CAT), 15),
    "segment": (lambda: segment.predict(CAT, [[200, 150, 1]]), 20),
    "a picture by reference": (
        lambda: segment.predict(images.picture(SMALL), [[20, 20, 1]], refine=0),
        20,
    ),
    "everything": (lambda: everything(SMALL), 90),
    "reconstruct": (lambda: reconstruct.predict(CAT), 15),
    "denoise": (lambda: restore.denoise(SMALL), 90),
    "enlarge": (lambda: restore.super_resolve(SMALL, scale=4), 90),
    "a lesson": (lambda: attention.look(CAT), 30),
    "a lesson of two models": (lambda: nms.compare(CAT), 30),
    "a lesson without a picture": (lambda: positions.look(), 30),  # noqa: PLW0108  (found late)
}


@pytest.mark.parametrize("name", CALLS)
def test_results_come_back_as_they_are(gpu: Forked, name: str):
    """As computed here; and nothing is computed here while they are."""
    ask, seconds = CALLS[name]
    before = runtime.models().stats()
    there = ask()
    assert runtime.models().stats() == before
    assert gpu.seconds == [seconds]
    backends.stop()
    same(there, ask())


def test_errors_come_back_as_their_sentence(gpu: Forked):
    with pytest.raises(InputError, match="top_k"):
        classify.predict(CAT, top_k=0)
    with pytest.raises(InputError, match="scale"):
        restore.super_resolve(SMALL, scale=7)
    with pytest.raises(HubError):
        segment.predict(CAT, [])


def test_a_job_comes_back_step_by_step(gpu: Forked):
    steps = restore.steps("denoise", CAT)
    first = next(steps)
    assert isinstance(first, float)
    steps.close()  # a visitor cancels
    assert gpu.seconds == [90]


def test_what_shows_progress_stays_here(gpu: Forked):
    found = classify.predict(CAT, progress=lambda fraction, said: None)
    assert found.labels


def test_a_picture_of_the_page_can_be_sent(tmp_path, monkeypatch):
    from demos.shell import picture

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = picture.picture_of(Path(shutil.copy(SMALL, tmp_path)))
    sent = pickle.loads(pickle.dumps(made))
    assert sent == made
    np.testing.assert_array_equal(sent.pixels(), made.pixels())


def test_every_function_that_runs_a_model_is_behind_the_gpu():
    """All that the tabs and lessons call; those that take functions only build others."""
    backends.use(zero.ZeroGpu(lambda task, duration: task), elsewhere.modules())
    try:
        wrapped = {name.removeprefix("core.") for name in backends.sent()}
    finally:
        backends.stop()
    for spec in TASK_SPECS.values():
        assert any(name.startswith(f"{spec.module}.") for name in wrapped), spec.module
    lessons = {path.stem for path in (ROOT / "core/lessons").glob("[!_]*.py")}
    without = lessons - {name.split(".")[1] for name in wrapped if name.startswith("lessons.")}
    assert without == {"motion"}  # which has no model
    assert not wrapped & {"classify.inside", "classify.through", "classify.of_model"}
    assert {f"core.{name.rpartition('.')[0]}" for name in wrapped} >= backends.STICKY
    assert classify.predict.__module__ == "core.classify"


def test_elsewhere_nothing_is_wrapped(monkeypatch):
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    get_settings.cache_clear()
    before = classify.predict
    zero.install()
    assert classify.predict is before
    assert not backends.sent()
    get_settings.cache_clear()


def test_the_package_changes_nothing_elsewhere():
    spaces = pytest.importorskip("spaces")
    assert spaces.GPU(zero._answer, duration=zero.seconds) is zero._answer
    assert spaces.GPU(zero._steps, duration=zero.seconds) is zero._steps


@pytest.mark.long
def test_with_the_package_itself(tmp_path):
    """Its emulated CUDA, its packing of models, and its workers; all but the graphics card."""
    pytest.importorskip("spaces")
    done = subprocess.run(
        [sys.executable, "-m", "tests.zero_space", "/classify", "/denoise", "/attention"],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path), "VISION_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["faults"].values()) == {""}, done.stdout + done.stderr
    assert found["device"] == "cuda" and not found["initialised"]
    assert len(found["placed"]) == len(set(found["placed"])) == len(TASK_SPECS) + 1  # two scales
    assert found["packed"] > 20e6
    assert found["loads"] == 0  # in this process
    assert found["asked"] == ["/startup-report", *["/schedule", "/allow", "/release"] * 3]
    assert found["seconds"] == ["15", "90", "30"]
