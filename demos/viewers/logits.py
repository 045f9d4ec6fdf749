"""The view of logits and the loss: values for it, and the component that draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from demos.viewers import view

if TYPE_CHECKING:
    from core.lessons.logits import Logits


class LogitsView(view.View):
    """Bars of logits, softmax and sigmoid, and the loss; its value is from `packed`."""

    markup = "logits.html"
    styles = ("logits.css",)
    scripts = ("logits.js", "logits_loss.js")


def packed(found: Logits, largest: Mapping[str, float]) -> dict[str, Any]:
    """The value of a `LogitsView`: the logits as a file that the page fetches, and the names.

    Args:
        largest: for each float type, the largest number whose exp() is finite.
    """
    return {
        **view.packed("logits", {"logits": found.values.astype(np.float32)}),
        "labels": list(found.labels),
        "largest": dict(largest),
    }
