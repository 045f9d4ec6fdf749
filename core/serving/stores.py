"""This process's stores: models, outputs of forward passes, and outputs of decoders."""

from __future__ import annotations

import os
import threading

import torch

from core.serving.devices import device
from core.serving.model_cache import MB, ModelCache
from core.serving.output_store import OutputStore
from core.settings import get_settings

DECODED_SHARE = 8  # this fraction of the setting is for light decoders
_lock = threading.Lock()
_models: ModelCache | None = None
_outputs: OutputStore | None = None
_decoded: OutputStore | None = None


def models() -> ModelCache:
    """The process's model cache."""
    global _models  # noqa: PLW0603
    with _lock:
        if _models is None:
            _models = ModelCache(_model_budget())
        return _models


def outputs() -> OutputStore:
    """The process's output store."""
    global _outputs  # noqa: PLW0603
    with _lock:
        if _outputs is None:
            budget = get_settings().store_mb * MB
            _outputs = OutputStore(budget - budget // DECODED_SHARE)
        return _outputs


def decoded() -> OutputStore:
    """Outputs of light decoders, kept separately: many clicks would evict costly embeddings.

    Together with `outputs()` its budget is the setting.
    """
    global _decoded  # noqa: PLW0603
    with _lock:
        if _decoded is None:
            _decoded = OutputStore(get_settings().store_mb * MB // DECODED_SHARE)
        return _decoded


def reset() -> None:
    """Clear all three; for tests and changed settings."""
    global _models, _outputs, _decoded  # noqa: PLW0603
    with _lock:
        _models = _outputs = _decoded = None


def _model_budget() -> int:
    """Bytes: the setting, else 80 % of the GPU's memory, else half of the RAM."""
    if megabytes := get_settings().cache_mb:
        return megabytes * MB
    if device().type == "cuda":
        return int(torch.cuda.get_device_properties(device()).total_memory * 0.8)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, ValueError, OSError):  # no sysconf on this system
        return 4096 * MB
