"""The view of a comparison: for each checkpoint its answers, its cost and what it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from core import images
from demos.shell import ui
from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.compare import Answer, Comparison


class CompareView(view.View):
    """Cards beside each other; its value is from `packed`."""

    markup = "compare.html"
    styles = ("compare.css",)
    scripts = ("compare.js",)


def packed(rgb: images.RGB, found: Comparison) -> dict[str, Any]:
    """The value of a `CompareView`.

    Args:
        rgb: (H, W, 3) uint8, the picture that `found` belongs to.
    """
    height, width = rgb.shape[:2]
    heats = {
        f"heat{place}": np.rint(255 * one.heat).astype(np.uint8)
        for place, one in enumerate(found.answers)
    }
    return {
        **view.packed("heats", heats),
        "picture": view.seen(rgb, (0, 0, width, height)),
        "answers": [_plain(one, width, height) for one in found.answers],
        "agreement": [[round(float(v), 4) for v in row] for row in found.agreement],
        "said": said(found),
    }


def said(found: Comparison) -> str:
    """One or two sentences about the answers."""
    best = sorted({one.labels[0] for one in found.answers})
    if found.same_best:
        first = f"All say {best[0]}."
    else:
        first = "They differ: " + ", ".join(
            f"{one.title} says {one.labels[0]}" for one in found.answers
        )
        first += "."
    return f"{first} Classes in bold are among the best of all."


def _plain(one: Answer, width: int, height: int) -> dict[str, Any]:
    x1, y1, x2, y2 = one.seen
    pairs = zip(one.labels, one.scores.tolist(), strict=True)
    return {
        "title": one.title,
        "classes": [[label, round(score, 5)] for label, score in pairs],
        "facts": [
            ["Parameters", f"{one.params / 1e6:.3g} M"],
            ["Multiply-adds", f"{one.macs / 1e9:.3g} G"],
            ["Time of the pass", ui.duration(one.seconds)],
            ["Published", one.info.metric or "no figure"],
        ],
        "note": one.info.note,
        "seen": [x1 / width, y1 / height, x2 / width, y2 / height],
        "shape": list(one.heat.shape),
    }
