"""What every shipped starter answers on example pictures, as numbers that a test can hold.

`python -m tests.golden` writes them anew to golden.json, after a starter was trained again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from core import classify, detect, images, reconstruct, restore, segment, semantic
from core.checkpoints import CATALOGUE, ROOT

FILE = Path(__file__).with_suffix(".json")
STARTERS = [c.key for c in CATALOGUE if c.tier == "starter"]


def _picture(name: str) -> images.RGB:
    return np.asarray(images.decode(ROOT / "examples" / name))


def _seven() -> images.RGB:
    """A digit of two strokes, dark on light."""
    page = Image.new("RGB", (160, 160), (240, 240, 240))
    ImageDraw.Draw(page).line([(50, 45), (110, 45), (72, 120)], (30, 30, 30), 9)
    return np.asarray(page)


def _grid(picture: np.ndarray, cells: int = 8) -> list[float]:
    """Mean and spread of each of cells x cells parts, in grey levels: structure and detail."""
    grey = picture.astype(float)
    grey = grey.mean(axis=2) if grey.ndim == 3 else grey
    rows = np.array_split(grey, cells, axis=0)
    parts = [part for row in rows for part in np.array_split(row, cells, axis=1)]
    return [*(float(p.mean()) for p in parts), *(float(p.std()) for p in parts)]


def _classified(key: str) -> list[float]:
    picture = _seven() if key == "lenet-starter" else _picture("chelsea.jpg")
    answer = classify.predict(picture, key, top_k=10)
    by_name = sorted(zip(answer.labels, answer.scores, strict=True))
    return [100 * float(score) for _, score in by_name]


def _detected(key: str) -> list[float]:
    found = detect.predict(_picture("chelsea.jpg"), key, threshold=0.3)
    best = int(found.scores.argmax())
    return [100 * float(found.scores[best]), *(float(v) for v in found.boxes[best])]


def _segmented(key: str) -> list[float]:
    found = segment.predict(_picture("coffee.jpg"), [[300, 200, 1]], checkpoint=key)
    scores = [100 * float(score) for score in found.scores]
    return [*scores, *_grid(255.0 * found.masks[int(found.scores.argmax())])]


def _classes(key: str) -> list[float]:
    return _grid(12.0 * semantic.predict(_picture("chelsea.jpg"), key).labels)


def _reconstructed(key: str) -> list[float]:
    return _grid(reconstruct.predict(_picture("chelsea.jpg"), key, seed=0).pasted)


def _denoised(key: str) -> list[float]:
    return _grid(restore.denoise(_picture("noisy.png")[:128, :128], key, sigma=25).image)


def _enlarged(key: str) -> list[float]:
    scale = 4 if "x4" in key else 2
    return _grid(restore.super_resolve(_picture("small.png")[:64, :64], key, scale).image)


def _deblurred(key: str) -> list[float]:
    return _grid(restore.deblur(_picture("blurred.png")[:128, :128], key).image)


ANSWERS: dict[str, Callable[[str], list[float]]] = {
    "classify": _classified,
    "detect": _detected,
    "semantic": _classes,
    "segment": _segmented,
    "reconstruct": _reconstructed,
    "denoise": _denoised,
    "super_resolve": _enlarged,
    "deblur": _deblurred,
}


def answer(key: str) -> list[float]:
    """The numbers of one starter: percent, pixels or grey levels."""
    task = next(c.task for c in CATALOGUE if c.key == key)
    return ANSWERS[task](key)


def digest(key: str) -> str:
    """SHA-256 of the starter's file."""
    return hashlib.sha256((ROOT / "weights" / f"{key}.safetensors").read_bytes()).hexdigest()


if __name__ == "__main__":
    os.environ.setdefault("VISION_HUB_PRECISION", "fp32")  # as in the tests
    known = {
        key: {"sha256": digest(key), "answer": [round(v, 3) for v in answer(key)]}
        for key in STARTERS
    }
    lines = (f" {json.dumps(key)}: {json.dumps(entry)}" for key, entry in known.items())
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
