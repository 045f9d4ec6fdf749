"""Rows of `benchmarks.starters` for the detect, segment and semantic starters."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.starter_rows import Row
from core.imaging.metrics import mask_iou
from training import detectors_export, detectors_judge, segment_eval, semantic_export, voc_masks
from training.segment_data import tight_box

DETECT_GOALS = {"cnn": 0.5, "rt-detr": 0.42}
#: score of `segment_eval` -> (what it is, goal)
SEGMENT_GOALS = {
    "ecssd_click": ("IoU, ECSSD, one click", 0.82),
    "ecssd_clicks_5": ("IoU, ECSSD, five clicks", 0.90),
    "ecssd_box": ("IoU, ECSSD, box", 0.88),
    "bsds_click": ("IoU, BSDS human segments, one click", 0.45),
}
SEMANTIC_GOAL = 0.45
BEST_OF_THREE, RANK_CORRELATION = 0.05, 0.6
CLICK_SECONDS, ENCODE_SECONDS = 0.06, 0.3
GRABCUT_SIDE, GRABCUT_ROUNDS = 160, 5


def detect(options: argparse.Namespace) -> Iterator[Row]:
    """AP50 of both detectors on held-out pictures of VOC 2007."""
    for kind, key in detectors_export.KEYS.items():
        file = options.weights / f"{key}.safetensors"
        value, count = detectors_judge.ap50(file, options.data / "voc")
        yield Row("detect", f"AP50, {count} held-out pictures, {kind}", value, DETECT_GOALS[kind])


def semantic(options: argparse.Namespace) -> Iterator[Row]:
    """Mean IoU of both networks on held-out pictures of VOC 2007."""
    for kind, key in semantic_export.KEYS.items():
        file, voc = options.weights / f"{key}.safetensors", options.data / "voc"
        count = len(voc_masks.held_out_names(voc))
        if not count:
            raise FileNotFoundError(f"no masks in {voc / 'SegmentationClass'}")
        value = semantic_export.score(file, voc)["mean"]
        yield Row("semantic", f"mean IoU, {count} held-out pictures, {kind}", value, SEMANTIC_GOAL)


def segment(options: argparse.Namespace) -> Iterator[Row]:
    """IoU by prompt on held-out pictures; classical methods get the same prompts."""
    model = segment_eval.load(options.weights / "segment-starter.safetensors")
    scores = segment_eval.score(model, options.data)
    others = segment_eval.baselines(options.data, segment_eval.BASELINE_PICTURES)
    others |= grabcut_scores(options.data, segment_eval.BASELINE_PICTURES)
    for key, (name, goal) in SEGMENT_GOALS.items():
        classical = {
            k.removeprefix(f"{key}_"): v for k, v in others.items() if k.startswith(f"{key}_")
        }
        yield Row("segment", name, scores[key], goal, classical=classical)
    gain = scores["ecssd_click_best"] - scores["ecssd_click_single"]
    yield Row("segment", "IoU, best of three less the single mask", gain, BEST_OF_THREE)
    rank = scores["spearman"]
    yield Row("segment", "rank correlation, predicted and true IoU", rank, RANK_CORRELATION)
    cost = segment_eval.seconds(model)
    for name, goal in (("click_seconds", CLICK_SECONDS), ("encode_seconds", ENCODE_SECONDS)):
        yield Row("segment", f"CPU {name.replace('_', ', ')}", cost[name], goal, "s", at_most=True)


def grabcut_scores(data: Path, limit: int) -> dict[str, float]:
    """Mean IoU of GrabCut for a click and for a box, on the pictures of the other methods."""
    ecssd, human = segment_eval.baseline_pictures(data, limit)
    return {
        "ecssd_click_grabcut": float(np.mean([grabcut(i, m, box=False) for i, m in ecssd])),
        "ecssd_box_grabcut": float(np.mean([grabcut(i, m, box=True) for i, m in ecssd])),
        "bsds_click_grabcut": float(np.mean([grabcut(i, m, box=False) for i, m in human])),
    }


def grabcut(image: np.ndarray, mask: np.ndarray, box: bool) -> float:
    """IoU of GrabCut (Rother et al., 2004; OpenCV), seeded by the box or by a disc at the click."""
    import cv2

    scale = GRABCUT_SIDE / max(mask.shape)
    size = (round(mask.shape[1] * scale), round(mask.shape[0] * scale))
    small = cv2.resize(image[..., ::-1], size, interpolation=cv2.INTER_AREA)
    truth = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if not truth.any():
        return 0.0
    seeds = np.full(truth.shape, cv2.GC_BGD if box else cv2.GC_PR_BGD, np.uint8)
    if box:
        left, top, right, bottom = tight_box(truth).astype(int)
        seeds[top : bottom + 1, left : right + 1] = cv2.GC_PR_FGD
    else:
        x, y = segment_eval.deepest(truth)
        cv2.circle(seeds, (x, y), min(size) // 4, cv2.GC_PR_FGD, -1)
        cv2.circle(seeds, (x, y), 3, cv2.GC_FGD, -1)
    if (seeds == cv2.GC_BGD).any() or not box:
        # A box that covers everything or nothing leaves one side without colours to learn from.
        with contextlib.suppress(cv2.error):
            cv2.grabCut(  # type: ignore[call-overload]
                small, seeds, None, None, None, GRABCUT_ROUNDS, cv2.GC_INIT_WITH_MASK
            )
    shown = (seeds == cv2.GC_FGD) | (seeds == cv2.GC_PR_FGD)
    return mask_iou(shown, truth)
