"""A classifier as one network from pixels to logits, also where two networks share the work.

The starter reads the maps of EfficientNet-Lite0, which are kept and shared. Whoever looks inside
needs the layers in front of them too, and gradients that reach the pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from core import images
from core.nets import trunk
from core.serving.runtime import Run
from core.sources.resolver import Progress

Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True, slots=True)
class Network:
    """A network that takes pictures.

    `inputs` makes of (H, W, 3) uint8 what `module` takes, (1, 3, s, s) each; the layers see the
    first. `crop` is the share of the shorter side that they see; None for the whole picture.
    """

    module: nn.Module
    inputs: Callable[[images.RGB], Inputs]
    crop: float | None


class Joined(nn.Module):
    """The trunk and a head that reads its last map; both keep belonging to their leases.

    (B, 3, s, s) for the patches and (B, 3, 224, 224) for the glance -> (B, classes).
    """

    def __init__(self, base: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk, self.head = base, head

    def forward(self, x: torch.Tensor, glance: torch.Tensor) -> torch.Tensor:
        base: Any = self.trunk
        maps = base.forward_features(x)  # (B, 1280, r, r)
        logits: torch.Tensor = self.head(maps, base.forward_features(glance).mean((2, 3)))
        return logits


@contextmanager
def of(run: Run[trunk.Classifier], progress: Progress | None = None) -> Iterator[Network]:
    """The network of a request of Classify; a head's trunk is leased meanwhile.

    Raises:
        CheckpointError: the trunk is not installed, or its file is of no use.
        OutOfMemory: there is no room for both.
    """
    view, transform = run.extra.view, run.extra.transform
    if view is not None:
        with trunk.leased(progress) as base:

            def views(rgb: images.RGB) -> Inputs:
                return trunk.transform(view)(rgb), trunk.transform(trunk.CLASSES)(rgb)

            yield Network(Joined(base.model, run.model), views, view.crop)
    elif transform is not None:
        yield Network(run.model, lambda rgb: (transform(rgb),), run.extra.crop)
