"""Assignment and losses of the detectors: one-to-many for tokens, one-to-one for queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

TOPK = 9  # tokens that learn one object
FLOOR = 0.3  # smallest class target of the best token
NEAR = 0.4  # IoU from which a box counts as one of an object


@dataclass
class Targets:
    """M padded objects: `boxes` (B, M, 4) xyxy in 0..1, `labels` (B, M), `real` (B, M) to be found,
    `ignored` (B, M): neither right nor wrong (difficult, or cut off)."""

    boxes: Tensor
    labels: Tensor
    real: Tensor
    ignored: Tensor


def corners(boxes: Tensor) -> Tensor:
    """cxcywh -> xyxy."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def centred(boxes: Tensor) -> Tensor:
    """xyxy -> cxcywh."""
    return torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]], -1)


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)


def ious(a: Tensor, b: Tensor) -> Tensor:
    """(B, N, 4) and (B, M, 4) xyxy -> (B, N, M)."""
    a, b = a[:, :, None], b[:, None]
    inter = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    both = inter.prod(-1)
    return both / (_area(a) + _area(b) - both).clamp(min=1e-7)


def gious(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalised IoU of boxes xyxy that broadcast."""
    inter = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(0)
    both = inter.prod(-1)
    union = (_area(a) + _area(b) - both).clamp(min=1e-7)
    hull = torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])
    outer = hull.clamp(0).prod(-1).clamp(min=1e-7)
    return both / union, both / union - (outer - union) / outer


@torch.no_grad()
def assign(
    logits: Tensor,
    boxes: Tensor,
    centres: Tensor,
    cells: Tensor,
    targets: Targets,
    most_tokens: int = TOPK,
) -> tuple[Tensor, Tensor, Tensor]:
    """Task-aligned assignment (Feng et al., "TOOD", 2021).

    Args:
        logits: (B, N, C). boxes: (B, N, 4) xyxy. centres: (N, 2) and cells: (N,), each token's
        centre and half the side of its cell, in 0..1.

    Returns:
        (B, N) index of the token's object; (B, N) class target, 0 for no object; (B, N) bool:
        the token lies in an ignored object.
    """
    overlap = ious(boxes, targets.boxes)  # (B, N, M)
    index = targets.labels[:, None].expand(-1, boxes.shape[1], -1)
    scores = logits.sigmoid().gather(2, index)
    middle = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2  # (B, M, 2)
    half = (targets.boxes[..., 2:] - targets.boxes[..., :2]) / 2
    distance = (centres[None, :, None] - middle[:, None]).abs()  # (B, N, M, 2)
    inside = (distance <= torch.maximum(half[:, None], cells[None, :, None, None])).all(-1)
    metric = scores.sqrt() * overlap**4
    metric = (metric + 1e-9) * (inside & targets.real[:, None])
    k = min(most_tokens, metric.shape[1])
    best = metric.topk(k, 1)
    chosen = torch.zeros_like(metric).scatter_(1, best.indices, 1.0) * (metric > 0)
    # Tokens wanted by several objects go to the one that they overlap most.
    ranked = overlap * chosen + chosen * 1e-6
    weight, owner = ranked.max(2)  # (B, N)
    mine = F.one_hot(owner, metric.shape[2]) * (weight > 0)[..., None]
    metric, overlap = metric * mine, overlap * mine
    top = metric.amax(1, keepdim=True).clamp(min=1e-9)
    most = overlap.amax(1, keepdim=True).clamp(min=FLOOR)
    goal = (metric / top * most).gather(2, owner[..., None])[..., 0].clamp(min=0.05)
    goal = goal * (weight > 0)
    ignored = ((inside & targets.ignored[:, None]).any(2)) & (weight == 0)
    return owner, goal, ignored


def _varifocal(logits: Tensor, goals: Tensor, ignored: Tensor, gamma: float = 2.0) -> Tensor:
    """Sum of the varifocal loss (Zhang et al., 2020). `ignored` (B, N) tokens count for nothing."""
    weight = torch.where(goals > 0, goals, 0.75 * logits.detach().sigmoid() ** gamma)
    weight = weight * (~ignored)[..., None]
    return (F.binary_cross_entropy_with_logits(logits, goals, reduction="none") * weight).sum()


def dense_loss(
    logits: Tensor, boxes: Tensor, centres: Tensor, cells: Tensor, targets: Targets
) -> Tensor:
    """Loss of the prediction at every token; boxes (B, N, 4) cxcywh."""
    found = corners(boxes)
    owner, goal, ignored = assign(logits.detach(), found.detach(), centres, cells, targets)
    total = goal.sum().clamp(min=1.0)
    label = targets.labels.gather(1, owner)
    goals = F.one_hot(label, logits.shape[2]) * goal[..., None]
    loss = _varifocal(logits, goals, ignored) / total
    on = goal > 0
    if not on.any():
        return loss
    true = targets.boxes.gather(1, owner[..., None].expand(-1, -1, 4))[on]
    _, giou = gious(found[on], true)
    near = (boxes[on] - centred(true)).abs().sum(-1)
    return loss + ((2 * (1 - giou) + 5 * near) * goal[on]).sum() / total


def single_loss(
    logits: Tensor, boxes: Tensor, centres: Tensor, cells: Tensor, targets: Targets
) -> Tensor:
    """Class loss where each object has one token, so that its neighbours learn to be silent (Wang
    et al., "YOLOv10", 2024): the queries are chosen by these scores."""
    found = corners(boxes.detach())
    owner, goal, ignored = assign(logits.detach(), found, centres, cells, targets, 1)
    goals = F.one_hot(targets.labels.gather(1, owner), logits.shape[2]) * goal[..., None]
    return _varifocal(logits, goals, ignored, 1.0) / targets.real.sum().clamp(min=1)


def query_loss(logits: Tensor, boxes: Tensor, targets: Targets, many: float = 0.2) -> Tensor:
    """Loss of one decoder layer: each object has one query (Hungarian matching).

    Boxes that are near an object without being its match learn its box too, with weight `many`;
    only the match learns its class.
    """
    found = corners(boxes)
    with torch.no_grad():
        overlap, giou = gious(found[:, :, None], targets.boxes[:, None])  # (B, Q, M)
        p = logits.sigmoid()
        index = targets.labels[:, None].expand(-1, logits.shape[1], -1)
        far = (boxes[:, :, None] - centred(targets.boxes)[:, None]).abs().sum(-1)
        # The score decides between boxes that are equally good: with the usual cost the match
        # jumps between them, and none learns to be the one.
        good = 10 * p.gather(2, index) * overlap**2
        cost = (0.25 * far - 0.1 * giou - good).numpy()
        match = torch.full(logits.shape[:2], -1)
        for i in range(len(cost)):
            real = np.flatnonzero(targets.real[i].numpy())
            rows, columns = linear_sum_assignment(cost[i][:, real])
            match[i, rows] = torch.from_numpy(real[columns])
        near, nearest = (overlap * targets.real[:, None]).max(2)
        owner = torch.where(match >= 0, match, nearest)
        weight = torch.where(match >= 0, 1.0, many * (near > NEAR))
        quality = overlap.gather(2, owner[..., None])[..., 0].clamp(min=0.05) * (match >= 0)
        ignored = ((overlap * targets.ignored[:, None]).amax(2) > NEAR) & (match < 0)
        goals = F.one_hot(targets.labels.gather(1, owner), logits.shape[2]) * quality[..., None]
    count = targets.real.sum().clamp(min=1)
    loss = _varifocal(logits, goals, ignored, 1.0) / count
    on = weight > 0
    if not on.any():
        return loss
    true = targets.boxes.gather(1, owner[..., None].expand(-1, -1, 4))[on]
    _, giou = gious(found[on], true)
    near = (boxes[on] - centred(true)).abs().sum(-1)
    return loss + ((2 * (1 - giou) + 5 * near) * weight[on]).sum() / weight.sum()
