"""Restoration of large pictures: blended as before, and without whole pictures of floats."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.restoring import tiles
from core.serving import runtime

ROOT = Path(__file__).resolve().parent.parent
SIDE = 4000  # pixels, by three quarters of it
MB = 1_000_000


def whole_float(rgb, factor, side, net):
    """The same tiles, added up in one float picture and divided by the sum of their weights."""
    h, w = rgb.shape[:2]
    (tops, high), (lefts, wide) = (tiles.tile_rows(n, side) for n in (h, w))
    total, weight = np.zeros((3, h * factor, w * factor)), np.zeros((h * factor, w * factor))
    for top in tops:
        for left in lefts:
            tile = rgb[top : top + high, left : left + wide]
            x = torch.from_numpy(tile.copy()).permute(2, 0, 1)[None].float() / 255
            window = np.outer(ramp(top, high, h, factor), ramp(left, wide, w, factor))
            place = np.s_[
                ..., top * factor : (top + high) * factor, left * factor : (left + wide) * factor
            ]
            total[place] += net(x)[0].double().numpy() * window
            weight[place] += window
    return np.rint(np.clip(total / weight, 0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)


def ramp(start, length, whole, factor):
    """0 in the outer quarter of the overlap, 1 beyond three quarters, straight between them."""
    place = (np.arange(length * factor) + 0.5) / factor
    low, high = tiles.OVERLAP / 4, 3 * tiles.OVERLAP / 4
    inner = np.interp(place, [low, high], [0, 1]) if start else np.ones(len(place))
    outer = np.interp(length - place, [low, high], [0, 1]) if start + length < whole else 1
    return inner * outer


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("size", [(300, 200), (129, 131), (64, 500), (500, 64), (90, 70)])
def test_blended_in_a_strip_as_in_one_picture(picture, size, factor):
    def net(x):
        """Each tile in a tone of its own, so that only the blending makes them one picture."""
        tone = x.mean() * 0.8
        return (x * 0.4 + tone).repeat_interleave(factor, 2).repeat_interleave(factor, 3)

    image = picture(*size)
    result = runtime.finish(tiles.restored(image, factor, 96, net))
    expected = whole_float(image, factor, 96, net)
    assert result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 1
    assert np.mean(result != expected) < 1e-3


MEASURE = """
import sys
import numpy as np
from core.cpu import allocator
allocator.tune()
import torch
from core import restore
from core.restoring import guard as restore_guard, tiles as restore_tiles
from core.serving import runtime
torch.set_num_threads(1)

def rss(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(l.split()[1]) * 1024 for l in lines if l.startswith(name))

factor, side = int(sys.argv[1]), int(sys.argv[2])
side //= factor
def net(x):
    y = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    limits = restore_guard.DENOISE if factor == 1 else restore_guard.SUPER_RESOLVE
    return restore_guard.check(x, y, limits).image
small = np.zeros((600, 600, 3), np.uint8)
runtime.finish(restore_tiles.restored(small, factor, 512 // factor, net))
restore.metrics.estimate_sigma(small)
image = np.full((side * 3 // 4, side, 3), 100, np.uint8)
image[::2] += 3
allocator.trim()
before = rss("VmRSS")
open("/proc/self/clear_refs", "w").write("5")
restore.metrics.estimate_sigma(image)
result = runtime.finish(restore_tiles.restored(image, factor, 512 // factor, net))
peak = rss("VmHWM") - before - result.nbytes
assert np.array_equal(result, image.repeat(factor, 0).repeat(factor, 1))
del result
allocator.trim()
print(peak, rss("VmRSS") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")
@pytest.mark.parametrize("factor", [1, 2])
def test_memory_above_picture_and_result(factor):
    """With a network that does nothing: as float32 this picture and its result are 240 MB."""
    made = subprocess.run(
        [sys.executable, "-c", MEASURE, str(factor), str(SIDE)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    peak, left = (int(word) / MB for word in made.stdout.split())
    assert peak < 80
    assert left < 30
