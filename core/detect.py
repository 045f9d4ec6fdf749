"""Object detection: DETR (Carion et al., 2020) and its successors through transformers, the
detectors on the trunk (`core.nets.detector`), and torchvision's with anchors.

Each of a DETR's Q object queries decodes to one box and its classes. No non-maximum suppression is
needed: the queries divide the objects among themselves. A convolutional detector needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.errors import InputError
from core.nets import anchored, detector, detectors, phrases, transforms, trunk
from core.nets.anchored import Anchored, AnchoredNet
from core.nets.detectors import Detector, Kind
from core.nets.heads import Maps
from core.nets.postprocess import Found, postprocess, postprocess_nms, postprocess_sigmoid
from core.nets.timed import timed
from core.serving import runtime
from core.sources import resolver
from core.sources.resolver import Progress
from core.types import Detections, RunInfo

Arrays = tuple[NDArray[Any], ...]
#: From a network and its input (B, …) to logits (B, L, Q, C), boxes (B, L, Q, 4), and more.
Compute = Callable[[Any, torch.Tensor], tuple[torch.Tensor, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """What a detector predicts for one picture before anything is left out.

    `layers_logits` (L, Q, C) and `layers_boxes` (L, Q, 4) cxcywh in 0..1 are those after each of L
    decoder layers, the last of which is the answer; L is 1 where the model gives no others.
    `kind` tells how to read the logits: "softmax" with "no object" as the last class, "sigmoid",
    "dense", sigmoids at every token of a pyramid, whose maps have `levels` (rows, columns), finest
    first, or "words". A dense detector with anchors has `anchored`; its logits (1, K, 1) and boxes
    are those of pairs of box and class. `labels` are the names of the classes by their number. One
    of kind "words" has none: its logits (1, Q, T) are of the tokens of what the user `said`, which
    its `reader` makes names of. `size` is (W, H). `seconds` are those of the pass when it ran, the
    trunk's included; preparing the picture is not.
    """

    layers_logits: NDArray[np.float32]
    layers_boxes: NDArray[np.float32]
    kind: Kind
    labels: dict[int, str]
    levels: tuple[tuple[int, int], ...]
    size: tuple[int, int]
    info: RunInfo
    seconds: float = 0.0
    anchored: Anchored | None = None
    reader: phrases.Reader | None = None
    said: tuple[str, ...] = ()

    @property
    def logits(self) -> NDArray[np.float32]:
        """(Q, C) of the last layer."""
        return self.layers_logits[-1]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(Q, 4) cxcywh in 0..1 of the last layer."""
        return self.layers_boxes[-1]

    def answers(self, threshold: float) -> Found:
        """The detections above `threshold`, as Detect gives them: `postprocess`."""
        if self.anchored is not None:
            return self.anchored.answers(self.logits, self.boxes, threshold, self.size)
        return _POSTPROCESS[self.kind](self.logits, self.boxes, threshold, self.size)

    def named(self, threshold: float) -> phrases.Named:
        """As `answers`, with the name of each class instead of its number."""
        if self.reader is not None:
            given = self.logits, self.boxes, self.said, threshold, self.size
            return self.reader.answers(*given)
        boxes, scores, numbers = self.answers(threshold)
        names = tuple(self.labels.get(int(c), f"class {c}") for c in numbers)
        return boxes, scores, names


def predict(
    image: images.ImageLike,
    checkpoint: str = "auto",
    threshold: float = 0.7,
    progress: Progress | None = None,
    words: str = "",
) -> Detections:
    """Objects in one picture, best first, with scores above `threshold` (0..1).

    Args:
        words: what to look for, with commas between, such as "a cat, a red cup". A checkpoint that
            finds what is typed needs them; others have fixed classes and do not use them.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    threshold = checks.number(threshold, "The threshold", 0, 1)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    said = phrases.words(words)
    if not said and resolver.finds_words(checkpoint):
        raise phrases.no_words()  # before anything is downloaded
    found, _ = _inside(picture, checkpoint, progress, said=said)
    boxes, scores, labels = found.named(threshold)
    info = found.info
    if said and not found.said:
        unused = "This checkpoint has fixed classes and did not use the words."
        info = replace(info, note=f"{info.note} {unused}".strip())
    return Detections(boxes, scores, labels, found.size, info)


def inside(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Inside:
    """All predictions of the forward pass that `predict` makes and keeps; no other pass is made.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    _refuse_words(checkpoint)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    return _inside(picture, checkpoint, progress)[0]


def recorded(
    image: images.ImageLike,
    checkpoint: str,
    name: str,
    compute: Compute,
    accepts: Callable[[Any], object],
    progress: Progress | None = None,
) -> tuple[Inside, Arrays]:
    """As `inside`, of a pass of which `compute` keeps more; done once and kept under `name`.

    Args:
        name: of the result in the output store; one for each `compute`.
        compute: gives logits and boxes as `detector.by_layer`, then other tensors (B, …), which are
            returned without the batch; it leaves no hook behind.
        accepts: is given the network first, and may refuse it with an error.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    _refuse_words(checkpoint)
    picture = images.picture(image)
    transforms.refuse_narrow(*picture.size)
    return _inside(picture, checkpoint, progress, name, compute, accepts)


def _refuse_words(checkpoint: str) -> None:
    if resolver.finds_words(checkpoint):
        raise InputError(
            "This checkpoint finds what you type, and has no classes to look into; choose another."
        )


def classes(checkpoint: str = "auto") -> tuple[str, ...]:
    """The names of the classes that a checkpoint knows; none if it finds what is typed.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        return tuple(dict.fromkeys(run.extra.labels.values()))


def parameters(checkpoint: str = "auto") -> tuple[int, int]:
    """How many a checkpoint's own network has, and the trunk that it reads (0: it reads none).

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    with runtime.run("detect", checkpoint, _build) as run:
        own, view = sum(p.numel() for p in run.model.parameters()), run.extra.view
    if view is None:
        return own, 0
    with trunk.leased() as base:
        classes = {id(p) for p in base.model.get_classifier().parameters()}  # which it does not use
        return own, sum(p.numel() for p in base.model.parameters() if id(p) not in classes)


def _inside(
    picture: images.Picture,
    checkpoint: str,
    progress: Progress | None,
    name: str = "queries",
    compute: Compute = detector.by_layer,
    accepts: Callable[[Any], object] | None = None,
    said: tuple[str, ...] = (),
) -> tuple[Inside, Arrays]:
    """The prediction by layer, and what else `compute` returns, kept under `name`."""
    maps = Maps(picture.pixels, progress)

    def request() -> tuple[Inside, Arrays]:
        with runtime.run("detect", checkpoint, _build, progress) as run:
            if accepts is not None:
                accepts(run.model)
            view, kind, (h, w) = run.extra.view, run.extra.kind, picture.size
            reader = run.extra.reader
            tokens = () if reader is None else (reader.tokens(said),)

            def passed() -> Arrays:
                if view is not None:
                    return _tokens(run, maps.of(run, view), name, compute)
                return _queries(run, picture.pixels(), name, compute, *tokens)

            asked = said if tokens else ()
            logits, boxes, *more, spent = run.output((name, picture.digest, *asked), passed)
            maps.note(run)
            seconds, labels = float(spent[0]), run.extra.labels
            if isinstance(run.model, AnchoredNet):
                logits, boxes, pairs = anchored.read(logits, boxes, more, run.model.net)
                place = pairs.shapes, (w, h), run.info(), seconds, pairs
                return Inside(logits, boxes, kind, labels, *place), ()
            dense = view is not None and kind == "dense"
            sides = [view.size // stride for stride in detector.LEVELS] if view and dense else []
            levels = tuple((side, side) for side in sides)
            found = Inside(
                logits, boxes, kind, labels, levels, (w, h), run.info(), seconds,
                reader=reader, said=asked,
            )  # fmt: skip
            return found, tuple(more)

    return maps.serve(request)


def _tokens(
    run: runtime.Run[Detector], maps: trunk.Features, name: str, compute: Compute
) -> Arrays:
    """What `compute` says of a network that begins with the trunk's maps, and the seconds."""

    def heads(*parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return compute(run.model, detector.pack(*parts))

    with run.watch.stage("forward"):
        parts = maps.head, maps.stride16, maps.stride8
        *arrays, spent = _checked(run.batched(timed(heads), *parts, same=name))
    return (*arrays, spent + maps.seconds)


def _queries(
    run: runtime.Run[Detector],
    rgb: images.RGB,
    name: str,
    compute: Compute,
    *tokens: torch.Tensor,
) -> Arrays:
    with run.watch.stage("prepare"):
        assert run.extra.transform is not None  # only networks on the trunk have none
        x = run.extra.transform(rgb)  # (1, 3, h, w)
    passed = timed(lambda *batch: (phrases.read if tokens else compute)(run.model, *batch))
    with run.watch.stage("forward"):
        # Only pictures of one size share a pass: padding to a common size would move the boxes.
        return _checked(run.batched(passed, x, *tokens, same=name))


def _checked(out: tuple[torch.Tensor, ...]) -> Arrays:
    """Without the batch: (L, Q, C) logits, (L, Q, 4) boxes, and the rest."""
    arrays = tuple(one[0].numpy() for one in out)
    if not all(np.all(np.isfinite(one)) for one in arrays[:2]):
        raise checks.not_numbers()
    return arrays


_build = detectors.build
_POSTPROCESS = {
    "softmax": postprocess,
    "sigmoid": postprocess_sigmoid,
    "dense": postprocess_nms,
}
