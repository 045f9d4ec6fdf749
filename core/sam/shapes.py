"""Shapes of the tensors between a prompt and its masks, recorded during one decoder pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from core.nets import hooks
from core.sam.clicks import Clicks
from core.sam.engines import Embedding
from core.sam.insight import Part
from core.serving import runtime
from core.types import PointPrompts

Shapes = dict[str, list[tuple[int, ...]]]


def read(clicks: Clicks, embedding: Embedding, prompts: PointPrompts) -> list[Part]:
    """Run the prompt through prompt encoder and decoder, and record each part's output."""
    engine = clicks.engine
    stations = engine.stations()
    shapes: Shapes = {}

    def note(key: str, output: Any) -> None:
        shapes[key] = _shapes(output)

    def compute() -> None:
        noted = [
            (modules[-1], lambda _module, _inputs, out, key=key: note(key, out))
            for key, modules in stations.items()
        ]
        with hooks.heard(noted):
            clicks.forward(embedding, prompts, None)

    runtime.forward(compute, full_precision=True)
    counts = {key: _parameters(modules) for key, modules in stations.items()}
    sparse, dense = shapes["prompt"][:2]
    tokens, places = shapes["transformer"][:2]
    masks, scores = shapes["decoder"][:2]
    return [
        Part("embedding", "Image embedding", tuple(embedding.features[-1].shape)),
        Part("sparse", "Points and box as tokens", sparse, counts["prompt"]),
        Part("dense", "Earlier mask, or none", dense),
        Part("tokens", "Tokens after attention", tokens, counts["transformer"]),
        Part("places", "Picture after attention", places),
        Part("upscaled", "Upscaled picture", shapes["upscaling"][0], counts["upscaling"]),
        Part("weights", "Weights of one mask", shapes["hypernetwork"][0], counts["hypernetwork"]),
        Part("iou", "Predicted IoU of every mask", shapes["iou_head"][0], counts["iou_head"]),
        Part("masks", "Low-resolution masks", masks),
        Part("scores", "Their predicted IoU", scores),
    ]


def _shapes(output: Any) -> list[tuple[int, ...]]:
    tensors = output if isinstance(output, tuple | list) else (output,)
    return [tuple(t.shape) for t in tensors if torch.is_tensor(t)]


def _parameters(modules: Sequence[torch.nn.Module]) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())
