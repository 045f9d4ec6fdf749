"""Pay for slow imports and first loads before the first visitor does."""

from __future__ import annotations

import logging

import numpy as np

from core.errors import HubError

_log = logging.getLogger(__name__)


def everything() -> None:
    """Run each task once on a small grey picture with the best checkpoint at hand."""
    from core import agreement, classify, detect, hub, precision, reconstruct, restore, segment

    hub.install_limits()  # before any library asks the hub something without a time limit

    grey = np.full((64, 64, 3), 127, np.uint8)
    for run in (
        lambda: classify.predict(grey),
        lambda: segment.embed(grey),
        lambda: restore.denoise(grey),
        lambda: detect.predict(grey),
        lambda: reconstruct.predict(grey),
    ):
        try:
            run()
        except HubError as error:
            _log.info("not warmed: %s", error)
        except Exception:  # the other tasks are still worth warming
            _log.exception("not warmed")
    for task in precision.TASKS:
        try:
            agreement.settle(task)
        except Exception:  # it then stays in fp32
            _log.exception("the precision of %s was not measured", task)
