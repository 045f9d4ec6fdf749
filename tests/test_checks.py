"""Values of another type than was asked for are refused with one sentence, in every task."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.faults import is_clear
from core import checks, classify, detect, reconstruct, restore, segment
from core.errors import InputError
from core.imaging import prompts

NOT_NUMBERS = ["2", "", b"2", True, False, np.True_, None, [2], {}, 2j, math.nan, math.inf]
NOT_NUMBERS += [-math.inf, 10**400, np.float32("nan"), np.array([2.0, 3.0])]
NOT_WHOLE = [2.9, 0.5, np.float64(2.5), 5e-324]


@pytest.mark.parametrize("value", NOT_NUMBERS, ids=repr)
def test_what_is_no_number(value):
    for check in (checks.number, checks.whole):
        with pytest.raises(InputError, match="must be a") as caught:
            check(value, "The value")
        assert is_clear(str(caught.value))


@pytest.mark.parametrize("value", [2, 2.0, np.int64(2), np.float32(2), np.uint8(2)], ids=repr)
def test_what_is_a_whole_number(value):
    found = checks.whole(value, "The value", 2, 2)
    assert type(found) is int and found == 2
    assert checks.number(value, "The value") == 2


def test_limits_are_named():
    for value in (-1, 3):
        with pytest.raises(InputError, match=r"^X must lie between 0 and 2 pixels\.$"):
            checks.number(value, "X", 0, 2, "pixels")
    with pytest.raises(InputError, match=r"^X must be 1 or more\.$"):
        checks.whole(0, "X", low=1)


PICTURE = np.full((16, 16, 3), 90, np.uint8)
NUMBERS = [
    (classify.predict, "temperature"),
    (detect.predict, "threshold"),
    (reconstruct.predict, "mask_ratio"),
    (restore.denoise, "sigma"),
    (segment.predict, "min_area"),
    (segment.predict, "max_side"),
]
WHOLE = [
    (classify.predict, "top_k"),
    (reconstruct.predict, "seed"),
    (restore.super_resolve, "scale"),
    (segment.predict, "refine"),
    (segment.everything, "points_per_side"),
]


def refused(task, **values):
    point = {"points": [[4, 4, 1]]} if task is segment.predict else {}
    with pytest.raises(InputError, match="must be") as caught:
        task(PICTURE, **point, **values)
    assert is_clear(str(caught.value))


@pytest.mark.parametrize(("task", "name"), NUMBERS + WHOLE)
def test_no_task_takes_another_type_for_a_number(task, name):
    may_be_none = {"sigma", "refine", "max_side"}
    for value in NOT_NUMBERS:
        if not (value is None and name in may_be_none):
            refused(task, **{name: value})


@pytest.mark.parametrize(("task", "name"), WHOLE)
def test_no_task_cuts_a_number_to_a_whole_one(task, name):
    for value in NOT_WHOLE:
        refused(task, **{name: value})


@pytest.mark.parametrize("value", [1, 0, "true", None, [], 1.0], ids=repr)
def test_a_flag_is_true_or_false(value):
    refused(segment.predict, multimask=value)


DEEP = [1]
for _ in range(900):
    DEEP = [DEEP]
ODD_POINTS = [
    *("5", "abc", 5, None, {}, {1, 2}, [5], [["1", "2", "1"]], [[1, 2, "1"]], [[True, 2, 1]]),
    *(
        [[1, 2, True]],
        [[1, 2]],
        [[1, 2, 1], [1, 2]],
        [[1, 2, 2]],
        [[math.nan, 2, 1]],
        [[[1, 2, 1]]],
    ),
    *([[10**400, 2, 1]], [[None, 2, 1]], np.array([["1", "2", "1"]]), np.array([[True] * 3]), DEEP),
]


@pytest.mark.parametrize("points", ODD_POINTS, ids=lambda value: repr(value)[:40])
def test_points_are_numbers(points):
    with pytest.raises(InputError, match="Each point must be") as caught:
        prompts.parse_points(points, (16, 16))
    assert is_clear(str(caught.value))


@pytest.mark.parametrize(
    "box", ["abcd", "1234", 5, {}, ["1", "2", "3", "4"], [1, 2, True, 4], [1, 2, 3], DEEP],
    ids=lambda value: repr(value)[:40],
)  # fmt: skip
def test_a_box_is_of_numbers(box):
    with pytest.raises(InputError, match="A box must be"):
        prompts.parse_box(box, (16, 16))


def test_prompts_that_are_right():
    for points in (
        [[1, 2, 1], (3.5, 4, 0)],
        np.array([[1, 2, 1], [3.5, 4, 0]]),
        [np.array([1, 2, 1]), [3.5, 4, 0]],
    ):
        found = prompts.parse_points(points, (16, 16))
        assert found.points.tolist() == [[1, 2], [3.5, 4]] and found.labels.tolist() == [1, 0]
    for none in ([], (), np.zeros((0, 3))):
        assert prompts.parse_points(none, (16, 16)).points.shape == (0, 2)
    assert prompts.parse_box((9, 8, 1, 2), (16, 16)).tolist() == [1, 2, 9, 8]
