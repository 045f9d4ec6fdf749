"""Large pictures are decoded within one budget of memory; small ones never wait."""

from __future__ import annotations

import gc
import io
import threading

import numpy as np
import pytest
from PIL import Image

from core import images
from core.cpu import allocator
from core.errors import Busy
from core.imaging import bands
from core.imaging.decoding import budget as decode_budget
from core.imaging.decoding.budget import Budget
from tests.conftest import wait_for

MB = 2**20


@pytest.fixture
def budget():
    return Budget(limit=100 * MB, small=10 * MB, patience=60)


class Decoding:
    """A thread that is inside `room` until it may go on."""

    def __init__(self, budget, need):
        self.inside, self.go_on, self.error = threading.Event(), threading.Event(), None
        self.thread = threading.Thread(target=self.run, args=(budget, need))
        self.thread.start()

    def run(self, budget, need):
        try:
            with budget.room(need):
                self.inside.set()
                assert self.go_on.wait(60)
        except Busy as error:
            self.error = error

    def end(self):
        self.go_on.set()
        self.thread.join(60)


def waiting(budget, count):
    wait_for(lambda: len(budget._waiting) == count)


def test_large_ones_wait_until_there_is_room(budget):
    first, second = Decoding(budget, 60 * MB), Decoding(budget, 30 * MB)
    assert first.inside.wait(60) and second.inside.wait(60)
    third = Decoding(budget, 50 * MB)
    waiting(budget, 1)
    second.end()
    waiting(budget, 1)  # 60 and 50 are over 100
    assert not third.inside.is_set()
    first.end()
    assert third.inside.wait(60)
    third.end()
    assert budget.used == 0


def test_they_have_room_in_the_order_in_which_they_came(budget):
    first = Decoding(budget, 90 * MB)
    assert first.inside.wait(60)
    second = Decoding(budget, 90 * MB)
    waiting(budget, 1)
    third = Decoding(budget, 11 * MB)  # would fit beside the first as soon as it is smaller
    waiting(budget, 2)
    first.end()
    assert second.inside.wait(60)
    assert not third.inside.is_set()
    second.end()
    assert third.inside.wait(60)
    third.end()


def test_small_ones_never_wait(budget):
    first = Decoding(budget, 100 * MB)
    large = Decoding(budget, 100 * MB)
    waiting(budget, 1)
    for _ in range(30):
        with budget.room(10 * MB):
            pass
    first.end()
    large.end()


def test_one_that_needs_more_than_all_has_it_alone(budget):
    small = Decoding(budget, 1 * MB)
    assert small.inside.wait(60)
    huge = Decoding(budget, 500 * MB)
    waiting(budget, 1)
    small.end()
    assert huge.inside.wait(60)
    huge.end()


def test_who_waits_too_long_is_told(budget):
    budget.patience = 0.05
    first = Decoding(budget, 100 * MB)
    assert first.inside.wait(60)
    with pytest.raises(Busy, match="try again"), budget.room(50 * MB):
        pass
    assert not budget._waiting
    first.end()
    with budget.room(50 * MB):
        pass


def test_an_error_gives_the_room_back(budget):
    with pytest.raises(ValueError, match="damaged"), budget.room(50 * MB):
        raise ValueError("damaged")
    assert budget.used == 0


def test_a_picture_counts_until_nobody_holds_it(budget, monkeypatch):
    array = budget.keep(np.zeros((1000, 1000, 3), np.uint8))
    image = budget.keep(Image.new("RGB", (1000, 1000)))
    assert budget.used == 7_000_000
    view = array[:10]
    del image, array
    gc.collect()
    assert budget.used == 3_000_000, "a view keeps the picture alive"
    del view
    gc.collect()
    assert budget.used == 0
    long = budget.keep(np.zeros((1000, 1000, 3), np.uint8))
    monkeypatch.setattr(decode_budget, "HELD_SECONDS", -1.0)
    assert budget.used == 0, "one that a long job holds bars nobody"
    del long


def test_the_header_says_what_a_picture_needs():
    small = decode_budget.needed((640, 480), "RGB")
    assert small < decode_budget.SMALL < decode_budget.needed((4000, 3000), "L")
    for mode in ("RGBA", "F", "I", "LA", "PA"):
        assert decode_budget.needed((10, 10), mode) > decode_budget.needed((10, 10), "RGB")


@pytest.fixture
def tight(monkeypatch):
    made = Budget(limit=1 * MB, small=0, patience=0.05)
    monkeypatch.setattr(decode_budget, "_budget", made)
    return made


def png(size, mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, None).save(buffer, "TIFF" if mode == "F" else "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "F", "1", "P"])
def test_decoding_counts(tight, mode):
    held = images.read(png((300, 300), mode))
    assert tight.used == held.nbytes
    other = Decoding(tight, 1 * MB - held.nbytes)
    assert other.inside.wait(60)
    with pytest.raises(Busy):
        images.read(png((300, 300), mode))
    other.end()
    del held
    gc.collect()
    assert tight.used == 0
    assert images.read(png((300, 300), mode)).shape == (300, 300, 3)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I", "F", "I;16"])
@pytest.mark.parametrize("height", [1, 255, 256, 257, 700])
def test_pixels_are_those_of_pillow(mode, height):
    values = np.arange(height * 5, dtype=np.uint16).reshape(height, 5)
    image = (
        Image.fromarray(values) if mode == "I;16" else Image.fromarray(values % 251).convert("I")
    )
    image = image if mode == "I;16" else image.convert("F").convert("L").convert(mode)
    found = bands.to_array(image)
    assert found.dtype == np.asarray(image).dtype and np.array_equal(found, np.asarray(image))


def test_an_array_is_what_pillow_makes_of_it():
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (700, 33, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG")
    assert np.array_equal(images.read(buffer.getvalue()), rgb)


def test_memory_goes_back_after_the_last_large_picture(budget, monkeypatch):
    trimmed = []
    monkeypatch.setattr(budget, "_trim", allocator.Trimmer(idle=0.1))
    monkeypatch.setattr(allocator, "trim", lambda: trimmed.append(budget.used))
    with budget.room(5 * MB):
        pass
    assert not budget._trim._waits, "a small picture is not worth it"
    for _ in range(3):
        with budget.room(50 * MB):
            pass
    wait_for(lambda: trimmed)
    before = len(trimmed)
    assert set(trimmed) == {0}
    with budget.room(50 * MB):
        pass
    wait_for(lambda: len(trimmed) > before)
