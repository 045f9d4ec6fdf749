"""The values that travel between layers refuse shapes that do not fit, and cannot be changed."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from core.errors import (
    BadImage,
    CheckpointError,
    DamagedFile,
    Gated,
    HubError,
    HubUnreachable,
    InputError,
    OutOfMemory,
    ResourceError,
)
from core.types import (
    Attention,
    Classification,
    Detections,
    Masks,
    PointPrompts,
    Reconstruction,
    Restoration,
    RunInfo,
)

INFO = RunInfo("net", "starter", "cpu")
RGB = np.zeros((4, 6, 3), np.uint8)
BITS = np.zeros((2, 2), bool)


def floats(*shape):
    return np.zeros(shape, np.float32)


def test_empty_values_are_values():
    assert Classification((), floats(0), INFO).labels == ()
    assert Detections(floats(0, 4), floats(0), (), (6, 4), INFO).boxes.shape == (0, 4)
    assert Masks(np.zeros((0, 4, 6), bool), floats(0), INFO).low_res is None
    assert len(PointPrompts(floats(0, 2), np.zeros(0, np.int64)).points) == 0


GOOD = {
    "classification": lambda: Classification(("a", "b"), np.array([0.7, 0.3], np.float32), INFO),
    "detections": lambda: Detections(floats(2, 4), floats(2), ("a", "b"), (6, 4), INFO),
    "masks": lambda: Masks(np.zeros((2, 4, 6), bool), floats(2), INFO),
    "prompts": lambda: PointPrompts(floats(3, 2), np.array([1, 0, 1])),
    "attention": lambda: Attention(floats(2, 3, 7, 7), (2, 3), 1),
    "reconstruction": lambda: Reconstruction(RGB, RGB, RGB, BITS, 0.1, INFO),
    "restoration": lambda: Restoration(RGB, 1, INFO),
}


@pytest.mark.parametrize("name", GOOD)
def test_fields_cannot_be_set(name):
    value = GOOD[name]()
    field = dataclasses.fields(value)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, field, None)
    with pytest.raises((AttributeError, TypeError)):
        value.something_new = 1


BAD = {
    "a score without a label": lambda: Classification(("a",), floats(2), INFO),
    "scores that ascend": lambda: Classification(("a", "b"), np.array([0.1, 0.2]), INFO),
    "boxes of five": lambda: Detections(floats(2, 5), floats(2), ("a", "b"), (6, 4), INFO),
    "boxes without labels": lambda: Detections(floats(2, 4), floats(2), ("a",), (6, 4), INFO),
    "boxes without scores": lambda: Detections(floats(2, 4), floats(1), ("a", "b"), (6, 4), INFO),
    "masks of floats": lambda: Masks(floats(2, 4, 6), floats(2), INFO),
    "one flat mask": lambda: Masks(np.zeros((4, 6), bool), floats(1), INFO),
    "masks without scores": lambda: Masks(np.zeros((2, 4, 6), bool), floats(1), INFO),
    "points of three": lambda: PointPrompts(floats(2, 3), np.array([1, 0])),
    "points without labels": lambda: PointPrompts(floats(2, 2), np.array([1])),
    "point that is no number": lambda: PointPrompts(np.array([[np.nan, 1]]), np.array([1])),
    "label of two": lambda: PointPrompts(floats(1, 2), np.array([2])),
    "attention of another grid": lambda: Attention(floats(2, 3, 7, 7), (2, 2), 1),
    "grey picture": lambda: Restoration(RGB[..., 0], 1, INFO),
    "picture of floats": lambda: Restoration(RGB / 255, 1, INFO),
    "picture of floats in a view": lambda: Reconstruction(RGB, RGB / 1.0, RGB, BITS, 0.1, INFO),
    "flat patch mask": lambda: Reconstruction(RGB, RGB, RGB, BITS[0], 0.1, INFO),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused(name):
    with pytest.raises(ValueError, match=r"\S"):
        BAD[name]()


def test_run_info_is_plain_json():
    info = RunInfo(
        "net", "own", "cuda", "bf16", {"load": 0.123456}, {"model": "hit"}, "photos", "9 %", "!"
    )
    assert json.loads(json.dumps(info.to_dict())) == {
        "checkpoint": "net",
        "tier": "own",
        "device": "cuda",
        "precision": "bf16",
        "seconds": {"load": 0.1235},
        "cache": {"model": "hit"},
        "trained_on": "photos",
        "metric": "9 %",
        "note": "!",
    }
    assert set(info.to_dict()) == {field.name for field in dataclasses.fields(RunInfo)}


def test_tree_of_errors():
    """One `except HubError` catches all; callers tell input from checkpoint from machine."""
    assert issubclass(BadImage, InputError)
    assert issubclass(InputError, ValueError)
    for kind in (HubUnreachable, Gated, DamagedFile):
        assert issubclass(kind, CheckpointError)
    for kind in (InputError, CheckpointError, OutOfMemory, ResourceError):
        assert issubclass(kind, HubError)
        assert str(kind("One sentence.")) == "One sentence."
