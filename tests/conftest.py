"""What tests of core share: an empty hub that a test fills with its own small checkpoints."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is imported
# Where the app has run before, the agreement of bf16 that it measured would count here too.
os.environ.setdefault("VISION_HUB_PRECISION", "fp32")

import numpy as np
import pytest

# Seconds in which a test waits for what must come, also on a machine that is busy with other work.
# What a test measures against the clock is marked `perf` and not run by default.
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = float(os.environ.get("VISION_HUB_PATIENCE", "300"))

# Files that take longest, longest first: whatever a worker begins last, the others wait for.
LONGEST = (
    "test_result_browser",
    "test_app_browser",
    "test_one_picture",
    "test_serve_benchmark",
    "test_restart",
    "test_published",
    "test_canvas_browser",
    "test_decode_memory",
    "test_pictures_browser",
    "test_fuzz_api",
    "test_fallback",
    "test_classify_lessons_browser",
    "test_faults",
    "test_offers_browser",
    "test_queue",
    "test_abuse",
    "test_segment_browser",
    "test_proxy",
    "test_cnn_lessons_browser",
    "test_snippets_alone",
    "test_jobs",
    "test_readme",
    "test_jobs_browser",
    "test_docs",
    "test_detect_lessons_browser",
)


def pytest_sessionstart() -> None:
    """No garbage collections while the tests are imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Nor later ones of what was imported: both together took a seventh of the time."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, which `make test` distributes in this order."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


class Shelf:
    """A hub with no checkpoints but those that a test puts on it."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._patch = patch

    def add(self, task: str, path: Path, **fields: Any) -> str:
        """Make a weight file known under its stem, as a user's own unless `tier` says otherwise."""
        from core import checkpoints

        made = checkpoints.Checkpoint(
            path.stem, task, "timm", str(path), "MIT", title=f"Net {path.stem}", tier="own"
        )
        made = replace(made, **fields)
        known = (*checkpoints.CATALOGUE, made)
        self._patch.setattr(checkpoints, "CATALOGUE", known)
        self._patch.setattr(checkpoints, "_BY_KEY", {c.key: c for c in known})
        return made.key

    def starter(
        self, task: str, model: Any, config: dict[str, Any], name: str = "net", scale: int = 1
    ) -> str:
        """Save a model as a starter file (its weights become fp16 values) and add it."""
        from core.sources import state_dicts

        model.load_state_dict(
            {
                k: v.half().float() if v.is_floating_point() else v
                for k, v in model.state_dict().items()
            }
        )
        path = self.folder / f"{name}.safetensors"
        state_dicts.save_starter(path, model.state_dict(), task, config)
        return self.add(task, path, tier="starter", scale=scale)


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Set environment variables and read the settings anew, with empty caches before and after."""
    from core.serving import runtime
    from core.settings import get_settings

    def change(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        runtime.reset()

    for name in ("VISION_HUB_CHECKPOINTS", "VISION_HUB_CACHE_MB", "VISION_HUB_STORE_MB"):
        monkeypatch.delenv(name, raising=False)
    change(VISION_HUB_DEVICE="cpu", VISION_HUB_PRECISION="fp32")
    yield change
    monkeypatch.undo()
    get_settings.cache_clear()
    runtime.reset()


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in the repository, with nothing imported yet."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def shelf(settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shelf:
    """An empty catalogue, no network, and empty caches."""
    from core import checkpoints

    def refuse(*_: Any) -> None:
        raise AssertionError("this test must not use the network")

    monkeypatch.setattr(checkpoints, "CATALOGUE", ())
    monkeypatch.setattr(checkpoints, "_BY_KEY", {})
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return Shelf(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of the real app, one for the module."""
    from tests.live import hub

    with hub() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, one for the module (`tests.browser`)."""
    from tests.browser import chromium

    with chromium() as running:
        yield running


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each pass through `runtime.forward`."""
    from core.serving import runtime

    passes: list[int] = []
    forward = runtime.forward

    def counted(*args: Any, **options: Any) -> Any:
        passes.append(1)
        return forward(*args, **options)

    monkeypatch.setattr(runtime, "forward", counted)
    return passes


@pytest.fixture
def unguarded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restoration without its guard, which random networks do not pass."""
    from core.restoring import guard

    monkeypatch.setattr(guard, "check", lambda x, y, limits: guard.Checked(y, 0.0))


@pytest.fixture
def stock_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of the library's own layers, for answers that are compared bit for bit."""
    from core.cpu import linear
    from core.sam import attention

    for module in (linear, attention):
        monkeypatch.setattr(module, "speed_up", lambda network: None)


def once_beside(action: Callable[[], object]) -> tuple[Callable[..., None], list[bool]]:
    """A hook in whose first call another thread runs `action` to its end, and whether it has."""
    begun: list[bool] = []

    def between(*_: object) -> None:
        if not begun:
            begun.append(True)
            thread = threading.Thread(target=action)
            thread.start()
            thread.join()

    return between, begun


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Until `condition()` holds; fails where it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def make_picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: coloured blobs with some noise, which no transform leaves unchanged."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    return np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def picture() -> Callable[..., np.ndarray]:
    return make_picture


@pytest.fixture(params=["segment_anything", "own"])
def sam(request: Any, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Meta's encoder from a .pth, or the project's small one from a starter file."""
    from tests import nets, sams

    if request.param == "own":
        model, config = nets.own_sam()
        shelf.starter("segment", model, config)
        return model
    return sams.register(shelf, monkeypatch, nets.sam())
