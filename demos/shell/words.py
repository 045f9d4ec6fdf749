"""The field's words that the page uses, each explained in one sentence."""

from __future__ import annotations

import html
import re

TIERS = {
    "starter": "a small checkpoint that comes with this project and works without a network",
    "package": "weights that come with an installed Python package",
    "full": "a published checkpoint, downloaded when you pick it",
    "own": "a checkpoint from your own folder",
}
# In the order of the list; a pattern also finds the forms that texts use.
TERMS: dict[str, tuple[str, str]] = {
    "checkpoint": ("", "a model's weights after training, saved in a file"),
    "logits": (r"logits?", "the numbers, one per class, that a model gives before softmax"),
    "softmax": (r"softmax", "turns logits into probabilities that add up to 1"),
    "top-1": (r"top-1", "the share of pictures whose most probable class is the right one"),
    "IoU": (
        r"[mG]?IoU|NMS",
        "intersection over union, 0 to 1: the area that two boxes or masks share, divided by the "
        "area that they cover together; mIoU is its mean over the classes",
    ),
    "GIoU": (
        "GIoU",
        "generalised IoU, -1 to 1: IoU minus the empty share of the smallest box around both, so "
        "that boxes that are far apart differ too",
    ),
    "AP": (
        r"AP(?:50)?",
        "average precision: how many of the true objects are found, and how few wrong boxes come "
        "with them; AP50 accepts a box from an IoU of 0.5",
    ),
    "NMS": ("NMS", "non-maximum suppression: of boxes that overlap much, keeps the best"),
    "J&F": ("J&F", "how well a mask and its outline follow the true ones, 0 to 100"),
    "stability": (
        "stability",
        "how little a mask changes when its threshold moves, 0 to 1",
    ),
    "PSNR": ("PSNR", "how close two pictures are, in decibels (dB): more is closer"),
    "sigma": ("sigma", "the strength of noise: its standard deviation in grey levels, 0 to 255"),
    "patch": (r"patch(?:es)?", "a small square of the picture, the unit that a ViT works on"),
    "embedding": ("embedding", "the numbers that a model makes of a picture or a patch"),
    "bf16, fp32": (
        "bf16|fp16|fp32",
        "numbers of 16 or 32 bits; fewer bits are faster and less exact",
    ),
    "hit, miss": ("hit|miss", "whether a value was kept from an earlier run or had to be made"),
}
_TAG = re.compile(r"<[^>]+>")


def explained(markup: str) -> str:
    """The explanations of all words that this HTML uses, as HTML; "" if it uses none."""
    text = html.unescape(_TAG.sub(" ", markup))
    tiers = {name: TIERS[name] for name in TIERS if f"tier-{name}" in markup}
    terms = {
        name: said
        for name, (pattern, said) in TERMS.items()
        if pattern and re.search(rf"(?<![\w-])(?:{pattern})(?![\w-])", text)
    }
    return listed({**tiers, **terms})


def all_words() -> str:
    """All explanations, as HTML."""
    return listed({**TIERS, **{name: said for name, (_, said) in TERMS.items()}})


def listed(meanings: dict[str, str]) -> str:
    """These words and their meanings as a description list; "" if there are none."""
    rows = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(said)}</dd></div>"
        for name, said in meanings.items()
    )
    return f'<dl class="words">{rows}</dl>' if rows else ""
