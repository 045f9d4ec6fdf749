"""The tabs of the page and the lessons below them: modules with a `TAB` or a `LESSON`."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demos.shell.lesson import Lesson
    from demos.shell.shared import SharedPicture


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab. `build` fills it inside an open Blocks and names its public endpoints.

    `about` is a line that describes the tab; `inner` lists the keys of its inner tabs, if any.
    """

    key: str  # in links, `?tab=key`
    title: str
    order: int
    build: Callable[[SharedPicture], None]
    about: str = ""
    inner: tuple[str, ...] = ()


def discover() -> list[Tab]:
    """Every tab of this package, in display order."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return sorted((m.TAB for m in modules if hasattr(m, "TAB")), key=lambda tab: tab.order)


def lessons_of(tab: str) -> list[Lesson]:
    """The lessons of a tab, in order: modules of `demos/lessons/` with a `LESSON` for it."""
    folder = os.path.join(os.path.dirname(__file__), "lessons")
    names = sorted(m.name for m in pkgutil.iter_modules([folder]) if not m.name.startswith("_"))
    modules = [importlib.import_module(f"{__name__}.lessons.{name}") for name in names]
    found = [m.LESSON for m in modules if hasattr(m, "LESSON") and m.LESSON.tab == tab]
    return sorted(found, key=lambda lesson: lesson.order)
