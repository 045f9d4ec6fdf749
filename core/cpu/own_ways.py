"""Faster implementations of our own, with the library's as fallback.

An instruction, symbol or package may be missing on another machine, and an operation may not
support some shape or precision. So each one is tried once on the machine it runs on, against the
library's result, and is switched off for good if it fails later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class OwnWay:
    """One fast implementation: `name` for the log, `trial` checks its result on this machine.

    The trial is small and compares with the library. A trial that raises counts as failed. It runs
    on first use and must not use `works` itself.
    """

    def __init__(self, name: str, trial: Callable[[], bool]) -> None:
        self.name = name
        self._trial = trial
        self._lock = threading.Lock()
        self._works: bool | None = None

    def works(self) -> bool:
        """Whether the trial passed and nothing has failed since."""
        if self._works is None:
            with self._lock:
                if self._works is None:
                    self._works = self._tried()
        return self._works

    def run(self, own: Callable[[], T], usual: Callable[[], T]) -> T:
        """Return `own()` if it works here, else `usual()`.

        If `own` raises and `usual` does not, `own` is switched off. If both raise, as when memory
        runs out, the fault lies elsewhere and is raised.
        """
        if not self.works():
            return usual()
        try:
            return own()
        except Exception as error:
            answer = usual()
            self._works = False
            _log.info("%s failed and is switched off: %s", self.name, error)
            return answer

    def _tried(self) -> bool:
        try:
            right, why = bool(self._trial()), "its answer differs"
        except Exception as error:  # what a missing operation raises is not specified
            right, why = False, str(error)
        if not right:
            _log.info("%s is not used on this machine: %s", self.name, why)
        return right
