"""A stand-in for a GPU: 20 ms and 2.5 ms more per picture, one batch at a time, and no arithmetic.

It shows how well the serving layer uses a device, without the noise of a real one: at best 44
pictures per second one by one, and 200 in batches of 8.
"""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import Any

import torch

from core import images

PASS_SECONDS, PICTURE_SECONDS, BATCH = 0.020, 0.0025, 8
IDEAL = BATCH / (PASS_SECONDS + BATCH * PICTURE_SECONDS)  # pictures a second
LABELS = ("cat", "dog", "cup", "bird", "tree")
_device = threading.Lock()


def busy(pictures: int) -> None:
    """Take as long as the device takes for a batch."""
    with _device:
        time.sleep(PASS_SECONDS + pictures * PICTURE_SECONDS)


def occupy(image: images.ImageLike) -> float:
    """Take the device for one picture; its mean, 0 to 255. No network and no preparation."""
    found = float(images.picture(image).pixels().mean())
    busy(1)
    return found


class Classifier(torch.nn.Module):
    """(B, 3, h, w) -> (B, 5) logits that depend on the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        busy(len(x))
        return x.mean((1, 2, 3))[:, None] * torch.arange(1.0, 1 + len(LABELS))


class Detector(torch.nn.Module):
    """(B, 3, h, w) -> five confident boxes per picture, in DETR's output format."""

    def __init__(self) -> None:
        super().__init__()
        self.model = torch.nn.Module()
        self.model.decoder = torch.nn.Identity()  # it has no layers to read

    def forward(self, pixel_values: torch.Tensor) -> Any:
        count = len(pixel_values)
        busy(count)
        side = torch.arange(1, 6) / 6
        boxes = torch.stack([side, side, torch.full((5,), 0.2), torch.full((5,), 0.3)], -1)
        logits = torch.cat([4 * torch.eye(5), torch.zeros(5, 1)], -1)
        return SimpleNamespace(
            logits=logits.expand(count, -1, -1), pred_boxes=boxes.expand(count, -1, -1)
        )


class Reconstructor(torch.nn.Module):
    """A masked autoencoder that fills every patch with its own mean, in ViTMAE's output format."""

    def __init__(self) -> None:
        super().__init__()
        self.config = SimpleNamespace(
            image_size=224, patch_size=16, norm_pix_loss=False, mask_ratio=0.75
        )

    def forward(self, pixel_values: torch.Tensor, noise: torch.Tensor) -> Any:
        """(B, 3, 224, 224) and (B, 196) -> logits (B, 196, 768), mask (B, 196), 1 = hidden."""
        busy(len(pixel_values))
        patches = pixel_values.unfold(2, 16, 16).unfold(3, 16, 16)  # (B, 3, 14, 14, 16, 16)
        means = patches.mean((-2, -1)).flatten(2).transpose(1, 2)  # (B, 196, 3)
        visible = int(noise.shape[1] * (1 - self.config.mask_ratio))
        hidden = (noise.argsort(1).argsort(1) >= visible).float()
        return SimpleNamespace(logits=means.repeat(1, 1, 256), mask=hidden)

    def unpatchify(self, logits: torch.Tensor) -> torch.Tensor:
        """(B, 196, 768) -> (B, 3, 224, 224)."""
        count = len(logits)
        patches = logits.view(count, 14, 14, 16, 16, 3)
        return patches.permute(0, 5, 1, 3, 2, 4).reshape(count, 3, 224, 224)


def install() -> None:
    """Make this process's tasks build stand-ins for any file; for a separate server."""
    from core import classify, detect, reconstruct
    from core.nets import detectors, transforms, trunk
    from core.serving.model_cache import Built

    mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    config = {"input_size": (3, 224, 224), "mean": mean, "std": std, "crop_pct": 0.9}
    seen = transforms.timm_transform({**config, "interpolation": "bicubic"})
    shown = transforms.square_transform(224, mean, std)
    names = dict(enumerate(LABELS))
    classes = trunk.Classifier(LABELS, 0.9, seen)
    classify._build = lambda resolved: Built(Classifier(), classes)
    boxes = detectors.Detector(names, "softmax", shown)
    detect._build = lambda resolved: Built(Detector(), boxes)
    mae = reconstruct.Mae(shown, mean, std)
    reconstruct._build = lambda resolved: Built(Reconstructor(), mae)
