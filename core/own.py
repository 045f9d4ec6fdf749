"""The user's own checkpoints: what is in the folder that `VISION_HUB_CHECKPOINTS` names."""

from __future__ import annotations

from dataclasses import dataclass

from core.checkpoints import Checkpoint


@dataclass(frozen=True, slots=True)
class Scan:
    """What was found, and one sentence for each file that cannot be used."""

    checkpoints: tuple[Checkpoint, ...] = ()
    problems: tuple[str, ...] = ()


def scan() -> Scan:
    """Look into the folder of the settings; never raises."""
    return Scan()
