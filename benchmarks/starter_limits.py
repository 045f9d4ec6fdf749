"""Rows of `benchmarks.starters` for the cost of a starter: seconds and bytes."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from benchmarks.starter_rows import Row

ROUNDS = 5
SIDE = 512
QUICK, USUAL = 0.1, 1.0  # CPU seconds
LARGEST_MB, TOGETHER_MB = 12.0, 60.0


def seconds(options: argparse.Namespace) -> Iterator[Row]:
    """CPU seconds of one library call for one picture, with the model loaded.

    One thread, 512x512 pixels; super-resolution gets 256x256, so that x2 gives 512x512. Every
    round has a new picture, since answers are cached.
    """
    from core import classify, detect, reconstruct, restore, semantic

    calls: dict[str, tuple[Callable[..., Any], dict[str, Any], int, float]] = {
        "classify": (classify.predict, {}, SIDE, USUAL),
        "reconstruct": (reconstruct.predict, {}, SIDE, QUICK),
        "detect": (detect.predict, {}, SIDE, USUAL),
        "semantic-fcn": (semantic.predict, {}, SIDE, USUAL),
        "semantic-unet": (semantic.predict, {}, SIDE, USUAL),
        "denoise": (restore.denoise, {"sigma": 25}, SIDE, USUAL),
        "super-resolve x2": (restore.super_resolve, {"scale": 2}, SIDE // 2, USUAL),
        "super-resolve x4": (restore.super_resolve, {"scale": 4}, SIDE // 2, USUAL),
        "deblur": (restore.deblur, {}, SIDE, USUAL),
    }
    for name, (call, settings, side, goal) in calls.items():
        key = f"{name.replace(' ', '-')}-starter"
        spent = [
            _cpu_seconds(call, _picture(side, number), key, settings) for number in range(ROUNDS)
        ]
        where = f"CPU seconds, {side} x {side} in, median of {ROUNDS - 1}"
        yield Row(name, where, statistics.median(spent[1:]), goal, "s", at_most=True)


def _picture(side: int, number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def _cpu_seconds(
    call: Callable[..., Any], picture: np.ndarray, key: str, settings: dict[str, Any]
) -> float:
    started = time.process_time()
    call(picture, checkpoint=key, **settings)
    return time.process_time() - started


def sizes(options: argparse.Namespace) -> Iterator[Row]:
    """Megabytes of every shipped file, and their sum."""
    files = sorted(options.weights.glob("*-starter*.safetensors"))
    megabytes = {file.stem: file.stat().st_size / 1e6 for file in files}
    for name, size in megabytes.items():
        yield Row(name.removesuffix("-starter"), "size", size, LARGEST_MB, "MB", at_most=True)
    yield Row("all", "size", sum(megabytes.values()), TOGETHER_MB, "MB", at_most=True)
