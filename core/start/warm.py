"""Pay for slow imports and first loads before the first visitor does."""

from __future__ import annotations

import importlib
import logging
import threading

import numpy as np

from core.checkpoints import TASK_SPECS, Checkpoint, Task
from core.cpu import collector
from core.errors import HubError
from core.sources import resolver

# After a download, so that whoever asked for it has an answer before its precision is measured.
LATER = 30.0  # seconds
_log = logging.getLogger(__name__)
_importing = threading.Lock()
_imported = False


def libraries() -> None:
    """Import what the tasks need, in one thread while others wait; at once from the second call on.

    Large libraries import their parts when they are asked for, and two threads that do so at a time
    can meet parts that are half done.
    """
    global _imported  # noqa: PLW0603
    if _imported:
        return
    with _importing:
        if _imported:
            return
        with collector.paused():
            _import()
        collector.freeze_libraries(collect=False)
        _imported = True


def _import() -> None:
    import segment_anything  # noqa: F401
    import spandrel  # noqa: F401
    import timm.data  # noqa: F401
    from transformers import (  # noqa: F401
        DetrConfig,
        DetrForObjectDetection,
        DFineForObjectDetection,
        RTDetrV2ForObjectDetection,
        ViTMAEConfig,
        ViTMAEForPreTraining,
    )
    from transformers.models.detr import image_processing_pil_detr  # noqa: F401

    for spec in TASK_SPECS.values():
        importlib.import_module(f"core.{spec.module}")


def everything() -> None:
    """Run each task once on a small grey picture with the best checkpoint that is ready."""
    libraries()
    from core.sources import hf_client

    hf_client.install_limits()  # before any library asks the hub something without a time limit

    grey = np.full((64, 64, 3), 127, np.uint8)
    for spec in TASK_SPECS.values():
        if not spec.warm:
            continue
        run = getattr(importlib.import_module(f"core.{spec.module}"), spec.warm)
        try:
            run(grey)
        except HubError as error:
            _log.info("not warmed: %s", error)
        except Exception:  # the other tasks are still worth warming
            _log.exception("not warmed")
    collector.collect_frozen()
    for task, spec in TASK_SPECS.items():
        if spec.half:
            settle(task)
    if settle_later not in resolver.on_download:
        resolver.on_download.append(settle_later)


def place() -> None:
    """Load each task's best checkpoint that is ready onto the device, without running it."""
    libraries()
    from core.serving import runtime
    from core.sources import hf_client

    hf_client.install_limits()
    for task, spec in TASK_SPECS.items():
        build = importlib.import_module(f"core.{spec.module}")._build
        for scale in (2, 4) if task == "super_resolve" else (None,):
            try:
                with runtime.run(task, "auto", build, scale=scale) as run:
                    _log.info("%s is on %s", run.name, run.info().device)
            except HubError as error:
                _log.info("not placed: %s", error)


def settle(task: Task) -> None:
    """Measure in which precision the checkpoints of a task may run."""
    from core.start import agreement

    try:
        agreement.settle(task)
    except Exception:  # it then stays in fp32
        _log.exception("the precision of %s was not measured", task)


def settle_later(checkpoint: Checkpoint) -> None:
    """The same for a checkpoint that has just come, in a while."""
    timer = threading.Timer(LATER, settle, [checkpoint.task])
    timer.daemon = True
    timer.start()
