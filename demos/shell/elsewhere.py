"""The modules whose functions may run elsewhere: all tasks and lessons."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import core.lessons
from core.checkpoints import TASK_SPECS


def modules() -> Iterator[ModuleType]:
    """The tasks and the lessons of `core`."""
    for name in dict.fromkeys(spec.module for spec in TASK_SPECS.values()):
        yield importlib.import_module(f"core.{name}")
    for found in pkgutil.iter_modules(core.lessons.__path__):
        yield importlib.import_module(f"core.lessons.{found.name}")
