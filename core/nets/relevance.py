"""Which parts of a picture count for a class: attention rollout, with gradients, and Grad-CAM.

One forward and one backward pass, on the network as it is. The slope for an attention matrix A is
that for the layer's output A V, times Vᵀ; so fused attention, which hides A, may stay on.

Sources: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", 2020; Chefer, Gur and
Wolf, "Generic Attention-model Explainability", 2021; Selvaraju et al., "Grad-CAM", 2017.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from core.errors import InputError
from core.nets import tokens
from core.nets.hybrid import HybridViT

ROLLOUT, WEIGHTED, CAM = "Attention rollout", "Gradient-weighted rollout", "Grad-CAM"
READOUT, WEIGHTED_READOUT = "Class attention", "Gradient-weighted class attention"


def methods(model: Any) -> tuple[str, ...]:
    """The names of the maps that `maps` gives for this model.

    Raises:
        InputError: it is not known where its last map is, as with LeNet-5.
    """
    if not hasattr(model, "forward_features") and not _pools_its_maps(model):
        raise InputError(
            "This view does not know where the last map of this network is; choose a network of "
            "timm, such as VGG-16 or ResNet-50, or the starter."
        )
    if isinstance(model, HybridViT):
        return READOUT, WEIGHTED_READOUT, CAM
    return (ROLLOUT, WEIGHTED, CAM) if _has_plain_attention(model) else (CAM,)


def about(names: tuple[str, ...]) -> str:
    """One or two sentences on what the maps of `methods` show."""
    if READOUT in names:
        return (
            "This model is a CNN, a transformer on its last map, and a readout: the class token "
            "attends to the map, and the class layer reads the mean that it takes. So the maps "
            "show what the readout takes; the transformer only decides how much. A part of the "
            "answer, the mean of the whole picture, has no place. In the random model the "
            "transformer and the class layer are random; the CNN below keeps its weights."
        )
    if ROLLOUT in names:
        return (
            "Rollout multiplies the attention of all layers and knows nothing of the class; the "
            "other two use the gradient of its logit."
        )
    return (
        "A network without attention over all patches has no rollout; Grad-CAM weights the "
        "channels of its last map by the gradient of the class."
    )


def maps(model: Any, target: int, *x: torch.Tensor) -> torch.Tensor:
    """(B, M, rows, columns) maps, none negative, one for each of `methods`, for class `target`.

    Args:
        x: inputs (B, …) of the model.
    """
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(x[0].device.type, enabled=False),
    ):
        given = tuple(one.detach().float().clone().requires_grad_() for one in x)
        if isinstance(model, HybridViT):
            found = _of_hybrid(model, target, *given)
        elif _has_plain_attention(model):
            found = _of_transformer(model, target, *given)
        else:
            found = _of_maps(model, target, *given)
    return torch.stack([one.detach() for one in found], 1)


def randomised(model: Any) -> Any:
    """A copy with random weights, always the same ones.

    Layers start as their own `reset_parameters` says. Batch norms normalise by the picture itself,
    since the statistics of the trained network do not fit.
    """
    with torch.inference_mode(False), torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = copy.deepcopy(model)
        begun: set[nn.Parameter] = set()
        for layer in twin.modules():
            if callable(getattr(layer, "reset_parameters", None)):
                layer.reset_parameters()
                begun.update(layer.parameters(recurse=False))
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                layer.train()
        for parameter in twin.parameters():
            if parameter not in begun:  # class token, positions
                parameter.normal_(0, 0.02)
    return twin


def rollout(attention: list[torch.Tensor]) -> torch.Tensor:
    """(B, H, N, N) of each layer, first to last -> (B, N, N): the product of (mean + I) / 2, with
    the mean over heads."""
    found = torch.eye(attention[0].shape[-1], device=attention[0].device)
    for one in attention:
        found = (one.mean(1) + torch.eye(one.shape[-1], device=one.device)) / 2 @ found
    return found


def weighted_rollout(attention: list[torch.Tensor], gradients: list[torch.Tensor]) -> torch.Tensor:
    """As `rollout`: R + Ā R in each layer, where Ā is the mean over heads of max(∇A · A, 0)."""
    found = torch.eye(attention[0].shape[-1], device=attention[0].device)
    for one, gradient in zip(attention, gradients, strict=True):
        found = found + (gradient * one).clamp(min=0).mean(1) @ found
    return found


def grad_cam(activations: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
    """Both (B, C, h, w) -> (B, h, w): max(Σ over C of mean gradient times activation, 0)."""
    weights = gradients.mean((2, 3), keepdim=True)
    return (weights * activations).sum(1).clamp(min=0)


def _has_plain_attention(model: Any) -> bool:
    from timm.layers import Attention

    return tokens.is_vision_transformer(model) and all(
        isinstance(block.attn, Attention) and getattr(block.attn, "gate", None) is None
        for block in model.blocks
    )


def _of_transformer(model: Any, target: int, x: torch.Tensor) -> list[torch.Tensor]:
    layers = [block.attn for block in model.blocks]
    with tokens.inputs_of([*layers, *(layer.norm for layer in layers)]) as given:
        logits = model(x)
    count = len(layers)
    outputs = [given[count + i] for i in range(count)]  # A V of all heads, (B, N, D)
    last = given[count - 1]  # what the last attention layer reads, as pytorch-grad-cam advises
    *slopes, of_last = torch.autograd.grad(logits[:, target].sum(), [*outputs, last])
    attention, gradients = [], []
    with torch.no_grad():
        for i, (layer, slope) in enumerate(zip(layers, slopes, strict=True)):
            queries, keys, values = tokens.projected(layer, given[i])
            attention.append((queries @ keys.transpose(-2, -1)).softmax(-1))
            per_head = slope.unflatten(2, (layer.num_heads, -1)).transpose(1, 2)  # (B, H, N, d)
            gradients.append(per_head @ values.transpose(-2, -1))
    _, grid = tokens.named(model)
    first = int(model.num_prefix_tokens)

    def seen(table: torch.Tensor) -> torch.Tensor:
        return table[:, _readers(model)].mean(1)[:, first:].unflatten(1, grid)

    def patches(table: torch.Tensor) -> torch.Tensor:
        return table[:, first:].transpose(1, 2).unflatten(2, grid)

    batch = x.shape[0]
    rolled = rollout(attention).expand(batch, -1, -1)
    weighted = weighted_rollout(attention, gradients).expand(batch, -1, -1)
    return [seen(rolled), seen(weighted), grad_cam(patches(last), patches(of_last))]


def _readers(model: Any) -> slice:
    """The tokens whose mean the class layer reads."""
    if hasattr(model, "head_dist"):  # DeiT's distilled ones
        return slice(0, 2)
    return (
        slice(0, 1) if model.global_pool == "token" else slice(int(model.num_prefix_tokens), None)
    )


def _of_hybrid(
    model: HybridViT, target: int, maps: torch.Tensor, glance: torch.Tensor
) -> list[torch.Tensor]:
    """What counts is what the readout takes from each position; the blocks only say how much."""
    logits, weights = model.read(maps, glance)  # (B, heads, N)
    slopes, of_maps = torch.autograd.grad(logits[:, target].sum(), [weights, maps])
    flat = [weights.mean(1), (slopes * weights).clamp(min=0).mean(1)]
    return [*(one.unflatten(1, maps.shape[2:]) for one in flat), grad_cam(maps, of_maps)]


def _pools_its_maps(model: Any) -> bool:
    """Whether it is a CNN of torchvision, whose class layers read what `avgpool` gives them."""
    return isinstance(getattr(model, "avgpool", None), nn.AdaptiveAvgPool2d)


def _of_maps(model: Any, target: int, x: torch.Tensor) -> list[torch.Tensor]:
    """Grad-CAM on the last map of a network that ends in one, such as a CNN or Swin."""
    if not hasattr(model, "forward_features"):
        with tokens.inputs_of([model.avgpool]) as given:
            logits = model(x)
        (slopes,) = torch.autograd.grad(logits[:, target].sum(), [given[0]])
        return [grad_cam(given[0], slopes)]
    with torch.no_grad():
        last = model.forward_features(x)
    if last.ndim != 4:
        raise InputError(
            "This model ends in no map of the picture; choose a Vision Transformer or a CNN."
        )
    last = last.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(model.forward_head(last)[:, target].sum(), [last])
    if getattr(model, "output_fmt", "NCHW") == "NHWC":
        last, slopes = last.permute(0, 3, 1, 2), slopes.permute(0, 3, 1, 2)
    return [grad_cam(last, slopes)]
