"""Grad-CAM: which places of the last map a class rests on.

The gradient of the class's logit, averaged over the map, says how much each channel counts; the
channels' sum with these weights, where positive, is the map of places.
Source: Selvaraju et al., "Grad-CAM", 2017.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from core.nets import hooks, layers
from core.nets.relevance import grad_cam
from core.nets.whole import Joined


def best_class(model: Any, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Logits of pictures (B, 3, s, s), and the Grad-CAM of the best class, in one pass.

    The map is that of the last layer whose patches the class still depends on: of a transformer
    that answers from its class token, the last block but one; of the starter, the CNN's last map.

    Returns:
        (B, K) float32 logits; (B, h, w) float32, at least 0, the largest of each 1 unless all are
        0; and (B, 1) seconds of the pass for one picture.
    """
    outputs: dict[int, torch.Tensor] = {}
    listed = layers.listed(model)
    keepers = [
        (model.get_submodule(one.name), _keeper(outputs, number))
        for number, one in enumerate(listed)
    ]
    with torch.inference_mode(False), torch.enable_grad():
        inputs = [x.clone() for x in given]
        inputs[0].requires_grad_()
        begin = time.perf_counter()
        with hooks.heard(keepers):
            logits = model(*inputs)
        if logits.is_cuda:
            torch.cuda.synchronize(logits.device)
        seconds = (time.perf_counter() - begin) / len(logits)
        score = logits.max(1).values.sum()
        heat = torch.zeros(len(logits), 1, 1, device=logits.device)
        for number in _candidates(model, listed, outputs):
            kept = outputs[number]
            (slope,) = torch.autograd.grad(score, kept, retain_graph=True, allow_unused=True)
            if slope is None:
                continue
            maps, slopes = (layers.as_maps(model, listed[number].name, x) for x in (kept, slope))
            if maps is None or slopes is None or not slopes.any():
                continue
            heat = grad_cam(maps.float(), slopes.float()).detach()
            break
    heat = heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)
    spent = torch.full((len(logits), 1), seconds, device=logits.device)
    return logits.detach().float(), heat, spent


def _keeper(outputs: dict[int, torch.Tensor], number: int) -> Callable[..., None]:
    def keep(_: Any, __: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and number not in outputs:
            outputs[number] = output

    return keep


def _candidates(
    model: Any, listed: tuple[layers.Layer, ...], outputs: dict[int, torch.Tensor]
) -> list[int]:
    """Numbers of the layers that give a picture, the last first."""
    joined = isinstance(model, Joined)
    return [
        number
        for number in sorted(outputs, reverse=True)
        if layers.as_maps(model, listed[number].name, outputs[number]) is not None
        and (not joined or listed[number].name.startswith("trunk."))
    ]
