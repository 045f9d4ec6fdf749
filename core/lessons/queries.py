"""All queries of a DETR, layer by layer: their boxes and classes, and whom and what they look at.

Each decoder layer lets the queries look at each other (self-attention), then at the picture
(cross-attention), and moves their boxes. One forward pass records all of it (`core.nets.decoders`);
another layer, head or query is arithmetic on what was recorded.
Sources: Carion et al., "End-to-End Object Detection with Transformers", 2020; Zhao et al., "DETRs
Beat YOLOs on Real-time Object Detection" (RT-DETR), 2023.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from core import checks, detect, images
from core.errors import InputError
from core.nets import decoders, postprocess
from core.sources.resolver import Progress

Array = NDArray[np.float32]
STARTER = "detect-starter"


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """Attention of one kind in L layers of H heads: N tokens look at M.

    `queries` (L, H, N, d) are already divided by √d; `keys` are (L, H, M, d). `grid` (rows,
    columns) is that of the M places of a map; None where they are queries.
    """

    queries: Array
    keys: Array
    grid: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        one, other = self.queries.shape, self.keys.shape
        if len(one) != 4 or len(other) != 4 or (*one[:2], one[3]) != (*other[:2], other[3]):
            raise ValueError(f"queries {one}, keys {other}")
        if self.grid is not None and self.grid[0] * self.grid[1] != other[2]:
            raise ValueError(f"keys {other}, grid {self.grid}")

    def weights(self, layer: int, head: int) -> Array:
        """(N, M): the softmax of each row of the scores; -1 is the last layer, and the mean of all
        heads.

        Raises:
            InputError: there is no such layer or head.
        """
        layer, heads = _which(layer, head, *self.queries.shape[:2])
        scores = self.queries[layer, heads] @ self.keys[layer, heads].swapaxes(-1, -2)
        found: Array = softmax(scores, axis=-1).mean(0)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Sampling:
    """Deformable attention: Q queries read P points each in every layer and head.

    `points` (L, H, Q, P, 2) are xy in 0..1 of the picture, and outside of it now and then;
    `weights` (L, H, Q, P) add up to 1. `levels` (P,) is the map that a point reads, and `shapes`
    the (rows, columns) of the maps, finest first.
    """

    points: Array
    weights: Array
    levels: NDArray[np.int64]
    shapes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if self.points.shape != (*self.weights.shape, 2) or self.weights.ndim != 4:
            raise ValueError(f"points {self.points.shape}, weights {self.weights.shape}")
        if self.levels.shape != self.weights.shape[3:]:
            raise ValueError(f"levels {self.levels.shape}, weights {self.weights.shape}")

    def read(self, layer: int, head: int, query: int) -> tuple[Array, Array, NDArray[np.int64]]:
        """Points (K, 2), their weights (K,), and the maps (K,) that they read; -1 is the last
        layer, and all heads, whose weights are divided by their number.

        Raises:
            InputError: there is no such layer or head.
        """
        layer, heads = _which(layer, head, *self.weights.shape[:2])
        weights = self.weights[layer, heads, query].ravel() / np.float32(len(heads))
        points = self.points[layer, heads, query].reshape(-1, 2)
        return points, weights.astype(np.float32), np.tile(self.levels, len(heads))


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Where queries come from that are chosen for each picture: the places with the best class.

    `boxes` (Q, 4) cxcywh in 0..1 and `logits` (Q, C) are what the encoder predicts there; `levels`
    (Q,) is the map of each place, and `places` (Q, 2) its centre, xy in 0..1.
    """

    boxes: Array
    logits: Array
    levels: NDArray[np.int64]
    places: Array


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """The Q queries of a DETR on one picture.

    `inside` has boxes and classes after each of L decoder layers. `among` is the attention between
    queries; `over` that over the picture, of all places or of single points. `encoder` is the
    attention between places before the decoder, None where there is none. `chosen` is None where
    the first queries are the same for every picture, as in DETR.
    """

    inside: detect.Inside
    among: Looks
    over: Looks | Sampling
    encoder: Looks | None
    chosen: Chosen | None

    def __post_init__(self) -> None:
        layers, queries = self.inside.layers_boxes.shape[:2]
        over = self.over.weights if isinstance(self.over, Sampling) else self.over.queries
        for part in (self.among.queries, over):
            if (part.shape[0], part.shape[2]) != (layers, queries):
                raise ValueError(f"{layers} layers, {queries} queries, attention {part.shape}")

    @property
    def heads(self) -> int:
        """How many heads a decoder layer has."""
        return self.among.queries.shape[1]

    def boxes(self, layer: int = -1) -> Array:
        """(Q, 4) xyxy in pixels after a layer, clipped to the picture."""
        layer = self.layer(layer)
        return postprocess.corners(self.inside.layers_boxes[layer], self.inside.size)

    def probabilities(self, layer: int = -1) -> Array:
        """(Q, C) of the classes after a layer; of a softmax, the last one is "no object"."""
        return probabilities(self.inside.layers_logits[self.layer(layer)], self.inside.kind)

    def stages(self) -> tuple[Array, Array]:
        """Probabilities (S, Q, C) and boxes (S, Q, 4) xyxy in 0..1, clipped, after each layer.

        Where the queries are chosen for the picture, that choice comes first: S is L + 1.
        """
        logits, boxes = self.inside.layers_logits, self.inside.layers_boxes
        if self.chosen is not None:
            logits = np.concatenate([self.chosen.logits[None], logits])
            boxes = np.concatenate([self.chosen.boxes[None], boxes])
        corners = postprocess.corners(boxes.reshape(-1, 4), (1, 1)).reshape(boxes.shape)
        return probabilities(logits, self.inside.kind), corners

    def layer(self, layer: int) -> int:
        """The number of a layer, of which -1 is the last.

        Raises:
            InputError: there is no such layer.
        """
        return _layer(layer, len(self.inside.layers_boxes))

    def from_place(self, x: float, y: float, layer: int = -1, head: int = -1) -> Array:
        """(rows, columns): what the place at a point looks at in the encoder.

        Args:
            x, y: in pixels of the picture.
            layer, head: of the encoder; -1 is the last layer, and the mean of all heads.

        Raises:
            InputError: the encoder has no attention, or a number is out of range.
        """
        if self.encoder is None or self.encoder.grid is None:
            raise InputError("The encoder of this model has no attention; leave the place out.")
        width, height = self.inside.size
        x = checks.number(x, "The x of the place", 0, width)
        y = checks.number(y, "The y of the place", 0, height)
        rows, columns = self.encoder.grid
        row = min(rows - 1, int(y / height * rows))
        column = min(columns - 1, int(x / width * columns))
        weights = self.encoder.weights(layer, head)[row * columns + column]
        return weights.reshape(rows, columns)

    def label(self, number: int) -> str:
        """The name of a class."""
        last = self.inside.logits.shape[1] - 1
        if self.inside.kind == "softmax" and number == last:
            return "no object"
        return self.inside.labels.get(number, f"class {number}")

    def scores(self, layer: int = -1) -> tuple[Array, NDArray[np.int64]]:
        """(Q,) the best probability of each query, "no object" aside, and (Q,) its class."""
        found = self.probabilities(layer)
        found = found[:, :-1] if self.inside.kind == "softmax" else found
        return found.max(1), found.argmax(1)


def probabilities(logits: Array, kind: detect.Kind) -> Array:
    """(…, C) of logits: one softmax, or a sigmoid for each class."""
    found: Array = softmax(logits, axis=-1) if kind == "softmax" else expit(logits)
    return found


def look(
    image: images.ImageLike, checkpoint: str = "auto", progress: Progress | None = None
) -> Queries:
    """All queries of a DETR on one picture.

    Args:
        checkpoint: a key of `core.checkpoints`; "auto" is the one that Detect would use if that is
            a DETR, and otherwise the starter.
        progress: called during a download with (fraction, message).

    Raises:
        InputError: the checkpoint has no decoder with queries.
        CheckpointError, OutOfMemory.
    """
    picture = images.picture(image)

    def recorded(key: str) -> Queries:
        found, parts = detect.recorded(
            picture, key, "decoder", decoders.record, decoders.is_deformable, progress
        )
        return _named(found, parts)

    try:
        return recorded(checkpoint)
    except decoders.NoQueries:
        if checkpoint != "auto":
            raise
        return recorded(STARTER)


def _named(found: detect.Inside, parts: detect.Arrays) -> Queries:
    both = found.layers_logits, found.layers_boxes
    if len(both) + len(parts) == len(decoders.Dense._fields):
        dense = decoders.Dense(*both, *parts)
        h, w = dense.places.shape[2:4]
        over = Looks(dense.looks, _flat(dense.places), (h, w))
        encoder = _encoder(dense.encoder_queries, dense.encoder_keys)
        return Queries(found, Looks(dense.queries, dense.keys), over, encoder, None)
    some = decoders.Deformable(*both, *parts)
    shapes = tuple((int(rows), int(columns)) for rows, columns in some.shapes)
    sampling = Sampling(some.points, some.weights, some.levels, shapes)
    chosen = Chosen(some.first_boxes, some.first_logits, *origins(some.tokens, shapes))
    encoder = _encoder(some.encoder_queries, some.encoder_keys)
    return Queries(found, Looks(some.queries, some.keys), sampling, encoder, chosen)


def origins(
    tokens: NDArray[np.int64], shapes: tuple[tuple[int, int], ...]
) -> tuple[NDArray[np.int64], Array]:
    """The map (Q,) and the centre (Q, 2), xy in 0..1, of places counted through all maps.

    Args:
        tokens: (Q,) row by row, one map after the other.
        shapes: (rows, columns) of each map.
    """
    starts = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
    levels = np.searchsorted(starts, tokens, side="right") - 1
    sides = np.array(shapes)[levels]  # (Q, 2): rows, columns
    rows, columns = np.divmod(tokens - starts[levels], sides[:, 1])
    centres = (np.stack([columns, rows], 1) + 0.5) / sides[:, ::-1]
    return levels.astype(np.int64), centres.astype(np.float32)


def _encoder(queries: Array, keys: Array) -> Looks | None:
    if not len(queries):
        return None
    rows, columns = queries.shape[2:4]
    return Looks(_flat(queries), _flat(keys), (rows, columns))


def _flat(values: Array) -> Array:
    """(L, H, h, w, d) -> (L, H, h * w, d)."""
    return values.reshape(*values.shape[:2], -1, values.shape[-1])


def _layer(layer: float, layers: int) -> int:
    return checks.whole(layer, "The layer", low=-1, high=layers - 1) % layers


def _which(layer: float, head: float, layers: int, heads: int) -> tuple[int, list[int]]:
    """The layer, and one head or all."""
    head = checks.whole(head, "The head", low=-1, high=heads - 1)
    return _layer(layer, layers), list(range(heads)) if head < 0 else [head]
