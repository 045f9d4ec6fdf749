"""The steps of torchvision's RetinaNet, SSD and Faster R-CNN up to their last NMS.

For `core.nets.anchored`. Each function gives for every picture: logits (1, K, 1) and boxes
(1, K, 4) cxcywh in 0..1 of pairs of box and class, their classes, levels and proposals (K,); the
proposals (P, 4) xyxy in 0..1 with their scores, levels and features (P, 7, 7); and the best score
at each place of the pyramid with the shapes (L, 2) of its levels. -100 fills rows that are not
used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

Tensors = tuple[torch.Tensor, ...]
MOST_PAIRS = 5000  # of Faster R-CNN; as many as RetinaNet gives, 1,000 for each of five levels
CROP = 7  # places of a proposal on each side, as RoIAlign samples them


def one_stage(net: Any, shown: Any, maps: dict[str, torch.Tensor]) -> list[Tensors]:
    """RetinaNet: the best pairs of anchor and class of each level."""
    levels = list(maps.values())
    out = net.head(levels)
    logits, deltas = out["cls_logits"].float(), out["bbox_regression"].float()
    anchors = net.anchor_generator(shown, levels)
    per_place = net.anchor_generator.num_anchors_per_location()[0]
    counts = _counts(levels, per_place)
    found = []
    for z, delta, anchor, size in zip(logits, deltas, anchors, shown.image_sizes, strict=True):
        parts = []
        for number, (zs, ds, boxes) in enumerate(
            zip(z.split(counts), delta.split(counts), anchor.split(counts), strict=True)
        ):
            best, order = zs.flatten().topk(min(net.topk_candidates, zs.numel()))
            row = order // zs.shape[1]
            made = net.box_coder.decode_single(ds[row], boxes[row])
            level = torch.full_like(row, number)
            parts.append((best, made, order % zs.shape[1], level, torch.full_like(row, -1)))
        pairs = _sorted(*(torch.cat(column) for column in zip(*parts, strict=True)))
        places = _fired(z.sigmoid().amax(1), levels, per_place, shown, size)
        found.append(_flat(pairs, _no_proposals(z), places, size))
    return found


def single_shot(net: Any, shown: Any, maps: dict[str, torch.Tensor]) -> list[Tensors]:
    """SSD: the best anchors of each class, the classes with a softmax; the first is none."""
    levels = list(maps.values())
    out = net.head(levels)
    logits, deltas = out["cls_logits"].float(), out["bbox_regression"].float()
    anchors = net.anchor_generator(shown, levels)
    per_place = net.anchor_generator.num_anchors_per_location()[0]
    counts = torch.tensor(_counts(levels, per_place), device=logits.device)
    level = torch.arange(len(levels), device=logits.device).repeat_interleave(counts)
    found = []
    for z, delta, anchor, size in zip(logits, deltas, anchors, shown.image_sizes, strict=True):
        scores = z.softmax(-1)[:, 1:]
        best, row = scores.topk(min(net.topk_candidates, len(scores)), 0)  # (k, C)
        number = torch.arange(1, z.shape[1], device=row.device).expand_as(row)
        made = net.box_coder.decode_single(delta, anchor)[row].flatten(0, 1)
        numbers = (x.flatten() for x in (number, level[row], torch.full_like(row, -1)))
        pairs = _sorted(best.flatten().logit(1e-30), made, *numbers)
        places = _fired(scores.amax(1), levels, per_place, shown, size)
        found.append(_flat(pairs, _no_proposals(z), places, size))
    return found


def two_stages(net: Any, shown: Any, maps: dict[str, torch.Tensor]) -> list[Tensors]:
    """Faster R-CNN: its proposals, and the best pairs of proposal and class."""
    from torchvision.models.detection.rpn import concat_box_prediction_layers
    from torchvision.ops.poolers import LevelMapper

    rpn, roi, levels = net.rpn, net.roi_heads, list(maps.values())
    with torch.autocast(shown.tensors.device.type, enabled=False):
        objectness, deltas = rpn.head(levels)
        anchors = rpn.anchor_generator(shown, levels)
        counts = [one[0].numel() for one in objectness]
        all_objectness, all_deltas = concat_box_prediction_layers(objectness, deltas)
        made = rpn.box_coder.decode(all_deltas, anchors).view(len(anchors), -1, 4)
        proposals, scores = rpn.filter_proposals(made, all_objectness, shown.image_sizes, counts)
        features = roi.box_roi_pool(maps, proposals, shown.image_sizes)
    logits, moves = (x.float() for x in roi.box_predictor(roi.box_head(features)))
    boxes = roi.box_coder.decode(moves, proposals)  # (B * P, C, 4)
    mapper = LevelMapper(2, 5, 224, 4)  # the levels of a ResNet's pyramid, strides 4 to 32
    parts = [len(one) for one in proposals]
    each = zip(proposals, scores, logits.split(parts), boxes.split(parts), strict=True)
    crops, fields = features.norm(dim=1).split(parts), all_objectness.view(len(parts), -1)
    found = []
    for i, (proposal, score, z, box) in enumerate(each):
        of = mapper([proposal])
        pairs = _best_of(z, box, of)
        size, per_place = shown.image_sizes[i], rpn.anchor_generator.num_anchors_per_location()[0]
        shares, most = proposal / _scale(proposal, size), rpn.post_nms_top_n()
        first = _filled(most, shares, score, of, crops[i])
        places = _fired(fields[i].sigmoid(), levels, per_place, shown, size)
        found.append(_flat(pairs, first, places, size))
    return found


def _best_of(z: torch.Tensor, boxes: torch.Tensor, levels: torch.Tensor) -> Tensors:
    """The best pairs of (P, C) logits, whose first class is the background, and boxes (P, C, 4)."""
    scores = z.softmax(-1)[:, 1:]
    best, order = scores.flatten().topk(min(MOST_PAIRS, scores.numel()))
    row, column = order // scores.shape[1], order % scores.shape[1] + 1
    return _filled(MOST_PAIRS, best.logit(1e-30), boxes[row, column], column, levels[row], row)


def _counts(levels: Sequence[torch.Tensor], per_place: int) -> list[int]:
    """How many anchors each level has."""
    return [per_place * level.shape[2] * level.shape[3] for level in levels]


def _no_proposals(like: torch.Tensor) -> Tensors:
    none = like.new_zeros(0)
    return none.view(0, 4), none, none.long(), none.view(0, CROP, CROP)


def _sorted(best: torch.Tensor, *others: torch.Tensor) -> Tensors:
    order = best.argsort(descending=True, stable=True)
    return best[order], *(x[order] for x in others)


def _filled(count: int, *columns: torch.Tensor) -> Tensors:
    """The same with `count` rows, so that pictures fit into one tensor; -100 fills them."""
    return tuple(torch.cat([x, x.new_full((count - len(x), *x.shape[1:]), -100)]) for x in columns)


def _scale(like: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return like.new_tensor([size[1], size[0], size[1], size[0]])


def _fired(
    scores: torch.Tensor, levels: Sequence[torch.Tensor], per_place: int, shown: Any, size: Any
) -> Tensors:
    """The best of (N,) scores at each place that lies in the picture, and the shapes (L, 2)."""
    parts, shapes = [], []
    whole = shown.tensors.shape[-2:]
    best = scores.view(-1, per_place).amax(1)
    for one, level in zip(
        best.split([x.shape[2] * x.shape[3] for x in levels]), levels, strict=True
    ):
        rows, columns = (
            -(-side * places // padded)
            for side, places, padded in zip(size, level.shape[2:], whole, strict=True)
        )
        parts.append(one.view(level.shape[2:])[:rows, :columns].flatten())
        shapes.append((rows, columns))
    return torch.cat(parts), torch.tensor(shapes, device=scores.device)


def _flat(pairs: Tensors, first: Tensors, places: Tensors, size: tuple[int, int]) -> Tensors:
    best, boxes, *numbers = pairs
    h, w = size
    kept = torch.stack([boxes[:, 0::2].clamp(0, w), boxes[:, 1::2].clamp(0, h)], -1).flatten(1)
    x1, y1, x2, y2 = (kept / _scale(kept, size)).unbind(1)
    centred = torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], 1)
    return best[None, :, None], centred[None], *numbers, *first, *places
