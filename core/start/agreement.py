"""Measure on the bundled examples whether a checkpoint answers in bfloat16 as it does in float32.

Agreement means: the same best class on every picture; every sure box again within a pixel, and no
other; masks with an IoU of at least 0.99; reconstructions within 40 dB PSNR of each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core import classify, detect, reconstruct, segment
from core.checkpoints import ROOT, Checkpoint, Task
from core.errors import HubError
from core.imaging import metrics
from core.serving import precision, runtime
from core.settings import get_settings
from core.sources import resolver
from core.types import Detections

PICTURES = ("astronaut.jpg", "chelsea.jpg", "coffee.jpg", "hopper.jpg")
PIXELS, IOU, PSNR = 1.0, 0.99, 40.0
SURE, NEARLY = 0.5, 0.45  # a box above the first must come again, with at least the second score
_log = logging.getLogger(__name__)


def settle(task: Task) -> None:
    """Measure those checkpoints of a task that are ready and were not measured yet.

    Does nothing unless the precision is left to us and the device computes in bf16.
    """
    where = runtime.device()
    if get_settings().precision != "auto" or not precision.is_supported(where):
        return
    for checkpoint in resolver.of_task(task):
        if not resolver.is_ready(checkpoint):
            continue
        try:
            resolved = resolver.resolve(checkpoint.key, task)
            if resolved.note or precision.verdict(resolved, where) is not None:
                continue  # another answers in its place, or it was measured before
            verdict = agrees(checkpoint)
            if not resolver.resolve(checkpoint.key, task).note:
                precision.keep(resolved, where, verdict)
        except HubError as error:
            _log.info("%s stays in fp32: %s", checkpoint.key, error)


def agrees(checkpoint: Checkpoint) -> bool:
    """Whether the answers on the examples are the same in both precisions.

    Raises:
        HubError: as the task.
    """
    same, answer = _TASKS[checkpoint.task]
    answers: dict[str, list[Any]] = {}
    for wanted in ("fp32", "bf16"):
        with precision.forced(wanted):
            answers[wanted] = [answer(ROOT / "examples" / p, checkpoint.key) for p in PICTURES]
    verdict = same(answers["fp32"], answers["bf16"])
    _log.info("%s in bf16 %s fp32", checkpoint.key, "agrees with" if verdict else "differs from")
    return verdict


def same_classes(full: Sequence[str], half: Sequence[str]) -> bool:
    """The best class of every picture."""
    return list(full) == list(half)


def same_boxes(full: Sequence[Detections], half: Sequence[Detections]) -> bool:
    """Every sure box of either again in the other; False where there is none to compare."""
    pairs = list(zip(full, half, strict=True))
    some = any((one.scores > SURE).any() for one in full)
    return some and all(_found(a, b) and _found(b, a) for a, b in pairs)


def _found(these: Detections, among: Detections) -> bool:
    for box, score, label in zip(these.boxes, these.scores, these.labels, strict=True):
        if score <= SURE:
            continue
        near = np.abs(among.boxes - box).max(-1, initial=0.0) <= PIXELS
        alike = np.array([name == label for name in among.labels], dtype=bool)
        if not (near & alike & (among.scores > NEARLY)).any():
            return False
    return True


def same_masks(full: Sequence[NDArray[np.bool_]], half: Sequence[NDArray[np.bool_]]) -> bool:
    """Masks (H, W) of the same prompts."""
    return all(
        (a & b).sum() >= IOU * max(1, (a | b).sum()) or not (a | b).any()
        for a, b in zip(full, half, strict=True)
    )


def same_pictures(full: Sequence[NDArray[np.uint8]], half: Sequence[NDArray[np.uint8]]) -> bool:
    """Pictures that look alike."""
    return all(metrics.psnr(a, b) >= PSNR for a, b in zip(full, half, strict=True))


def _best_class(picture: Any, key: str) -> str:
    return classify.predict(picture, key, top_k=1).labels[0]


_WORDS = "a person, a cat, a cup"  # for a detector that finds what is typed


def _boxes(picture: Any, key: str) -> Detections:
    return detect.predict(picture, key, threshold=0.0, words=_WORDS)


def _mask(picture: Any, key: str) -> NDArray[np.bool_]:
    from core import images

    h, w = images.from_any(picture).shape[:2]
    return segment.predict(picture, [[w / 2, h / 2, 1]], checkpoint=key).masks[0]


def _reconstruction(picture: Any, key: str) -> NDArray[np.uint8]:
    return reconstruct.predict(picture, key).image


_TASKS: dict[str, tuple[Callable[[Any, Any], bool], Callable[[Any, str], Any]]] = {
    "classify": (same_classes, _best_class),
    "detect": (same_boxes, _boxes),
    "segment": (same_masks, _mask),
    "reconstruct": (same_pictures, _reconstruction),
}
