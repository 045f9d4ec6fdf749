"""Motion magnification: the displacement of known motions, and clips that cannot be used."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.errors import BadImage, InputError
from core.lessons import motion
from demos.lessons import motion as view

FPS, WAVE = 20.0, 40.0  # frames a second, pixels


def grating(amplitude: float, frequency: float = 1.0, count: int = 120):
    """A sine of `WAVE` pixels that sways, and its displacement in each frame."""
    moved = amplitude * np.sin(2 * np.pi * frequency * np.arange(count) / FPS)
    line = 0.5 + 0.3 * np.sin(2 * np.pi * (np.arange(120) - moved[:, None]) / WAVE)
    frames = np.broadcast_to(line[:, None, :, None], (count, 10, 120, 3)).astype(np.float32)
    return motion.Clip(frames, FPS), moved


def displacement(frames: np.ndarray) -> np.ndarray:
    """By the phase of the sine, in two whole periods away from the borders."""
    x = np.arange(20, 100)
    turned = (frames[:, 5, 20:100, 0] - 0.5) @ np.exp(-2j * np.pi * x / WAVE)
    phase = np.angle(turned)
    return -(phase - phase.mean()) * WAVE / (2 * np.pi)


def gain(alpha: float, amplitude: float, frequency: float = 1.0, **options) -> float:
    clip, moved = grating(amplitude, frequency)
    found = motion.magnify(clip, alpha, 0.5, 2, **options)
    middle = slice(30, 90)  # away from the ends, where the filter has no neighbours
    got = displacement(found.frames)[middle]
    return float(got @ moved[middle] / (moved[middle] @ moved[middle]))


@pytest.mark.parametrize("alpha", [0, 4, 10])
def test_a_small_motion_becomes_one_plus_alpha_times_as_large(alpha):
    assert gain(alpha, 0.1, levels=(1, 5)) == pytest.approx(1 + alpha, rel=0.03)


def test_beyond_the_linear_range_it_falls_short():
    """(1 + alpha) d is 7.5 there, and an eighth of the wavelength 5."""
    assert gain(24, 0.3, levels=(1, 5)) < 0.95 * 25


def test_other_frequencies_and_other_sizes_stay_as_they_are():
    assert gain(10, 0.1, frequency=6.0, levels=(1, 5)) < 2
    assert gain(10, 0.1, levels=(5, 5)) < 2  # details of 40 pixels are finer than that level
    still, _ = grating(0)
    found = motion.magnify(still, 50, 0.5, 2)
    np.testing.assert_allclose(found.frames, still.frames, atol=1e-4)


def test_the_levels_add_up():
    clip = motion.Clip(np.random.default_rng(0).random((8, 20, 24, 3), np.float32), 10)
    parts = [motion._between(clip.frames, n, n) for n in range(1, motion.LEVELS + 1)]
    np.testing.assert_allclose(sum(parts), clip.frames, atol=1e-5)


def test_the_example_moves_by_what_it_says_and_loses_nothing_in_a_file(tmp_path):
    clip = motion.example(amplitude=0.3, frequency=1.0, seconds=2)
    top = clip.frames[:, 50, :, 1] - clip.frames[:, 50, :, 1].mean(0)
    assert 0.0005 < np.abs(top).max() < 0.06  # invisible, but there
    found = motion.magnify(clip, 20, 0.5, 2)
    path = motion.write(found.frames, clip.fps, tmp_path / "clip.webp")
    again = motion.read(path)
    assert again.fps == pytest.approx(clip.fps) and len(again.frames) == len(clip.frames)
    assert np.abs(again.frames - found.frames).mean() < 0.02


def saved(kind: str, count: int, size=(12, 10), durations=50) -> bytes:
    frames = [Image.new("RGB", size, (20 * i % 256, 80, 160)) for i in range(count)]
    buffer = io.BytesIO()
    extra = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(
        buffer, kind, save_all=True, append_images=frames[1:], duration=durations, loop=0, **extra
    )
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_clips_of_every_kind_are_read(kind):
    clip = motion.read(saved(kind, 10))
    assert clip.frames.shape == (10, 10, 12, 3) and clip.fps == pytest.approx(20)
    np.testing.assert_allclose(clip.frames[3, 0, 0], np.array([60, 80, 160]) / 255, atol=0.02)


def test_frames_of_unequal_length_are_set_at_even_steps():
    clip = motion.read(saved("GIF", 9, durations=[100, 50, *[50] * 7]))
    assert len(clip.frames) == 10 and clip.fps == pytest.approx(20)
    np.testing.assert_array_equal(clip.frames[0], clip.frames[1])
    long = motion.read(saved("GIF", 9, durations=[5000, *[20] * 8]))
    assert len(long.frames) <= motion.MOST_FRAMES


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no animated GIF"),
        (b"hello", "no animated GIF"),
        (saved("GIF", 1), "no animated GIF"),
        (saved("GIF", 30)[:-200], "damaged|no animated"),
        (saved("GIF", motion.MOST_FRAMES + 1, (2, 2)), "frames; please give one of"),
    ],
    ids=["empty", "text", "one frame", "cut", "long"],
)
def test_what_is_no_clip_gets_one_sentence(content, words):
    with pytest.raises(BadImage, match=words):
        clip = motion.read(content)
        motion.magnify(clip, 1, 1, 2)


def test_large_clips_are_reduced_and_too_large_ones_refused(monkeypatch):
    clip = motion.read(saved("WEBP", 8, (400, 300)))
    assert clip.frames.shape[1] * clip.frames.shape[2] <= motion.MOST_PIXELS * 1.02
    monkeypatch.setattr(motion, "MOST_TOTAL", 1000)
    with pytest.raises(BadImage, match="400 x 300 pixels"):
        motion.read(saved("WEBP", 8, (400, 300)))


def test_numbers_out_of_range_are_refused():
    clip, _ = grating(0.1)
    for wrong in ({"alpha": -1}, {"low": 3, "high": 1}, {"low": 0}, {"levels": (0, 5)}):
        with pytest.raises(InputError):
            motion.magnify(clip, **wrong)
    with pytest.raises(InputError, match="8 or more"):
        motion.magnify(motion.Clip(clip.frames[:5], FPS))
    assert motion.magnify(clip, 1, 0.5, 500).high < FPS / 2


def test_endpoint_and_code(tmp_path, monkeypatch):
    from demos.shell import ui

    monkeypatch.setattr(ui, "result_path", lambda name: tmp_path / name)
    path, facts = view.motion(saved("GIF", 12), low=1, high=4)
    assert Image.open(path).n_frames >= 2 and facts["frames"] == 12
    compile(view._code(None, 10, 0.5, 2, 2), "code", "exec")
