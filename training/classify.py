"""Classify: a timm VisionTransformer behind a convolutional stem, on CIFAR-10's ten classes.

Cross-entropy with label smoothing, Muon with a cosine schedule; exports the average of the weights
(EMA). `training.recognition_data` describes the data folder.

    python -m training.classify --data DIR --minutes 40
    python -m training.classify --data DIR --evaluate
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from core.nets import vit
from core.sources import state_dicts
from training import common
from training.common import LoopConfig
from training.muon import MuonTrainer
from training.recognition_common import to_batch
from training.recognition_data import Pictures, cifar10, crop_to, digests, epoch_order
from training.recognition_photos import photographs_of

log = logging.getLogger("training")

KEY = "classify-starter"
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)  # of CIFAR-10
SIDE = 32
NOT_MUON = ("pos_embed", "head")


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    stem_widths: tuple[int, ...] = (24, 64, 64, 256, 256, 256)
    stem_pooled: tuple[bool, ...] = (False, True, False, True, False, False)  # 8 px: 64 tokens
    stem_skipped: tuple[bool, ...] = (False, False, False, False, False, True)
    dim: int = 192
    depth: int = 2
    heads: int = 3
    mlp_ratio: float = 2.0
    layer_scale: float = 0.1  # blocks start close to the identity
    batch: int = 128  # small: in a few CPU minutes the number of steps matters
    shift: int = 2  # largest shift of a picture, px
    cropped: float = 0.1  # share of pictures replaced by an enlarged crop
    softened: float = 0.1  # share of pictures shrunk and enlarged again, since photographs are soft
    colour: float = 0.1  # largest change of brightness and contrast
    smoothing: float = 0.1  # of the labels
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            minutes=40.0, lr=0.012, weight_decay=0.01, warmup_steps=50, final_lr=0.0, ema=0.998
        )
    )

    def arch(self, classes: int) -> dict[str, Any]:
        """Arguments for `core.nets.vit.build`."""
        return {
            "image_size": SIDE,
            "stem_widths": list(self.stem_widths),
            "stem_pooled": list(self.stem_pooled),
            "stem_skipped": list(self.stem_skipped),
            "dim": self.dim,
            "depth": self.depth,
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "layer_scale": self.layer_scale,
            "classes": classes,
        }


def shifted(pictures: Pictures, by: int, rng: np.random.Generator) -> Pictures:
    """Shift each picture by up to `by` px, with mirrored borders, and flip it at random."""
    count, side = len(pictures), pictures.shape[1]
    padded = np.pad(pictures, ((0, 0), (by, by), (by, by), (0, 0)), mode="reflect")
    rows = rng.integers(0, 2 * by + 1, (count, 1)) + np.arange(side)
    columns = rng.integers(0, 2 * by + 1, (count, 1)) + np.arange(side)
    flip = rng.random(count) < 0.5
    columns[flip] = columns[flip, ::-1]
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def augment(pictures: Pictures, config: Config, rng: np.random.Generator) -> torch.Tensor:
    """(B, 32, 32, 3) uint8 -> (B, 3, 32, 32) normalised, randomly augmented."""
    x = to_batch(shifted(pictures, config.shift, rng), MEAN, STD)
    cropped = round(config.cropped * len(x))
    if cropped:
        x[:cropped] = crop_to(x[:cropped], SIDE, (0.4, 1.0), 1.3, rng)
    soft = slice(cropped, cropped + round(config.softened * len(x)))
    small = F.interpolate(x[soft], size=int(rng.integers(16, 29)), mode="area")
    x[soft] = F.interpolate(small, size=SIDE, mode="bicubic")
    gain, offset = rng.uniform(-config.colour, config.colour, (2, len(x), 1, 1, 1))
    x = x * torch.from_numpy(1 + gain).float() + torch.from_numpy(2 * offset).float()
    return x.contiguous(memory_format=torch.channels_last)


def loss_of(
    pictures: Pictures,
    labels: NDArray[np.int64],
    config: Config,
    step: int,
    model: nn.Module,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Cross-entropy on the pictures of this step."""
    chosen = epoch_order(len(pictures), config.batch, step, config.loop.seed)
    logits = model(augment(pictures[chosen], config, rng))  # (B, classes)
    target = torch.from_numpy(labels[chosen])
    return F.cross_entropy(logits.float(), target, label_smoothing=config.smoothing)


def whitening(pictures: Pictures, filters: int, side: int = 3) -> torch.Tensor:
    """(filters, 3, side, side): the strongest patterns of picture patches, each at equal strength.

    The eigenvectors of the covariance of patches, divided by their standard deviations, and the
    same with the other sign. A first layer fixed to them outputs decorrelated edges and
    colours, and the rest learns several times faster (Jordan, "94 % on CIFAR-10 in 3.29
    seconds on a single GPU", 2024).
    """
    x = to_batch(pictures, MEAN, STD).contiguous()
    patches = x.unfold(2, side, side).unfold(3, side, side)  # (N, 3, rows, columns, side, side)
    flat = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * side * side)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))  # smallest first
    scaled = vectors / (values + 5e-4).sqrt()
    strongest = scaled.flip(1)[:, : filters // 2].T.reshape(-1, 3, side, side)
    return torch.cat([strongest, -strongest])


def trainer_of(config: Config, classes: int, folder: Path, pictures: Pictures) -> MuonTrainer:
    """A new trainer, or one resumed from `folder`.

    The first layer is fitted to some of the `pictures` and then fixed.
    """
    torch.manual_seed(config.loop.seed)
    model = vit.build(config.arch(classes)).to(memory_format=torch.channels_last)
    first = cast(Any, model).patch_embed.backbone[0]
    first.weight.requires_grad_(False)
    first.weight.copy_(whitening(pictures[:: len(pictures) // 2000 + 1], first.out_channels))
    for block in cast(Any, model.blocks):
        block.attn.fused_attn = False  # with 64 tokens the plain one is an eighth faster on a CPU
    return MuonTrainer(model, config.loop, folder, NOT_MUON)


def train(
    trainer: MuonTrainer,
    pictures: Pictures,
    labels: NDArray[np.int64],
    config: Config,
    until_step: int | None = None,
) -> None:
    """Run the loop; the pictures of a step follow from its number."""

    def loss(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        return loss_of(pictures, labels, config, trainer.step, model, rng)

    trainer.fit(loss, until_step)


def export(model: nn.Module, config: Config, labels: list[str], path: Path) -> Path:
    """Write the starter: the weights, and everything needed to rebuild and feed the model."""
    header = {
        "arch": config.arch(len(labels)),
        "labels": labels,
        "input_size": SIDE,
        "mean": list(MEAN),
        "std": list(STD),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
    }
    state_dicts.save_starter(path, model.state_dict(), "classify", header)
    return path


def load(path: Path) -> nn.Module:
    """The model of a starter file, using only that file."""
    _, header = state_dicts.read_header(path)
    with torch.device("meta"):
        model = vit.build(header["arch"])
    return state_dicts.assign(model, state_dicts.read(path), path.name)


@torch.inference_mode()
def predict(model: nn.Module, pictures: Pictures) -> NDArray[np.float32]:
    """(N, 32, 32, 3) uint8 -> (N, classes) logits."""
    parts = [
        model(to_batch(pictures[i : i + 500], MEAN, STD)).float().numpy()
        for i in range(0, len(pictures), 500)
    ]
    return np.concatenate(parts)


def accuracy(model: nn.Module, pictures: Pictures, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(N,) whether the most probable class is correct."""
    return predict(model, pictures).argmax(axis=1) == labels


def refuse_overlap(training: Pictures, *held_out: Pictures) -> None:
    """Raise SystemExit if a held-out picture has the same pixels as a training picture."""
    known = digests(training)
    same = sum(len(digests(pictures) & known) for pictures in held_out)
    if same:
        raise SystemExit(f"{same} test pictures are among the training pictures.")


def evaluate(model: nn.Module, data: Path) -> dict[str, float]:
    """Top-1 accuracy on CIFAR-10's 10,000 test pictures and on 100 photographs of other sources.

    Also by class, top-2 accuracy on the test pictures, and the mean probability of the first
    class there.

    Raises:
        SystemExit: a test picture is among the training pictures, or data are missing.
    """
    pictures, labels, names = cifar10(data, "test")
    photos, classes, _ = photographs_of(data, names, SIDE)
    refuse_overlap(cifar10(data, "train")[0], pictures, photos)
    logits = predict(model, pictures)
    first_two = logits.argsort(axis=1)[:, -2:] == labels[:, None]
    probable = torch.from_numpy(logits).softmax(1).amax(1)
    right, named = logits.argmax(axis=1) == labels, accuracy(model, photos, classes)
    of_photos = {names[k]: float(named[classes == k].mean()) for k in np.unique(classes)}
    return {
        "CIFAR-10 test": float(right.mean()),
        "right class among the first two": float(first_two.any(axis=1).mean()),
        "mean probability of the first": float(probable.mean()),
        "photographs": float(named.mean()),
        "photographs, mean of classes": float(np.mean(list(of_photos.values()))),
        **{f"test, {name}": float(right[labels == k].mean()) for k, name in enumerate(names)},
        **{f"photographs, {name}": value for name, value in of_photos.items()},
    }


def main() -> None:
    """Train and export, or measure the exported starter."""
    parser = common.arguments(__doc__ or "", 40.0)
    parser.add_argument("--export", action="store_true", help="export the run as it stands")
    args = common.read_options(parser)
    path = common.measured_file(args, KEY)
    if not args.evaluate:
        config = common.with_budget(Config(), args)
        pictures, labels, names = cifar10(args.data, "train")
        trainer = trainer_of(config, len(names), args.runs / "classify", pictures)
        if not args.export:
            train(trainer, np.asarray(pictures), labels, config)
        path = export(trainer.ema, config, names, common.destination(args, KEY))
        log.info("%d steps, %.0f s", trainer.step, trainer.seconds)
        common.deliver(path)
    common.measured(lambda: evaluate(load(path), args.data), needed=args.evaluate)


if __name__ == "__main__":
    main()
