"""The two detectors while they learn: their lean network, its start, its loss, its answers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torchvision.ops import batched_nms

from core.nets import detector
from training import detectors_data as data
from training import detectors_eval as measure
from training.detectors_loss import Targets, corners, dense_loss, query_loss, single_loss


def initialise(detr: Any) -> None:
    """Weights to begin with: the first input channels pass through, boxes begin at a quarter of the
    picture, the decoder changes little."""
    model = detr.model
    for module in detr.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    for project, _ in model.encoder_input_proj:
        nn.init.normal_(project.weight, std=0.02)
        with torch.no_grad():
            width = len(project.weight)
            project.weight[:, :width, 0, 0] += torch.eye(width)
    heads = [model.enc_score_head, model.many_score_head, *model.decoder.class_embed]
    for head in heads:
        nn.init.normal_(head.weight, std=0.01)
        nn.init.constant_(head.bias, -math.log(99))
    for head in [model.enc_bbox_head, *model.decoder.bbox_embed]:
        nn.init.zeros_(head.layers[-1].weight)
        nn.init.zeros_(head.layers[-1].bias)
    with torch.no_grad():
        model.enc_bbox_head.layers[-1].bias[2:] = 1.5
    for layer in model.decoder.layers:
        attn = layer.encoder_attn
        nn.init.zeros_(attn.sampling_offsets.weight)
        nn.init.zeros_(attn.attention_weights.weight)
        angles = torch.arange(attn.n_heads) * (2 * math.pi / attn.n_heads)
        grid = torch.stack([angles.cos(), angles.sin()], -1)
        grid = grid / grid.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, attn.n_points + 1)[None, None, :, None]
        grid = grid[:, None, None] * steps * torch.ones(1, attn.n_levels, 1, 1)
        with torch.no_grad():
            attn.sampling_offsets.bias.copy_(grid.flatten())
        for end in (attn.output_proj, layer.mlp.fc2, layer.self_attn.o_proj):
            end.weight.data.mul_(0.1)


class Zero(nn.Module):
    """In the place of a branch that adds nothing."""

    def forward(self, _: torch.Tensor) -> float:
        return 0.0


def lean(detr: Any) -> Any:
    """The model without its second branches and projections, which cost a third of a step.

    `whole` gives them back, so that the outputs stay the same.
    """
    encoder = detr.model.encoder
    for stage in (*encoder.fpn_blocks, *encoder.pan_blocks):
        for block in stage.bottlenecks:
            block.conv2 = Zero()
    detr.model.decoder_input_proj = nn.ModuleList(nn.Identity() for _ in detector.LEVELS)
    # The queries are chosen by a class layer of their own, which learns one token an object.
    detr.model.many_score_head = nn.Linear(detr.config.d_model, detr.config.num_labels)
    return detr


def dense_of(detr: Any) -> tuple[detector.CnnDetector, nn.Module]:
    """The convolutional detector with its own class layer; and the one that chooses queries."""
    cnn = detector.CnnDetector(detr.model)
    cnn.enc_score_head = detr.model.many_score_head
    return cnn, detr.model.enc_score_head


@torch.no_grad()
def begin_decoder(detr: Any) -> None:
    """The decoder's class layers begin as the dense one's."""
    for head in detr.model.decoder.class_embed:
        head.load_state_dict(detr.model.many_score_head.state_dict())
    detr.model.enc_score_head.load_state_dict(detr.model.many_score_head.state_dict())


def decode(detr: Any, dense: detector.Dense) -> tuple[torch.Tensor, torch.Tensor]:
    """What `RTDetrModel` does after its dense heads: (B, L, Q, C) logits, (B, L, Q, 4) boxes."""
    scores = detr.model.enc_score_head(dense.memory.detach())
    best = scores.amax(-1).topk(detr.config.num_queries, 1).indices[..., None]
    query = dense.memory.detach().gather(1, best.expand(-1, -1, dense.memory.shape[2]))
    start = dense.offsets.detach().gather(1, best.expand(-1, -1, 4))
    shapes = [(int(x.shape[2]), int(x.shape[3])) for x in dense.levels]
    sizes = torch.tensor(shapes)
    first = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
    out = detr.model.decoder(
        inputs_embeds=query,
        encoder_hidden_states=dense.source,
        reference_points=start,
        spatial_shapes=sizes,
        spatial_shapes_list=shapes,
        level_start_index=first,
    )
    return out.intermediate_logits, out.intermediate_reference_points


def tokens(dense: detector.Dense) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres (N, 2) of the tokens, and half the side (N,) of their cells."""
    shapes = [(int(x.shape[2]), int(x.shape[3])) for x in dense.levels]
    centres = detector.anchors(shapes)[0, :, :2].sigmoid()
    cells = torch.cat([torch.full((h * w,), 0.5 / w) for h, w in shapes])
    return centres, cells


def step_loss(
    detr: Any, cnn: detector.CnnDetector, maps: torch.Tensor, targets: Targets, decoder: bool
) -> tuple[torch.Tensor, dict[str, float]]:
    """The dense loss, and that of every decoder layer."""
    dense = cnn(maps)
    loss = dense_loss(dense.logits, dense.boxes, *tokens(dense), targets)
    parts = {"dense": float(loss.detach())}
    if decoder:
        logits, boxes = decode(detr, dense)
        single = detr.model.enc_score_head(dense.memory)
        one = single_loss(single, dense.boxes, *tokens(dense), targets)
        parts["single"] = float(one.detach())
        layers = [query_loss(logits[:, i], boxes[:, i], targets) for i in range(logits.shape[1])]
        parts["decoder"] = float(layers[-1].detach())
        loss = loss + one + torch.stack(layers).sum()
    return loss, parts


@torch.no_grad()
def answers(
    detr: Any, cnn: detector.CnnDetector, maps: torch.Tensor, decoder: bool
) -> tuple[list[measure.Found], list[measure.Found]]:
    """Boxes of both detectors for each picture."""
    dense = cnn(maps)
    one: list[Any] = []
    two: list[Any] = []
    scores, boxes = dense.logits.sigmoid(), corners(dense.boxes).clamp(0, 1)
    for s, b in zip(scores, boxes, strict=True):
        token, label = (s > 0.01).nonzero(as_tuple=True)
        keep = batched_nms(b[token], s[token, label], label, 0.6)[:100]
        one.append((b[token[keep]].numpy(), s[token, label][keep].numpy(), label[keep].numpy()))
    if decoder:
        logits, found = decode(detr, dense)
        for s, b in zip(logits[:, -1].sigmoid(), corners(found[:, -1]).clamp(0, 1), strict=True):
            top = s.flatten().topk(100)
            token, label = top.indices // s.shape[1], top.indices % s.shape[1]
            two.append((b[token].numpy(), top.values.numpy(), label.numpy()))
    return one, two


def evaluate(detr: Any, view: data.View, indices: list[int], decoder: bool) -> dict[str, float]:
    """AP50 on pictures of a view."""
    cnn, _ = dense_of(detr)
    one: list[Any] = []
    two: list[Any] = []
    for i in range(0, len(indices), 16):
        rows = indices[i : i + 16]
        maps = torch.from_numpy(view.maps[rows].astype(np.float32)).permute(0, 3, 1, 2)
        a, b = answers(detr, cnn, maps, decoder)
        one, two = one + a, two + b
    truths = [view.objects[i] for i in indices]
    result = {"cnn": measure.mean_ap(truths, one, len(data.CLASSES))[0]}
    if decoder:
        result["detr"] = measure.mean_ap(truths, two, len(data.CLASSES))[0]
    return result
