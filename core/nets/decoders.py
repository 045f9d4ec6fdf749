"""What the attention layers of a DETR compute in one forward pass, recorded without changing it.

Two kinds of cross-attention exist. In DETR every query looks at every place of one map, and the
queries and keys of each layer are recorded, since fused attention does not give its weights away.
In RT-DETR, RT-DETRv2 and D-FINE it is deformable: every query reads a few points of several maps.
Sources: Carion et al., "End-to-End Object Detection with Transformers", 2020; Zhu et al.,
"Deformable DETR", 2021; through transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from core.errors import InputError
from core.nets import detector, hooks
from core.nets.anchored import AnchoredNet

Tensors = tuple[torch.Tensor, ...]
Pair = tuple[torch.Tensor, torch.Tensor]
Values = Any  # tensors; or NumPy arrays without the batch, when they are kept


class NoQueries(InputError):
    """This detector has no decoder with queries."""


class Dense(NamedTuple):
    """Of DETR, for L decoder layers, H heads, Q queries, a map of h x w and E encoder layers.

    `logits` (B, L, Q, C) and `boxes` (B, L, Q, 4) are as in `detector.by_layer`. Attention weights
    are the softmax of queries times keys; the queries are already divided by √d. Those among the
    decoder's queries are `queries` and `keys` (B, L, H, Q, d); over the picture `looks`
    (B, L, H, Q, d) and `places` (B, L, H, h, w, d); between places in the encoder
    `encoder_queries` and `encoder_keys` (B, E, H, h, w, d).
    """

    logits: Values
    boxes: Values
    queries: Values
    keys: Values
    looks: Values
    places: Values
    encoder_queries: Values
    encoder_keys: Values


class Deformable(NamedTuple):
    """Of RT-DETR and its successors; the names that `Dense` has mean the same.

    `points` (B, L, H, Q, P, 2) are xy in 0..1 of the picture, and outside of it now and then;
    `weights` (B, L, H, Q, P) add up to 1. Point p belongs to map `levels[:, p]`, and `shapes`
    (B, maps, 2) are the rows and columns of the maps, finest first. Each query began as the
    prediction at one of the places of all maps, number `tokens` (B, Q): `first_logits` (B, Q, C)
    and `first_boxes` (B, Q, 4). E is 0 where the encoder has no attention.
    """

    logits: Values
    boxes: Values
    queries: Values
    keys: Values
    points: Values
    weights: Values
    levels: Values
    shapes: Values
    tokens: Values
    first_logits: Values
    first_boxes: Values
    encoder_queries: Values
    encoder_keys: Values


def is_deformable(model: Any) -> bool:
    """Whether the queries of this DETR read single points, not the whole map.

    Raises:
        NoQueries: this detector has no decoder with queries.
    """
    if isinstance(model, (detector.CnnDetector, AnchoredNet)):
        raise NoQueries(
            "This detector answers at every place of the picture and has no queries; choose a "
            "DETR, such as the starter DETR."
        )
    if not hasattr(getattr(model, "model", None), "decoder"):
        raise NoQueries(
            "YOLOS is an encoder only: its queries are tokens beside those of the patches, with no "
            "decoder to look into. Choose a DETR, such as the starter DETR."
        )
    over = getattr(model.model.decoder.layers[0], "encoder_attn", None)
    if over is None:
        raise NoQueries(
            "This view cannot look into the decoder of an RF-DETR; choose another DETR, such as "
            "the starter DETR."
        )
    return hasattr(over, "sampling_offsets")


def record(model: Any, x: torch.Tensor) -> Tensors:
    """The model's pass over x (B, channels, h, w), as a `Dense` or `Deformable`.

    Raises:
        NoQueries: as `is_deformable`.
    """
    return _deformable(model, x) if is_deformable(model) else _dense(model, x)


# ---- what is heard during the pass
@dataclass(slots=True)
class _Call:
    args: tuple[Any, ...]
    named: Mapping[str, Any]
    output: Any


@contextmanager
def _calls_of(modules: Sequence[torch.nn.Module]) -> Iterator[dict[torch.nn.Module, _Call]]:
    """The last call of each module in the pass that this thread runs meanwhile."""
    found: dict[torch.nn.Module, _Call] = {}

    def keep(module: torch.nn.Module, args: Any, named: Any, output: Any) -> None:
        found[module] = _Call(args, named, output)

    with hooks.heard([(module, keep) for module in modules], named=True):
        yield found


def _projections(layers: Sequence[Any]) -> list[torch.nn.Module]:
    return [one for layer in layers for one in (layer.q_proj, layer.k_proj)]


def _heads(calls: Mapping[Any, _Call], layer: Any) -> Pair:
    """Queries, divided by √d, and keys of an attention layer, (B, H, N, d) each."""
    q, k = (
        calls[one].output.float().unflatten(-1, (-1, layer.head_dim)).transpose(1, 2)
        for one in (layer.q_proj, layer.k_proj)
    )
    return q * layer.scaling, k


def _stacked(calls: Mapping[Any, _Call], layers: Sequence[Any]) -> Pair:
    """`_heads` of all layers, (B, L, H, N, d) each."""
    queries, keys = zip(*(_heads(calls, layer) for layer in layers), strict=True)
    return torch.stack(queries, 1), torch.stack(keys, 1)


def _on_grid(pair: Pair, grid: tuple[int, int]) -> Pair:
    """(B, L, H, h * w, d) -> (B, L, H, h, w, d)."""
    return pair[0].unflatten(3, grid), pair[1].unflatten(3, grid)


# ---- the two kinds
def _dense(model: Any, x: torch.Tensor) -> Dense:
    inner = model.model
    among = [layer.self_attn for layer in inner.decoder.layers]
    over = [layer.encoder_attn for layer in inner.decoder.layers]
    encoder = [layer.self_attn for layer in inner.encoder.layers]
    heard = [*_projections([*among, *over, *encoder]), inner.input_projection]
    with _calls_of(heard) as calls:
        logits, boxes = detector.by_layer(model, x)
    grid = calls[inner.input_projection].output.shape[-2:]
    looks, places = _stacked(calls, over)
    inside = _on_grid(_stacked(calls, encoder), grid)
    return Dense(logits, boxes, *_stacked(calls, among), looks, places.unflatten(3, grid), *inside)


def _deformable(model: Any, x: torch.Tensor) -> Deformable:
    inner = model.model
    layers = inner.decoder.layers
    among, over = [one.self_attn for one in layers], [one.encoder_attn for one in layers]
    stages = [one for one in inner.encoder.aifi if len(one.layers)][-1:]
    encoder = [one.self_attn for stage in stages for one in stage.layers]
    offsets = [one.sampling_offsets for one in over]
    heard = [*_projections([*among, *encoder]), *over, *offsets, *stages, inner]
    with _calls_of(heard) as calls:
        logits, boxes = detector.by_layer(model, x)
    sampled = [_sampled(one, calls[one], calls[one.sampling_offsets].output) for one in over]
    points, weights = (torch.stack(part, 1) for part in zip(*sampled, strict=True))
    shapes = calls[over[0]].named["spatial_shapes_list"]
    numbers = [i for i, count in enumerate(_points_of(over[0])) for _ in range(count)]
    scores = calls[inner].output.enc_outputs_class  # (B, N, C)
    tokens = scores.amax(-1).topk(logits.shape[2], 1).indices  # as the model chooses its queries
    first = calls[inner].output.init_reference_points.sigmoid()

    def alike(values: Any) -> torch.Tensor:
        return torch.as_tensor(values, device=x.device).expand(len(x), *torch.tensor(values).shape)

    return Deformable(
        logits,
        boxes,
        *_stacked(calls, among),
        points,
        weights,
        alike(numbers),
        alike(shapes),
        tokens,
        scores.gather(1, tokens[..., None].expand(-1, -1, scores.shape[-1])).float(),
        first.float(),
        *_inside(calls, stages, encoder, x),
    )


def _inside(
    calls: Mapping[Any, _Call], stages: Sequence[Any], encoder: Sequence[Any], x: torch.Tensor
) -> Pair:
    """`encoder_queries` and `encoder_keys`."""
    if not stages:
        nothing = x.new_zeros(len(x), 0, 1, 1, 1, 1)
        return nothing, nothing
    return _on_grid(_stacked(calls, encoder), calls[stages[0]].output.shape[-2:])


def _points_of(layer: Any) -> list[int]:
    """How many points a deformable layer reads of each map."""
    many = getattr(layer, "num_points_list", None) or getattr(layer, "n_points_list", None)
    return list(many or [layer.n_points] * layer.n_levels)


def _sampled(layer: Any, call: _Call, offsets: torch.Tensor) -> Pair:
    """Points (B, H, Q, P, 2) and weights (B, H, Q, P): offsets are shares of half the query's box,
    divided by the number of points on the map."""
    counts = _points_of(layer)
    boxes = call.named["reference_points"].float()[:, :, :, None]  # (B, Q, 1, 1, 4)
    moves = offsets.float().unflatten(-1, (layer.n_heads, sum(counts), 2))  # (B, Q, H, P, 2)
    share = moves.new_tensor([1 / count for count in counts for _ in range(count)])[:, None]
    scale = getattr(layer, "offset_scale", 0.5)  # RT-DETR has this number in its formula
    points = boxes[..., :2] + moves * share * boxes[..., 2:] * scale
    weights = call.output[1].float().flatten(3)
    return points.transpose(1, 2), weights.transpose(1, 2)
