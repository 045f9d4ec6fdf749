"""The example pictures: credited, small, without metadata, and remade by their script."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import images
from core.imaging import metrics
from demos.shell.examples import NAMES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import make_examples  # noqa: E402

FILES = sorted(p for p in (ROOT / "examples").iterdir() if p.suffix != ".md")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_example(path: Path) -> None:
    assert f"`{path.name}`" in (ROOT / "examples" / "CREDITS.md").read_text(encoding="utf-8")
    assert path.name in {*make_examples.PHOTOS, *make_examples.DEGRADED}
    assert path.stat().st_size <= 300_000
    assert not Image.open(path).getexif()
    assert max(images.decode(path).size) <= 800


def test_each_has_a_name_of_its_own() -> None:
    assert sorted(NAMES) == [p.name for p in FILES]
    assert len(set(NAMES.values())) == len(NAMES)


def test_none_is_missing() -> None:
    assert {p.name for p in FILES} == {*make_examples.PHOTOS, *make_examples.DEGRADED}


@pytest.mark.parametrize("name", make_examples.DEGRADED)
def test_degraded_examples_are_what_the_script_makes(name: str) -> None:
    shipped = np.asarray(images.decode(ROOT / "examples" / name)).astype(int)
    made = make_examples.degraded(name).astype(int)
    assert shipped.shape == made.shape
    assert np.abs(shipped - made).mean() < 0.5  # another JPEG decoder may differ by a level
    clean = make_examples.clean(name)
    if clean.shape == shipped.shape:
        assert metrics.psnr(shipped.astype(np.uint8), clean) < 30
    else:
        assert clean.shape[0] in (shipped.shape[0] * 2, shipped.shape[0] * 4)
