"""Whether a checkpoint may run in bfloat16: what the hardware can, and what was measured.

bf16 is chosen by `auto` only where the hardware computes in it and the answers on the examples were
measured to agree with those in fp32 (`core.start.agreement`). A processor without such instructions
emulates them, many times slower than fp32. Verdicts are kept in a file of the cache folder.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch

from core.checkpoints import TASK_SPECS
from core.settings import get_settings
from core.sources import hf_client
from core.sources.resolver import Resolved

_log = logging.getLogger(__name__)
_lock = threading.Lock()
_forced = threading.local()  # .precision: what a measurement in this thread wants
_verdicts: dict[str, bool] = {}
_read_from: Path | None = None


def is_supported(where: torch.device) -> bool:
    """Whether the device computes in bf16 by itself; emulation does not count."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if where.type == "cpu":
        ask = getattr(torch.cpu, "get_capabilities", dict)  # an older PyTorch does not tell
        return _processor_has_bf16(ask())
    return False  # on MPS nothing of it was measured


def _processor_has_bf16(capabilities: Mapping[str, object]) -> bool:
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def choose(resolved: Resolved, where: torch.device) -> str:
    """ "fp32" or "bf16": the setting; with `auto`, bf16 where it was measured to agree.

    Restoration stays in fp32 with `auto`: people measure its pictures.
    """
    wanted = getattr(_forced, "precision", None) or get_settings().precision
    if wanted != "auto":
        return wanted
    if not TASK_SPECS[resolved.checkpoint.task].half or not is_supported(where):
        return "fp32"
    return "bf16" if verdict(resolved, where) else "fp32"


@contextmanager
def forced(wanted: str) -> Iterator[None]:
    """Let requests of this thread run in "fp32" or "bf16", whatever the setting."""
    _forced.precision = wanted
    try:
        yield
    finally:
        _forced.precision = None


def verdict(resolved: Resolved, where: torch.device) -> bool | None:
    """What `keep` was told of this file on this device; None where nothing was measured."""
    with _lock:
        return _known().get(_name(resolved, where))


def keep(resolved: Resolved, where: torch.device, agrees: bool) -> None:
    """Remember a measured agreement, on the disk too where that can be written."""
    with _lock:
        known = _known()
        known[_name(resolved, where)] = agrees
        path = _file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{threading.get_ident()}")
            partial.write_text(json.dumps(known, indent=1))
            partial.replace(path)
        except OSError:
            _log.info("the precision could not be remembered")


def _known() -> dict[str, bool]:
    """The verdicts, read again when the cache folder is another. Locked."""
    global _verdicts, _read_from  # noqa: PLW0603
    path = _file()
    if path != _read_from:
        _read_from, _verdicts = path, {}
        try:
            content = json.loads(path.read_text())
            _verdicts = {k: v for k, v in content.items() if isinstance(v, bool)}
        except (OSError, ValueError, AttributeError):
            pass  # nothing measured yet, or a file that somebody damaged
    return _verdicts


def _file() -> Path:
    return hf_client.cache_dir() / ".vision-hub" / "precision.json"


def _name(resolved: Resolved, where: torch.device) -> str:
    """Checkpoint, its file as it is now, device and library: what differs is measured anew."""
    stat = resolved.path.stat()
    device = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    key = resolved.checkpoint.key
    return f"{key} {stat.st_size} {stat.st_mtime_ns} {device} torch {torch.__version__}"
