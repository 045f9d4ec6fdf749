"""Rows of `benchmarks.starters` for the restore starters."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np

from benchmarks.starter_rows import Row
from training import restore_eval
from training.restore_export import load
from training.restore_run import denoise as run_denoiser

SIGMA = 25
DENOISE_GOAL = 31.2
#: by scale: dB on Set5, and dB more than bicubic
SUPER_RESOLVE_GOALS = {2: (37.53, 3.3), 4: (31.35, 2.4)}
DEBLUR_GOAL = 3.0


def denoise(options: argparse.Namespace) -> Iterator[Row]:
    """All of CBSD68 at sigma 25; BM3D (Dabov et al., 2007) gets the same noisy pictures."""
    model = load(options.weights / "denoise-starter.safetensors").model
    starter: restore_eval.Denoiser = lambda noisy, sigma: run_denoiser(model, noisy, sigma)  # noqa: E731
    data, every = options.benchmarks, options.bm3d_every
    whole = restore_eval.denoise_scores({"starter": starter}, data, SIGMA)
    classical = restore_eval.denoise_scores(
        {"BM3D": bm3d, "NLM": restore_eval.nlm}, data, SIGMA, every
    )
    means = restore_eval.mean_scores(classical)
    same = float(np.mean([row["starter"] for row in whole[::every]]))
    where = f"CBSD68 sigma {SIGMA}, {len(whole)} pictures"
    if every == 1:
        others = {"BM3D": means["BM3D"], "NLM": means["NLM"]}
        yield Row("denoise", where, same, DENOISE_GOAL, "dB", classical=others)
        return
    yield Row("denoise", where, restore_eval.mean_scores(whole)["starter"], DENOISE_GOAL, "dB")
    where = f"CBSD68 sigma {SIGMA}, {len(classical)} of them"
    yield Row("denoise", where, same, None, "dB", classical={k: means[k] for k in ("BM3D", "NLM")})


def bm3d(noisy: np.ndarray, sigma: float) -> np.ndarray:
    """Colour BM3D told the noise level. (H, W, 3) in 0..1 and sigma of 255 -> the same, cleaned."""
    from bm3d import bm3d_rgb

    return bm3d_rgb(noisy, sigma / 255.0)


def super_resolve(options: argparse.Namespace) -> Iterator[Row]:
    """Set5, Y channel, and the gain over bicubic; Set14 for comparison."""
    for scale, (goal, gain) in SUPER_RESOLVE_GOALS.items():
        path = options.weights / f"super-resolve-x{scale}-starter.safetensors"
        name = f"super-resolve x{scale}"
        for where, scores in restore_eval.evaluate_super_resolve(path, options.benchmarks):
            others = {"bicubic": scores["bicubic"]}
            reached = goal if where.startswith("set5") else None
            yield Row(name, where, scores["starter"], reached, "dB", classical=others)
            if reached:
                more = scores["starter"] - scores["bicubic"]
                yield Row(name, "more than bicubic, the same pictures", more, gain, "dB")


def deblur(options: argparse.Namespace) -> Iterator[Row]:
    """Gain over the input: mean over pictures and held-out kernels, and the smallest one."""
    path = options.weights / "deblur-starter.safetensors"
    for where, scores in restore_eval.evaluate_deblur(path, options.benchmarks):
        gains = {name: value - scores["input"] for name, value in scores.items()}
        others = {"Wiener": gains["wiener"], "Richardson-Lucy": gains["richardson-lucy"]}
        everything = where.startswith("all")
        goal = DEBLUR_GOAL if everything else None
        yield Row("deblur", f"gain, {where}", gains["starter"], goal, "dB", classical=others)
        if everything:
            yield Row(
                "deblur", "gain, worst picture and kernel", scores["smallest gain"], 0.0, "dB"
            )
