"""Heads: networks that begin with the trunk's maps instead of the picture.

A head's file names its view of the picture. The trunk computes the maps of that view, or takes them
from the output store, while no other model is leased: two models that fit one after the other may
not fit together. So a request that finds its maps missing stops, the maps are read, and it runs
again; nothing of it was computed twice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch

from core import images
from core.errors import CheckpointError
from core.nets import trunk
from core.nets.trunk import Features, View
from core.serving.runtime import Run
from core.sources.resolver import Progress

T = TypeVar("T")


class _Missing(Exception):
    """The maps of a view have to be read."""

    def __init__(self, view: View) -> None:
        super().__init__()
        self.view = view


class _Reader(ABC):
    """Runs a request again, once for each view whose maps it misses."""

    def serve(self, request: Callable[[], T]) -> T:
        """The result of `request`, which asks for maps while it holds a model.

        Raises:
            CheckpointError: the trunk is not installed or its file is of no use.
            InputError, OutOfMemory: as `trunk.read`, and whatever `request` raises.
        """
        while True:
            try:
                return request()
            except _Missing as missing:
                view = missing.view
            self._read(view)

    @abstractmethod
    def _read(self, view: View) -> None:
        """Have the trunk compute the maps of a view."""


class Maps(_Reader):
    """The trunk's maps of one picture, for one request on a head."""

    def __init__(self, rgb: Callable[[], images.RGB], progress: Progress | None = None) -> None:
        self._rgb, self._progress = rgb, progress
        self._found: dict[View, Features] = {}
        self._seconds: dict[str, float] = {}
        self._cache: dict[str, str] = {}
        self._note = ""  # of the first attempt: what failed then is not tried again

    def of(self, run: Run[Any], view: View) -> Features:
        """The maps of a view, for a head that `run` holds; call it within `serve`."""
        if view not in self._found:
            self._note = self._note or run.lease.resolved.note
            raise _Missing(view)
        return self._found[view]

    def _read(self, view: View) -> None:
        found, info = trunk.read(self._rgb(), view, self._progress)
        self._found[view] = found
        for stage, seconds in info.seconds.items():
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
        hit = self._cache.get("features", "hit") == info.cache["features"] == "hit"
        self._cache["features"] = "hit" if hit else "miss"

    def note(self, run: Run[Any]) -> None:
        """Add to a request what is known of its earlier attempts: seconds, cache hits, the note."""
        for stage, seconds in self._seconds.items():
            run.watch.seconds[stage] = run.watch.seconds.get(stage, 0.0) + seconds
        run.cache.update(self._cache)
        lease = run.lease
        if self._note and not lease.resolved.note:
            run.lease = replace(lease, resolved=replace(lease.resolved, note=self._note))


class ManyMaps(_Reader):
    """The trunk's last maps of several pictures, for one request on a head; as `Maps`."""

    def __init__(self, pictures: Sequence[images.RGB], progress: Progress | None = None) -> None:
        self.pictures, self._progress = pictures, progress
        self.digests = tuple(images.digest(rgb) for rgb in pictures)
        self._found: dict[View, torch.Tensor] = {}

    def of(self, view: View) -> torch.Tensor:
        """(B, 1280, r, r) of a view; call it within `serve`."""
        if view not in self._found:
            raise _Missing(view)
        return self._found[view]

    def _read(self, view: View) -> None:
        self._found[view] = trunk.maps_together(self.pictures, view, self._progress)


def view_of(config: dict[str, Any], name: str) -> View | None:
    """The view that the header of a weight file asks for; None if it is not that of a head.

    Raises:
        CheckpointError: it is a head for another trunk, or its view is out of range.
    """
    if "trunk" not in config:
        return None
    if config["trunk"] != trunk.KEY:
        raise CheckpointError(f"{name} belongs on a network that this program does not have.")
    try:
        view = config["view"]
        return View(view["size"], view["crop"], view.get("dilated", False))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{name} does not say what it sees of a picture.") from error
