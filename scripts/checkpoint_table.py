"""Write the table of checkpoints into docs/checkpoints.md from the catalogue.

Usage: python -m scripts.checkpoint_table [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from core.checkpoints import CATALOGUE, TASKS, Checkpoint
from scripts import generated

PAGE = Path(__file__).resolve().parent.parent / "docs/checkpoints.md"
HEADINGS = ("Key", "Model", "Tier", "MB", "Parameters", "Licence", "Metric", "Trained on", "Pinned")


def _size(checkpoint: Checkpoint) -> str:
    file = PAGE.parent.parent / checkpoint.source
    if not checkpoint.size_mb and checkpoint.tier == "starter" and file.exists():
        return f"{file.stat().st_size / 1e6:.1f}"
    return f"{checkpoint.size_mb:g}" if checkpoint.size_mb else ""


def _pinned(checkpoint: Checkpoint) -> str:
    names = (("commit", checkpoint.revision), ("SHA-256", checkpoint.sha256))
    return ", ".join(name for name, value in names if value)


def _row(checkpoint: Checkpoint, notes: list[str]) -> str:
    licence = checkpoint.licence
    if checkpoint.note:
        if checkpoint.note not in notes:
            notes.append(checkpoint.note)
        licence += f" [{notes.index(checkpoint.note) + 1}]"
    model = checkpoint.title
    if checkpoint.tier == "full":
        hub = "" if "://" in checkpoint.source else "https://huggingface.co/"
        model = f"[{model}]({hub}{checkpoint.source})"
    params = f"{checkpoint.params_m:g} M" if checkpoint.params_m else ""
    tier, data = checkpoint.tier, checkpoint.trained_on
    cells = (f"`{checkpoint.key}`", model, tier, _size(checkpoint), params, licence)
    return "| " + " | ".join((*cells, _metric(checkpoint), data, _pinned(checkpoint))) + " |"


def _metric(checkpoint: Checkpoint) -> str:
    return "; ".join(part for part in (checkpoint.metric, checkpoint.cost) if part)


def table() -> str:
    """The catalogue as Markdown, one table per task, notes below."""
    notes: list[str] = []
    lines: list[str] = []
    for task in TASKS:
        lines += [
            f"### {task}",
            "",
            "| " + " | ".join(HEADINGS) + " |",
            "|---" * len(HEADINGS) + "|",
        ]
        lines += [_row(c, notes) for c in CATALOGUE if c.task == task]
        lines.append("")
    lines += [f"{i}. {note}" for i, note in enumerate(notes, 1)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """docs/checkpoints.md with the current table between its markers."""
    return generated.between(PAGE.read_text("utf-8"), "table", table())


def main() -> int:
    """Write the page, or check it: `scripts.generated.main`."""
    return generated.main(PAGE, page(), "scripts.checkpoint_table", __doc__)


if __name__ == "__main__":
    sys.exit(main())
