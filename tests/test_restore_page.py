"""What the Restore tab shows beside the restored picture: the middle of a large one first, whether
there is anything to restore, and the picture enlarged without a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from core import images
from core.imaging import metrics
from demos import restore
from demos.shell import result, ui

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    names = iter(range(100))
    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / f"{next(names)}-{name}")


def answers(task, picture, before="Its pixels"):
    """All that the tab shows for a picture, with its status line first."""
    answer = result.Answer(task, "")
    run = answer.answering(restore._handler(task), range(3))
    values = (picture, "auto", True, 25, 2, before)
    return [one for one in run("1", "", *values) if isinstance(one[0], str)]


def size(path):
    with Image.open(path) as image:
        return image.size


def test_the_middle_of_a_large_picture_comes_first(monkeypatch):
    monkeypatch.setattr(restore, "LARGE", 10_000)
    monkeypatch.setattr(restore, "PART", 64)
    rgb = images.from_any(EXAMPLES / "noisy.png")[:150, :200]
    waiting, part, whole = answers("denoise", images.picture(rgb))
    assert "data-working" in waiting[0] and "data-working" in part[0]  # Cancel still clears it
    assert "data-working" not in whole[0]
    assert size(part[1][0]) == size(part[1][1]) == (64, 64)
    np.testing.assert_array_equal(images.from_any(Path(part[1][0])), rgb[43:107, 68:132])
    assert "The whole picture, 200 x 150, follows, which takes about 1 s" in part[2]
    assert size(whole[1][1]) == (200, 150) and "the middle" not in whole[2]


def test_a_small_picture_and_a_result_too_large_have_no_first_part(monkeypatch):
    monkeypatch.setattr(restore, "LARGE", 10_000)
    small = images.picture(images.from_any(EXAMPLES / "noisy.png")[:100, :100])
    assert len(answers("denoise", small)) == 2
    huge = images.picture(np.zeros((4100, 4100, 3), np.uint8))
    _, refused = answers("super_resolve", huge)
    assert "over 64 megapixels" in refused[0]


def test_a_sharp_picture_is_told_as_such():
    sharp = images.from_any(EXAMPLES / "temple.jpg")[:256, :256]
    soft = images.from_any(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(2)))
    assert metrics.blur(sharp) < restore.SHARP_BELOW < metrics.blur(soft) - 0.1
    assert restore.SHARP in answers("deblur", images.picture(sharp))[-1][2]
    assert restore.SHARP not in answers("deblur", images.picture(soft))[-1][2]


@pytest.mark.parametrize("how", restore.BEFORE)
def test_the_result_is_compared_with_plain_enlargement(how):
    small = images.from_any(EXAMPLES / "small.png")[:40, :50]
    (before, after), _, _ = answers("super_resolve", images.picture(small), how)[-1][1:]
    assert size(before) == size(after) == (100, 80)
    method = {"Its pixels": Image.Resampling.NEAREST, "Bicubic": Image.Resampling.BICUBIC}[how]
    wanted = Image.fromarray(small).resize((100, 80), method)
    np.testing.assert_array_equal(images.from_any(Path(before)), np.asarray(wanted))


@pytest.mark.parametrize("how", restore.BEFORE)
def test_the_largest_result_has_something_to_compare_with(how):
    """More pixels than a picture that is sent may have."""
    assert restore._enlarged(np.zeros((4000, 4000, 3), np.uint8), 2, how).shape == (8000, 8000, 3)
