"""Grad-CAM as pytorch-grad-cam computes it, for two small networks with weights by a formula.

The library brings OpenCV with a window system, scikit-learn and matplotlib, which no other test
needs; so its answers are kept in gradcam_reference.json. With the library installed,

    python -m tests.gradcam_reference > tests/gradcam_reference.json

makes the file again. Made with pytorch-grad-cam 1.5.7.
"""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

KEPT = Path(__file__).with_suffix(".json")
TARGET = 2


def filled(model: Any) -> Any:
    """The model in evaluation mode, with weights from a sine, the same on every machine."""
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            number = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = torch.sin(number * 12.9898 + i) * 43.7585
            wave = (wave - wave.floor() - 0.5).view(parameter.shape).float()
            fan = parameter[0].numel() if parameter.ndim > 1 else 4
            parameter.copy_(wave * 3 / math.sqrt(fan) + (1.0 if parameter.ndim == 1 else 0.0))
    return model.eval()


def vit(**options: Any) -> Any:
    return filled(
        timm.create_model(
            "vit_tiny_patch16_224", img_size=64, embed_dim=48, depth=2, num_heads=3, num_classes=5,
            **options,
        )
    )  # fmt: skip


def cnn() -> Any:
    return filled(timm.create_model("test_resnet", num_classes=5))


def picture(side: int = 64) -> torch.Tensor:
    """(1, 3, side, side): waves."""
    y, x = torch.meshgrid(torch.arange(side) / 9, torch.arange(side) / 7, indexing="ij")
    return torch.stack([torch.sin(x + y), torch.cos(x * y / 5), torch.sin(x - y / 2)])[None]


def theirs(model: Any, layer: Any, reshape: Any = None) -> np.ndarray:
    """(rows, columns) of pytorch-grad-cam, before it is enlarged."""
    library = importlib.import_module("pytorch_grad_cam")
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")

    x, targets = picture(), [targets.ClassifierOutputTarget(TARGET)]
    with library.GradCAM(model, [layer], reshape_transform=reshape) as cam:
        cam(x, targets)
        activations, gradients = (
            found[0].cpu().data.numpy()
            for found in (
                cam.activations_and_grads.activations,
                cam.activations_and_grads.gradients,
            )
        )
        found = cam.get_cam_image(x, layer, targets, activations, gradients)
    return np.maximum(np.asarray(found[0], np.float64), 0)


if __name__ == "__main__":
    net = vit()
    of_vit = theirs(
        net, net.blocks[-1].norm1, lambda t: t[:, 1:].transpose(1, 2).unflatten(2, (4, 4))
    )
    net = cnn()
    kept = {"vit": of_vit, "cnn": theirs(net, net.layer4[-1])}
    print(json.dumps({name: rows.round(9).tolist() for name, rows in kept.items()}))
