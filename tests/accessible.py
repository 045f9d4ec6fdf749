"""What axe-core finds in a part of the page, in light and in dark."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

GRAVE = ("serious", "critical")
_RUN = """([where, grave]) => axe.run(where, { resultTypes: ["violations"], preload: false }).then(
  (found) => found.violations.filter(({ impact }) => grave.includes(impact)).flatMap(
    ({ id, nodes }) => nodes.map((one) => [id, one.target.join(" "), one.failureSummary])))"""


def faults(page: Any, where: str) -> list[Any]:
    """The serious and critical faults of what `where` selects: rule, element, and what is wrong.

    The colours are those of the page's own scheme, and then of the other one.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
        page.add_style_tag(content="* { transition: none !important }")  # of colours, to the other
    found = []
    for _ in range(2):
        found += page.evaluate(_RUN, [where, GRAVE])
        page.evaluate("document.body.classList.toggle('dark')")
    return found
