"""Deblur: a small NAFNet (spandrel) for Gaussian and short linear motion blur, kernel unknown.

Chen et al., Simple Baselines for Image Restoration, 2022. Trained with L1; motion starts short and
gets longer, because training on the full range at once fails. `--start FILE` starts a new run from
a starter's weights instead of the identity, with the full range from the beginning.

    python -m training.deblur --data DIR --benchmarks DIR --minutes 45
    python -m training.deblur --evaluate --benchmarks DIR
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from spandrel.architectures.NAFNet import NAFNet
from torch import nn
from torch.nn import functional as F

from core.sources import state_dicts
from training import common, restore_eval
from training.common import LoopConfig, Trainer
from training.degradations import (
    HELD_OUT_GAUSSIAN,
    HELD_OUT_MOTION,
    SIDE,
    blur,
    gaussian,
    motion,
)
from training.muon import MuonTrainer
from training.restore_data import Mix, Patches, training_pictures
from training.restore_export import export

KEY = "deblur-starter"
# First and last layer, depthwise kernels, and the scales of the residual branches
NOT_MUON = ("intro", "ending", "conv2", "beta", "gamma")


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    width: int = 16
    encoders: tuple[int, ...] = (1, 1, 2, 4)
    middle: int = 2
    decoders: tuple[int, ...] = (1, 1, 1, 1)
    batch: int = 12  # a step of Muon costs as much as eight patches, whatever the batch size
    patch: int = 64
    motions: float = 0.7  # share of patches with motion; a Gaussian is learned sooner
    sigma: tuple[float, float] = (0.6, 2.4)  # of Gaussian blur, px
    length: tuple[float, float] = (3.0, 10.0)  # of motion, px
    first_length: float = 5.0  # longest motion at the start
    widen: float = 0.6  # share of the run after which the whole range is in use
    noise: float = 2.0  # largest sigma of noise, of 255
    mix: Mix = field(default_factory=Mix)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(minutes=45.0, lr=1.5e-3, plain_lr=0.5, final_lr=0.0)
    )


def build(config: Config) -> nn.Module:
    """A NAFNet that returns its input at the start."""
    model = NAFNet(
        img_channel=3,
        width=config.width,
        middle_blk_num=config.middle,
        enc_blk_nums=list(config.encoders),
        dec_blk_nums=list(config.decoders),
    )
    nn.init.zeros_(model.ending.weight)
    nn.init.zeros_(model.ending.bias)
    return model.to(memory_format=torch.channels_last)


def held_out(length: float, angle: float) -> bool:
    """Whether a motion is close to a held-out one."""
    return any(
        abs(length - kept) < 0.5 and abs((angle - turn + 90) % 180 - 90) < 5
        for kept, turn in HELD_OUT_MOTION
    )


def random_kernel(config: Config, rng: np.random.Generator, progress: float) -> np.ndarray:
    """Motion or Gaussian, without the held-out ones."""
    if rng.random() >= config.motions:
        sigma = rng.uniform(*config.sigma)
        while any(abs(sigma - kept) < 0.04 for kept in HELD_OUT_GAUSSIAN):
            sigma = rng.uniform(*config.sigma)
        return gaussian(sigma)
    grown = min(progress / config.widen, 1.0)
    longest = config.first_length + grown * (config.length[1] - config.first_length)
    while True:
        length, angle = rng.uniform(config.length[0], longest), rng.uniform(0, 180)
        if not held_out(length, angle):
            return motion(length, angle)


def loss_of(
    patches: Patches, config: Config, trainer: Trainer, model: nn.Module, rng: np.random.Generator
) -> torch.Tensor:
    """Mean absolute error on blurred, slightly noisy patches."""
    (wide,) = patches.draw(rng, config.batch, config.patch + SIDE - 1)
    kernels = [random_kernel(config, rng, trainer.progress) for _ in range(config.batch)]
    with torch.autocast("cpu", enabled=False):
        blurred = blur(wide, np.stack(kernels))
        level = torch.rand(config.batch, 1, 1, 1) * config.noise / 255.0
        blurred = blurred + level * torch.randn_like(blurred)
        blurred = blurred.contiguous(memory_format=torch.channels_last)
    rim = SIDE // 2
    sharp = wide[..., rim:-rim, rim:-rim]
    return F.l1_loss(model(blurred).float(), sharp)


def train(
    config: Config, data: Path, benchmarks: Path | None, runs: Path, start: Path | None = None
) -> nn.Module:
    """Train or resume; returns the averaged network."""
    torch.manual_seed(config.loop.seed)
    pictures = training_pictures(data, benchmarks)
    model = build(config)
    if start is not None:
        model.load_state_dict(state_dicts.read(start))
        config = replace(config, first_length=config.length[1])
    trainer = MuonTrainer(model, config.loop, runs / "deblur", NOT_MUON)
    patches = config.mix.patches(pictures, lambda picture: (picture,), config.loop.seed)
    trainer.fit(functools.partial(loss_of, patches, config, trainer))
    return trainer.ema


def main() -> None:
    """Command line of this recipe."""
    parser = common.arguments(__doc__ or "", minutes=45.0)
    parser.add_argument("--start", type=Path, help="starter file to start from")
    options = common.read_options(parser, measured_on="benchmarks")
    if options.evaluate:
        path = common.measured_file(options, KEY)
        restore_eval.report(restore_eval.evaluate_deblur(path, options.benchmarks))
        return
    config = common.with_budget(Config(), options)
    model = train(config, options.data, options.benchmarks, options.runs, options.start)
    common.deliver(export(model, "deblur", common.destination(options, KEY)))


if __name__ == "__main__":
    main()
