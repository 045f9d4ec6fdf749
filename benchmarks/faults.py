"""Break the app in every known way; record the visitor's message and what still works.

    python -m benchmarks.faults [--write]

Each fault is injected into the real app, served on this machine. A visitor of one tab meets it
while the other tabs are used, and the same tab is used again once the fault is gone. All must
answer as before. `--write` puts the table into docs/reliability.md. Exits with 1 if a fault is not
handled.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import fault_list
from benchmarks.fault_list import ANSWERED, FAULTS, Fault, changed_settings
from benchmarks.goals import with_part
from benchmarks.startup import ROOT

PAGE = ROOT / "docs" / "reliability.md"
ENDPOINTS: dict[str, dict[str, Any]] = {  # and their other arguments
    "/classify": {"checkpoint": "classify-starter"},  # whose model and file the faults change
    "/detect": {},
    "/segment": {"points": [[20, 20, 1]]},
    "/reconstruct": {},
    "/denoise": {},
    "/super_resolve": {},
    "/deblur": {},
}


@dataclass(frozen=True, slots=True)
class Row:
    """The effects of one fault."""

    fault: Fault
    said: str
    next_right: bool
    others_right: bool

    @property
    def met(self) -> bool:
        """Whether the message was clear, and the next request and the other tabs worked."""
        clear = re.search(self.fault.says, self.said) is not None and is_clear(self.said)
        return clear and self.next_right and self.others_right


def is_clear(sentence: str) -> bool:
    """Whether this is one line that ends like a sentence, without a path, class or traceback."""
    leaks = ("Traceback", "Error:", "Exception", "/tmp", "/home", "/root", str(ROOT), "0x")
    one_line = "\n" not in sentence.strip() and sentence.rstrip().endswith((".", "…", ")"))
    return one_line and not any(leak in sentence for leak in leaks)


class Hub:
    """The served app, and its answers while nothing is broken."""

    def __init__(self, address: str, folder: Path) -> None:
        from gradio_client import Client

        fault_list.address.set(address)
        self.client = Client(address, verbose=False, httpx_kwargs={"timeout": 120})
        self.folder = folder
        self._pictures = 0
        self.right = {endpoint: self.ask(endpoint) for endpoint in ENDPOINTS}

    def ask(self, endpoint: str, checkpoint: str = "", fresh: bool = False) -> Any:
        """An endpoint's answer without run details, and its note, if any.

        Args:
            fresh: use a picture without a cached answer.
        """
        from gradio_client import handle_file

        picture = handle_file(self._picture(fresh))
        more = dict(ENDPOINTS[endpoint])
        if checkpoint:
            more["checkpoint"] = checkpoint
        *found, info = self.client.predict(picture, api_name=endpoint, **more)
        if fresh:
            return info["note"] or ANSWERED
        return [_pixels(x) if isinstance(x, str) else x for x in found]

    def _picture(self, fresh: bool) -> Path:
        import numpy as np
        from PIL import Image

        self._pictures += fresh
        seed = self._pictures if fresh else 0
        path = self.folder / f"{seed}.png"
        if not path.exists():
            rng = np.random.default_rng(seed)
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            coarse.resize((96, 72)).save(path)
        return path

    def examine(self, fault: Fault) -> Row:
        """Inject a fault and record its effects."""
        from gradio_client.exceptions import AppError

        from core.serving import runtime

        # Stored outputs would hide the fault.
        runtime.outputs().clear()
        others = set(ENDPOINTS) - {fault.endpoint, *fault.alike}
        with tempfile.TemporaryDirectory() as scratch, ExitStack() as broken:
            broken.enter_context(fault.inject(Path(scratch)))
            try:
                said = self.ask(fault.endpoint, fault.checkpoint, fresh=True)
            except AppError as error:
                said = str(error)
            others_right = all(self._is_right(other) for other in sorted(others))
        return Row(fault, said, self._is_right(fault.endpoint), others_right)

    def _is_right(self, endpoint: str) -> bool:
        from gradio_client.exceptions import AppError

        try:
            return bool(self.ask(endpoint) == self.right[endpoint])
        except AppError:
            return False


def _pixels(path: str) -> bytes:
    from PIL import Image

    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


@contextmanager
def served_hub() -> Iterator[Hub]:
    """The app on a free port of this machine, with its starters loaded."""
    import app

    # A fault removes the app's cache, which holds the measurements of bf16; results must come from
    # the same arithmetic.
    same = changed_settings(VISION_HUB_PRECISION="fp32")
    with same, tempfile.TemporaryDirectory() as folder, app.served() as address:
        yield Hub(address, Path(folder))


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| What breaks | What the visitor reads | Next request | Other tabs |"]
    lines.append("|---|---|---|---|")
    for row in rows:
        words = ["right" if ok else "**wrong**" for ok in (row.next_right, row.others_right)]
        lines.append(f"| {row.fault.name} | {row.said} | {words[0]} | {words[1]} |")
    return "\n".join(lines)


def write_section(page: Path, name: str, content: str) -> None:
    """Put `content` between `<!-- name -->` and `<!-- /name -->` of a page."""
    page.write_text(with_part(page.read_text("utf-8"), name, content), "utf-8")


def main() -> int:
    """Print the table; return 1 if a fault is not handled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--write", action="store_true", help="also into docs/reliability.md")
    write = parser.parse_args().write
    with served_hub() as hub:
        rows = [hub.examine(fault) for fault in FAULTS]
    print(table(rows))
    missed = [row.fault.name for row in rows if not row.met]
    print(f"{len(rows) - len(missed)} of {len(rows)} met", *missed, sep="\n  not met: ")
    if write:
        write_section(PAGE, "faults", table(rows))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
