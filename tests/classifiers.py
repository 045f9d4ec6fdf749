"""The classifiers of the catalogue without their files, for tests that run over all of them."""

from __future__ import annotations

from typing import Any

import timm
import torch

from core.checkpoints import CATALOGUE, Checkpoint
from core.nets import tokens
from tests import gradcam_reference as reference

PUBLISHED = [c for c in CATALOGUE if c.task == "classify" and c.arch]


def bare(one: Checkpoint, **options: Any) -> Any:
    """The network in evaluation mode, as its library makes it."""
    if one.loader == "torchvision":
        from torchvision import models

        if one.arch == "googlenet":
            options |= {"aux_logits": False, "init_weights": False}
        return models.get_model(one.arch, weights=None, **options).eval()
    return timm.create_model(one.arch, **options).eval()


def hollow(one: Checkpoint) -> tuple[Any, int]:
    """The network without numbers (PyTorch's meta device), and the side of its pictures."""
    with torch.device("meta"):
        model = bare(one)
    config = getattr(model, "pretrained_cfg", None) or {"input_size": (3, 224, 224)}
    return model, int(config["input_size"][-1])


def small(one: Checkpoint) -> tuple[Any, torch.Tensor]:
    """The network with numbers from a sine, with few and narrow blocks if it is a Vision
    Transformer; and a picture for it, (1, 3, s, s)."""
    options: dict[str, Any] = {"num_classes": 5}
    if tokens.is_vision_transformer(hollow(one)[0]):
        options |= {"img_size": 64, "embed_dim": 48, "depth": 2, "num_heads": 3}
    elif one.arch.startswith("swin"):
        options |= {"img_size": 64}
    elif one.arch.startswith("vgg"):  # its class layers have most of its numbers
        options |= {"mlp_ratio": 0.02}
    elif one.arch == "alexnet":
        with torch.device("meta"):
            model = bare(one)
        model.classifier = torch.nn.Linear(9216, 5)  # as above; the rest has no buffers
        return reference.filled(model.to_empty(device="cpu")), reference.picture(128)
    side = 128 if one.loader == "torchvision" else 64
    return reference.filled(bare(one, **options)), reference.picture(side)
