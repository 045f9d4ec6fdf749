"""The tabs of the page: each module here that has a `TAB` is one, found by `discover`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tab:
    """One tab. `build` fills it inside an open Blocks and names its public endpoints."""

    key: str  # in links, `?tab=key`
    title: str
    order: int
    build: Callable[[], None]


def discover() -> list[Tab]:
    """Every tab of this package, in the order in which it is shown."""
    names = [m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")]
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return sorted((m.TAB for m in modules if hasattr(m, "TAB")), key=lambda tab: tab.order)
