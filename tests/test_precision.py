"""Which hardware may run in bfloat16, and who decides."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from core import classify
from core.serving import precision, runtime
from core.sources import resolver
from core.start import agreement
from core.types import Detections, RunInfo
from tests import nets


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_a_processor_needs_the_instructions(monkeypatch, flags, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    assert precision.is_supported(torch.device("cpu")) is expected


def test_emulation_on_a_card_does_not_count(monkeypatch):
    asked = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(1) or False
    )
    assert not precision.is_supported(torch.device("cuda"))
    assert asked
    assert not precision.is_supported(torch.device("mps"))


# --- the choice ---

CPU = torch.device("cpu")


@pytest.fixture
def capable(monkeypatch):
    """A processor with the instructions (it emulates them here, which tests can afford)."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})


@pytest.fixture
def resolved(shelf, settings, tmp_path):
    settings(VISION_HUB_PRECISION="auto", HF_HUB_CACHE=str(tmp_path / "cache"))
    shelf.starter("classify", *nets.vit())
    return resolver.resolve("net", "classify", None)


def test_auto_needs_a_measurement(resolved, capable):
    assert precision.choose(resolved, CPU) == "fp32"  # nothing is known
    precision.keep(resolved, CPU, False)
    assert precision.choose(resolved, CPU) == "fp32"
    precision.keep(resolved, CPU, True)
    assert precision.choose(resolved, CPU) == "bf16"


def test_auto_stays_in_fp32_without_the_instructions(resolved, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    precision.keep(resolved, CPU, True)
    assert precision.choose(resolved, CPU) == "fp32"
    agreement.settle("classify")
    assert runtime.models().stats()["misses"] == 0  # nothing was run


def test_restoration_stays_in_fp32(resolved, capable):
    denoiser = replace(resolved, checkpoint=replace(resolved.checkpoint, task="denoise"))
    precision.keep(denoiser, CPU, True)
    assert precision.choose(denoiser, CPU) == "fp32"


def test_the_owner_decides(resolved, settings, monkeypatch):
    for wanted in ("bf16", "fp32"):
        settings(VISION_HUB_PRECISION=wanted)
        assert precision.choose(resolved, CPU) == wanted
        assert runtime.precision() == wanted


def test_verdicts_outlive_the_process_and_not_the_file(resolved, capable, monkeypatch):
    precision.keep(resolved, CPU, True)
    monkeypatch.setattr(precision, "_read_from", None)  # as another process would find it
    assert precision.verdict(resolved, CPU) is True
    os.utime(resolved.path, ns=(1, 1))
    assert precision.verdict(resolved, CPU) is None


@pytest.mark.parametrize("content", ["", "[1]", '{"a": 3', '{"a": "yes"}'])
def test_a_damaged_file_of_verdicts_is_no_verdict(resolved, capable, monkeypatch, content):
    precision.keep(resolved, CPU, True)
    precision._file().write_text(content)
    monkeypatch.setattr(precision, "_read_from", None)
    assert precision.verdict(resolved, CPU) is None


# --- the measurement ---


def test_a_checkpoint_that_agrees_runs_in_bf16(resolved, capable, picture):
    agreement.settle("classify")
    assert precision.verdict(resolved, CPU) is not None
    precision.keep(resolved, CPU, True)
    image = picture(40, 40)
    half = classify.predict(image, top_k=4)
    assert half.info.precision == "bf16"
    with precision.forced("fp32"):
        full = classify.predict(image, top_k=4)
    assert full.info.precision == "fp32"
    assert full.info.cache["output"] == "miss"
    assert not np.array_equal(full.scores, half.scores)  # it really ran in bf16
    np.testing.assert_allclose(sorted(full.scores), sorted(half.scores), atol=0.02)


def test_the_measurement_compares_both_precisions(resolved, capable, monkeypatch):
    """A model whose best class depends on the precision is found out, one whose does not passes."""
    seen = []

    def answer(picture, key):
        with runtime.run("classify", key, classify._build) as run:
            seen.append(run.precision)
            return run.precision

    monkeypatch.setitem(agreement._TASKS, "classify", (agreement.same_classes, answer))
    agreement.settle("classify")
    assert seen == ["fp32"] * 4 + ["bf16"] * 4
    assert precision.verdict(resolved, CPU) is False
    agreement.settle("classify")
    assert len(seen) == 8  # measured once
    monkeypatch.setitem(agreement._TASKS, "classify", (agreement.same_classes, lambda *_: "cat"))
    os.utime(resolved.path, ns=(1, 1))
    agreement.settle("classify")
    assert precision.verdict(resolver.resolve("net", "classify", None), CPU) is True


def boxes(*rows):
    found = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
    scores = np.array([row[4] for row in rows], np.float32)
    return Detections(
        found, scores, tuple(row[5] for row in rows), (99, 99), RunInfo("a", "b", "c")
    )


SURE = (10, 10, 50, 50, 0.9, "cat")


@pytest.mark.parametrize(
    ("half", "same"),
    [
        ([SURE], True),
        ([(10.9, 10, 50, 49.2, 0.8, "cat")], True),
        ([(11.2, 10, 50, 50, 0.9, "cat")], False),  # over a pixel away
        ([(10, 10, 50, 50, 0.9, "dog")], False),
        ([], False),
        ([SURE, (60, 60, 90, 90, 0.6, "cup")], False),  # one that was not there
        ([SURE, (60, 60, 90, 90, 0.3, "cup")], True),  # not a sure one
        ([(10, 10, 50, 50, 0.2, "cat")], False),
    ],
)
def test_boxes_within_a_pixel(half, same):
    assert agreement.same_boxes([boxes(SURE)], [boxes(*half)]) is same


def test_no_box_at_all_shows_nothing():
    assert not agreement.same_boxes([boxes()], [boxes()])


def test_masks_and_pictures():
    mask = np.zeros((100, 100), bool)
    mask[:50] = True
    near, far = mask.copy(), mask.copy()
    near[50, :40] = True
    far[50:53] = True
    assert agreement.same_masks([mask], [near])
    assert not agreement.same_masks([mask, mask], [near, far])
    assert agreement.same_masks([~mask & mask], [~mask & mask])
    grey = np.full((9, 9, 3), 100, np.uint8)
    assert agreement.same_pictures([grey], [grey + 2])
    assert not agreement.same_pictures([grey], [grey + 3])


@pytest.mark.parametrize("task", ["detect", "segment", "reconstruct"])
def test_every_task_can_be_measured(shelf, settings, capable, tmp_path, task):
    settings(VISION_HUB_PRECISION="auto", HF_HUB_CACHE=str(tmp_path / "cache"))
    made = {"detect": nets.detr, "segment": nets.own_sam, "reconstruct": nets.mae}[task]()
    shelf.starter(task, *made)
    agreement.settle(task)
    assert precision.verdict(resolver.resolve("net", task, None), CPU) in (True, False)
