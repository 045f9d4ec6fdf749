"""Our own ways to compute something faster, and the library's way wherever a machine lacks ours.

An instruction, a symbol or a package can be missing on another machine, and an operation can be
refused for one shape or one precision only. So each own way is tried once on the machine that it
runs on, against the library's answer, and is given up for good when it fails later.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class OwnWay:
    """One of them: `name` for the log, `trial` for whether its answer is right on this machine.

    The trial is small and compares with the library. One that raises counts as a failure. It runs
    at the first question, and is not to ask `works` itself.
    """

    def __init__(self, name: str, trial: Callable[[], bool]) -> None:
        self.name = name
        self._trial = trial
        self._lock = threading.Lock()
        self._works: bool | None = None

    def works(self) -> bool:
        """Whether the trial was right, and nothing has failed since."""
        if self._works is None:
            with self._lock:
                if self._works is None:
                    self._works = self._tried()
        return self._works

    def run(self, own: Callable[[], T], usual: Callable[[], T]) -> T:
        """`own()` where that works here, else `usual()`.

        Where `own` raises and `usual` does not, it is given up; where both do, as when memory ends,
        the fault lies elsewhere and is raised.
        """
        if not self.works():
            return usual()
        try:
            return own()
        except Exception as error:
            answer = usual()
            self._works = False
            _log.info("%s failed and is not used any more: %s", self.name, error)
            return answer

    def _tried(self) -> bool:
        try:
            right, why = bool(self._trial()), "its answer differs"
        except Exception as error:  # what a missing operation raises is not specified
            right, why = False, str(error)
        if not right:
            _log.info("%s is not used on this machine: %s", self.name, why)
        return right
