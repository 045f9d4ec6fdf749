"""Model cards: the Markdown file beside a starter, taken apart into text and pictures."""

from __future__ import annotations

import re
from pathlib import Path

from core.checkpoints import ROOT, Checkpoint

_PICTURE = re.compile(r"^!\[(?P<alt>[^\]]*)\]\((?P<name>[\w.-]+)\)\s*$", re.MULTILINE)


def text(checkpoint: Checkpoint) -> str:
    """The card as Markdown without its front matter and pictures.

    A checkpoint without a card of ours gets what the catalogue knows of it.
    """
    body = _body(checkpoint)
    return _PICTURE.sub("", body).strip() if body else _from_catalogue(checkpoint)


def pictures(checkpoint: Checkpoint) -> list[tuple[str, Path]]:
    """What each picture of the card shows, and its file; only files beside the card."""
    folder = _file(checkpoint).parent
    found = ((m["alt"], folder / m["name"]) for m in _PICTURE.finditer(_body(checkpoint)))
    return [(alt, path) for alt, path in found if path.is_file()]


def _file(checkpoint: Checkpoint) -> Path:
    return (ROOT / checkpoint.source).with_suffix(".md")


def _body(checkpoint: Checkpoint) -> str:
    if checkpoint.tier != "starter" or not _file(checkpoint).is_file():
        return ""
    whole = _file(checkpoint).read_text("utf-8")
    return re.sub(r"\A---\n.*?\n---\n", "", whole, flags=re.DOTALL)


def _from_catalogue(checkpoint: Checkpoint) -> str:
    own = checkpoint.tier == "own"
    facts = {
        "Source": "a file of yours" if own else f"`{checkpoint.source}` on the model hub",
        "File": "" if own else f"`{checkpoint.filename}`",
        "Revision": f"`{checkpoint.revision}`" if checkpoint.revision else "",
        "SHA-256": f"`{checkpoint.sha256}`" if checkpoint.sha256 else "",
        "Trained on": checkpoint.trained_on,
        "Published score": checkpoint.metric,
        "Licence": checkpoint.licence,
        "Note": checkpoint.note,
    }
    lines = [f"- **{name}:** {value}" for name, value in facts.items() if value]
    return "\n".join([f"### {checkpoint.title or checkpoint.key}", "", *lines])
