"""Remake docs/images/lessons: every lesson on the example that is there, as a picture.

    python -m scripts.lesson_pictures [--only attention]

Writes docs/lessons.md too, the list of all lessons with their pictures and pages. Needs Chromium
(the `chromium` package, or CHROMIUM=path).
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

from PIL import Image

from demos import discover, lessons_of
from demos.shell.lesson import Lesson
from scripts.screenshots import LIMIT, segment, visited

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "docs" / "images" / "lessons"
PAGE = ROOT / "docs" / "lessons.md"
SIZE: Any = {"width": 1440, "height": 1100}
MOST_HEIGHT = 1200  # pixels of a picture; longer lessons are cut
MOST_BYTES = 120_000
QUALITIES = (82, 72, 62, 52, 42, 32)  # the first that fits


def shoot(page: Any, url: str, lesson: Lesson) -> bytes:
    """A JPEG of the lesson, opened on the page's first example."""
    page.goto(f"{url}?tab={lesson.tab}")
    page.locator(f"#{lesson.tab}-said [data-turn]:not([data-working])").wait_for(state="attached")
    if lesson.tab == "segment":
        segment(page)  # its lessons are about a prompt
    place = f"#lesson-{lesson.key}"
    page.locator(f"{place} > button").first.click()
    done = f"{place}-said .placeholder, {place}-said [role=status]"
    page.wait_for_timeout(500)
    page.locator(done).first.wait_for(state="hidden")
    page.wait_for_timeout(1500)  # the view draws
    shown = page.locator(place).screenshot()
    with Image.open(io.BytesIO(shown)) as picture:
        cut = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, MOST_HEIGHT)))
    for quality in QUALITIES:
        buffer = io.BytesIO()
        cut.save(buffer, "JPEG", quality=quality, optimize=True)
        if len(buffer.getvalue()) <= MOST_BYTES:
            break
    return buffer.getvalue()


def listed(lessons: list[Lesson]) -> str:
    """The page with all lessons."""
    lines = [
        "# Lessons",
        "",
        "What a model does inside, on the picture and the checkpoint that are chosen. Each is a",
        "card under its tab; `python -m scripts.lesson_pictures` remakes this page.",
    ]
    titles = {tab.key: tab.title for tab in discover()}
    before = ""
    for one in lessons:
        if one.tab != before:
            lines += ["", f"## {titles[one.tab]}"]
            before = one.tab
        endpoint = f" Endpoint: `/{one.endpoint.name}`." if one.endpoint else ""
        lines += [
            "",
            f"### {one.title}",
            "",
            f"{one.about}{endpoint} [Read more](learn/{one.key}.md)",
        ]
        if (OUT / f"{one.key}.jpg").is_file():
            lines += ["", f"![{one.title}](images/lessons/{one.key}.jpg)"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Serve the app, take the pictures, write the page."""
    lessons = [one for tab in discover() for one in lessons_of(tab.key)]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--only", choices=[one.key for one in lessons])
    only = parser.parse_args().only
    OUT.mkdir(parents=True, exist_ok=True)
    with visited() as (url, browser):
        for one in lessons:
            if only in (None, one.key):
                page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
                page.set_default_timeout(4 * LIMIT)
                path = OUT / f"{one.key}.jpg"
                path.write_bytes(shoot(page, url, one))
                page.context.close()
                print(path)
    PAGE.write_text(listed(lessons), encoding="utf-8")


if __name__ == "__main__":
    main()
