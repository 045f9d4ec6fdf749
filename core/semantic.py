"""Semantic segmentation: a class for every pixel, by an FCN or a U-Net on the trunk's maps, or by
the user's own EoMT of transformers (`core.nets.eomt`).

Other than Detect and Segment it does not tell two things of one class apart.
Sources: as `core.nets.semantic`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.errors import CheckpointError
from core.nets import eomt, heads, semantic, transforms
from core.nets.heads import Maps
from core.nets.trunk import View
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import ClassMap

BAND = 2**22  # logits at a time while they are enlarged, 16 MB


@dataclass(frozen=True, slots=True)
class Semantic:
    """What a network needs beside its weights: its classes, and how it sees the picture: by its
    view of the trunk's maps, or in squares. One that sees squares has no background: 0 is unused.
    """

    view: View | None
    classes: tuple[str, ...]
    squares: eomt.Squares | None = None


def predict(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> ClassMap:
    """The class of every pixel of one picture.

    Args:
        image: a path, PIL image or (H, W, 3) uint8 array.
        checkpoint: a key of `core.checkpoints`, or "auto".
        progress: called during a download with (fraction, message).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    maps = Maps(picture.pixels, progress)

    def request() -> ClassMap:
        with runtime.run("semantic", checkpoint, _build, progress) as run:
            logits = run.output(("logits", picture.digest), lambda: _logits(run, maps, picture))
            maps.note(run)
            with run.watch.stage("decode"):
                labels = enlarged(logits, picture.size)
                if run.extra.squares is not None:
                    labels += 1
            return ClassMap(labels, run.extra.classes, run.info())

    return maps.serve(request)


def enlarged(logits: torch.Tensor, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The best class at every pixel of a picture of `size` (H, W), of (C, h, w) logits.

    The logits are enlarged bilinearly, some rows at a time: those of 21 classes would take a
    gigabyte for 12 megapixels.
    """
    height, width = size
    labels = np.empty(size, np.uint8)
    step = max(1, BAND // (len(logits) * width))
    scale, last = logits.shape[1] / height, logits.shape[1] - 1
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        place = torch.arange(rows.start, rows.stop, dtype=logits.dtype)
        place = ((place + 0.5) * scale - 0.5).clamp_(0, last)  # in rows of the logits
        above = place.long()
        share = (place - above)[:, None]
        below = (above + 1).clamp_(max=last)
        band = logits[:, above] * (1 - share) + logits[:, below] * share  # (C, rows, w)
        band = torch.nn.functional.interpolate(
            band[None], (len(above), width), mode="bilinear", align_corners=False
        )
        labels[rows] = band[0].argmax(0).numpy().astype(np.uint8)
    return labels


def _logits(run: runtime.Run[Semantic], maps: Maps, picture: images.Picture) -> torch.Tensor:
    """(C, h, w) on the CPU."""
    module, view = run.model, run.extra.view
    if view is None:
        return _scores(run, picture.pixels())
    found = maps.of(run, view)
    with run.watch.stage("forward"):
        (logits,) = run.batched(
            lambda *parts: (module(*parts).float(),), found.head, found.stride16, found.stride8
        )
    if not bool(torch.isfinite(logits).all()):
        raise checks.not_numbers()
    return logits[0]


def _scores(run: runtime.Run[Semantic], rgb: images.RGB) -> torch.Tensor:
    """As `_logits`, of a network that sees squares."""
    squares, module = run.extra.squares, run.model
    assert squares is not None
    with run.watch.stage("prepare"):
        x, places, size = squares.of(rgb)
    with run.watch.stage("forward"):
        parts = [run.batched(lambda batch: eomt.read(module, batch), one[None])[0] for one in x]
    scores = squares.joined(torch.cat(parts), places, size)
    if not bool(torch.isfinite(scores).all()):
        raise checks.not_numbers()
    return scores


def _build(resolved: Resolved) -> Built[Semantic]:
    name = resolved.path.name
    config = state_dicts.starter_config(resolved.path, "semantic")
    if config is None and state_dicts.json_beside(resolved.path, "config.json"):
        model, classes, squares = eomt.build(resolved)
        return Built(model, Semantic(None, ("nothing", *classes), squares))
    view = heads.view_of(config or {}, name)
    if config is None or view is None or config.get("kind") not in semantic.NETWORKS:
        raise CheckpointError(f"{name} is no network that gives every pixel a class.")
    with torch.device("meta"):
        model = semantic.from_settings(config)
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    state_dicts.assign(model, state, name)
    return Built(model, Semantic(view, tuple(config["classes"])))
