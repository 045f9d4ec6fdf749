"""Model cards: the Markdown files in `weights/`, split into text and pictures."""

from __future__ import annotations

import re
from pathlib import Path

from core.checkpoints import ROOT, Checkpoint

_PICTURE = re.compile(r"^!\[(?P<alt>[^\]]*)\]\((?P<name>[\w.-]+)\)\s*$", re.MULTILINE)
# Characters that could begin Markdown or HTML; as entities they are always plain text.
_MARKUP = re.compile(r"[^\w\s,;.%/+()-]|_|(?<=www)\.")


def plain(words: str) -> str:
    """Escape text, such as a user's file name, so that Markdown shows it literally."""
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", " ".join(words.split()))


def text(checkpoint: Checkpoint) -> str:
    """The card as Markdown without its front matter and pictures.

    Without a card of ours, the text comes from the catalogue.
    """
    body = _body(checkpoint)
    return _PICTURE.sub("", body).strip() if body else _from_catalogue(checkpoint)


def pictures(checkpoint: Checkpoint) -> list[tuple[str, Path]]:
    """Each picture's description and file; only files beside the card."""
    folder = _file(checkpoint).parent
    found = ((m["alt"], folder / m["name"]) for m in _PICTURE.finditer(_body(checkpoint)))
    return [(alt, path) for alt, path in found if path.is_file()]


def _file(checkpoint: Checkpoint) -> Path:
    if checkpoint.tier == "package":
        return ROOT / "weights" / f"{checkpoint.key}.md"
    return (ROOT / checkpoint.source).with_suffix(".md")


def _body(checkpoint: Checkpoint) -> str:
    if checkpoint.tier not in ("starter", "package") or not _file(checkpoint).is_file():
        return ""
    whole = _file(checkpoint).read_text("utf-8")
    return re.sub(r"\A---\n.*?\n---\n", "", whole, flags=re.DOTALL)


def _from_catalogue(checkpoint: Checkpoint) -> str:
    own = checkpoint.tier == "own"
    hub = "" if "://" in checkpoint.source else " on Hugging Face"
    facts = {
        "Source": "a file of yours" if own else f"`{checkpoint.source}`{hub}",
        "File": "" if own else f"`{checkpoint.filename}`",
        "Revision": f"`{checkpoint.revision}`" if checkpoint.revision else "",
        "SHA-256": f"`{checkpoint.sha256}`" if checkpoint.sha256 else "",
        "Trained on": plain(checkpoint.trained_on),
        "Published score": plain(checkpoint.metric),
        "Licence": plain(checkpoint.licence),
        "Note": plain(checkpoint.note),
    }
    lines = [f"- **{name}:** {value}" for name, value in facts.items() if value]
    return "\n".join([f"### {plain(checkpoint.title or checkpoint.key)}", "", *lines])
