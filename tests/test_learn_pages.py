"""The Python code of the pages to read runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    page.stem: "\n".join(BLOCK.findall(page.read_text("utf-8")))
    for page in sorted((ROOT / "docs" / "learn").glob("*.md"))
}
CHECKS = {
    "receptive-field": "fields[-1].size == 212 and found.layers[-1].side > 0",
    "feature-maps": "layer.maps.shape[0] == len(layer.channels) and found.filters.shape[3] == 3",
    "compare": "len(found.answers) == 2 and 0 < found.agreement[0, 1] < 1",
    "detectors": "len(found.answers) == 2 and found.agreement[0, 1] > 0",
    "cnn-family": "member.title == 'EfficientNet-Lite0' and 'cat' in answer",
}


@pytest.mark.parametrize("page", [page for page, code in PAGES.items() if code])
def test_the_code_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {"__name__": page}
    exec(compile(PAGES[page], f"docs/learn/{page}.md", "exec"), names)
    assert eval(CHECKS.get(page, "True"), names)
