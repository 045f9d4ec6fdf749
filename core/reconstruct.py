"""Masked autoencoder reconstruction (He et al., 2022), through transformers' ViTMAE.

The encoder sees only the visible patches; the decoder fills in the hidden ones. Training covers
hidden patches only, so predictions of visible ones are expected to look worse.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import checks, images
from core.imaging.sizes import fitted
from core.nets import transforms
from core.serving import runtime
from core.serving.runtime import Built
from core.sources import state_dicts
from core.sources.resolver import Progress, Resolved
from core.types import Reconstruction

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
VIEW_SIDE = 448  # longest side of the returned pictures; the full checkpoints read 224
GREY = 127
Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # input, prediction, mask


@dataclass(frozen=True, slots=True)
class Mae:
    """What the network needs beside its weights: `transform` makes (1, 3, s, s) of (H, W, 3) uint8,
    with `mean` and `std`. The share of hidden patches is in the network's config, so one request
    at a time may set it."""

    transform: Callable[[images.RGB], torch.Tensor]
    mean: Sequence[float]
    std: Sequence[float]
    ratio_lock: threading.Lock = field(default_factory=threading.Lock)


def predict(
    image: images.ImageLike,
    checkpoint: str = "auto",
    mask_ratio: float = 0.75,
    seed: int = 0,
    progress: Progress | None = None,
) -> Reconstruction:
    """Hide a share of the patches at random and let the model fill them in.

    Args:
        mask_ratio: share of patches hidden, 0.05 to 0.95.
        seed: chooses which patches are hidden; the same seed hides the same ones.

    Raises:
        InputError, CheckpointError, OutOfMemory.
    """
    mask_ratio = checks.number(mask_ratio, "The mask ratio", 0.05, 0.95)
    seed = checks.whole(seed, "The seed")
    picture = images.picture(image)
    with runtime.run("reconstruct", checkpoint, _build, progress) as run:
        key = ("reconstruction", picture.digest, float(mask_ratio), seed)
        tensors = run.output(key, lambda: _tensors(run, picture.pixels(), mask_ratio, seed))
        with run.watch.stage("decode"):
            views = _views(run.lease.built, picture.size, *tensors)
        return Reconstruction(*views, run.info())


def patch_noise(patches: int, seed: int) -> NDArray[np.float32]:
    """(N,) numbers in 0..1; the patches with the lowest numbers stay visible."""
    return np.random.default_rng(seed % 2**64).random(patches, dtype=np.float32)


def _tensors(run: runtime.Run[Mae], rgb: images.RGB, mask_ratio: float, seed: int) -> Tensors:
    with run.watch.stage("prepare"):
        x = run.extra.transform(rgb)  # (1, 3, s, s)
    with run.watch.stage("forward"):
        predicted, mask = _forward(run, x, mask_ratio, seed)
    if not torch.isfinite(predicted).all():
        raise checks.not_numbers()
    return x, predicted, mask


def _forward(
    run: runtime.Run[Mae], x: torch.Tensor, mask_ratio: float, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Predicted picture (1, 3, s, s), normalised as the input, and mask (N,), 1 = hidden."""
    model: Any = run.model
    patches = (model.config.image_size // model.config.patch_size) ** 2
    noise = torch.from_numpy(patch_noise(patches, seed))[None]  # (1, N)
    visible = max(1, int(patches * (1 - mask_ratio)))

    def fill(batch: torch.Tensor, noises: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # The ratio lives in the model's shared config, so no other request may change it meanwhile.
        # Half a patch more than `visible` makes the model's rounding give exactly that number.
        with run.extra.ratio_lock:
            model.config.mask_ratio = 1 - (visible + 0.5) / patches
            out = model(pixel_values=batch, noise=noises)
        logits = out.logits.float()
        if model.config.norm_pix_loss:
            target = model.patchify(batch)  # (B, N, p * p * 3)
            logits = logits * (target.var(-1, keepdim=True) + 1e-6).sqrt() + target.mean(-1, True)
        return model.unpatchify(logits), out.mask

    predicted, mask = run.batched(fill, x, noise, same=("visible", visible))
    return predicted, mask[0]


def _views(
    built: Built[Mae],
    original_size: tuple[int, int],
    x: torch.Tensor,
    predicted: torch.Tensor,
    mask: torch.Tensor,
) -> tuple[images.RGB, images.RGB, images.RGB, NDArray[np.bool_], float]:
    """The fields of a Reconstruction but its info; `original_size` is (H, W)."""
    module: Any = built.module
    config = module.config
    grid = config.image_size // config.patch_size
    mean = torch.tensor(built.extra.mean).view(1, 3, 1, 1)
    std = torch.tensor(built.extra.std).view(1, 3, 1, 1)
    both = torch.cat([x, predicted]).mul_(std).add_(mean).clamp_(0, 1)  # (2, 3, s, s)
    hidden = mask.view(grid, grid).bool().numpy()  # (rows, columns)
    pixels = hidden.repeat(config.patch_size, 0).repeat(config.patch_size, 1)  # (s, s)
    error = (both[1] - both[0]).square_().mean(0).numpy()  # (s, s)
    original, filled = transforms.to_rgbs(both)  # (s, s, 3) uint8 each
    masked = np.where(pixels[..., None], np.uint8(GREY), original)
    pasted = np.where(pixels[..., None], filled, original)
    size = fitted(original_size, VIEW_SIDE)
    return (
        transforms.to_view(masked, *size, exact=True),
        transforms.to_view(filled, *size),
        transforms.to_view(pasted, *size),
        hidden,
        float(error[pixels].mean()),
    )


def _build(resolved: Resolved) -> Built[Mae]:
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    settings = _config(resolved)
    config: Any = ViTMAEConfig.from_dict(settings["vit_mae"])
    state = state_dicts.read(resolved.path, mapped=resolved.tier != "own")
    model = state_dicts.from_pretrained(ViTMAEForPreTraining, config, state, resolved.path.name)
    mean, std = settings["mean"], settings["std"]
    return Built(model, Mae(transforms.square_transform(config.image_size, mean, std), mean, std))


def _config(resolved: Resolved) -> dict[str, Any]:
    """The header of a starter's file, or the config.json (and processor's) beside a full one."""
    starter = state_dicts.starter_config(resolved.path, "reconstruct")
    if starter is not None:
        return starter
    config = state_dicts.config_beside(resolved.path)
    processor = state_dicts.json_beside(resolved.path, "preprocessor_config.json")
    return {
        "vit_mae": config,
        "mean": processor.get("image_mean", IMAGENET_MEAN),
        "std": processor.get("image_std", IMAGENET_STD),
    }
