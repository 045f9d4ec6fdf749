"""Denoise: a small DRUNet (spandrel) with the noise level as a fourth input channel.

Zhang et al., Plug-and-Play Image Restoration with Deep Denoiser Prior, 2021. Trained with L1 on
patches with Gaussian noise of sigma 0 to 50 (of 255), with drawn pictures among the photographs.
`--start FILE` starts a new run from a starter's weights.

    python -m training.denoise --data DIR --benchmarks DIR --minutes 45
    python -m training.denoise --data DIR --benchmarks DIR --minutes 12 --lr 5e-4 --start FILE
    python -m training.denoise --evaluate --benchmarks DIR
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from spandrel.architectures.DRUNet import DRUNet
from torch import nn
from torch.nn import functional as F

from core.sources import state_dicts
from training import common, restore_eval
from training.common import LoopConfig
from training.muon import MuonTrainer
from training.restore_data import Mix, Patches, training_pictures
from training.restore_export import export

KEY = "denoise-starter"
NOT_MUON = ("m_head", "m_tail")  # they start as the identity


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    channels: tuple[int, int, int, int] = (16, 48, 96, 160)
    blocks: int = 2  # residual blocks a level; spandrel needs at least 2
    batch: int = 6
    patch: int = 64
    sigma_max: float = 50.0  # of 255
    mix: Mix = field(default_factory=Mix)
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(minutes=45.0, lr=1.5e-3, plain_lr=0.5, final_lr=0.0)
    )


def build(config: Config) -> nn.Module:
    """A DRUNet that returns its input at the start, so that it only has to learn the noise."""
    model = DRUNet(in_nc=4, out_nc=3, nc=list(config.channels), nb=config.blocks)
    with torch.no_grad():
        model.m_up1[0].weight.zero_()  # nothing from below at first
        model.m_head.weight[:3].zero_()
        model.m_tail.weight.zero_()
        for colour in range(3):  # three channels carry the picture from head to tail
            model.m_head.weight[colour, colour, 1, 1] = 1.0
            model.m_tail.weight[colour, colour, 1, 1] = 1.0
    return model.to(memory_format=torch.channels_last)


def loss_of(
    patches: Patches, config: Config, model: nn.Module, rng: np.random.Generator
) -> torch.Tensor:
    """Mean absolute error on patches with noise of one random level each."""
    (clean,) = patches.draw(rng, config.batch, config.patch)
    sigma = torch.rand(config.batch, 1, 1, 1) * config.sigma_max / 255.0
    noisy = clean + sigma * torch.randn_like(clean)
    level = sigma.expand(-1, 1, *clean.shape[2:])
    return F.l1_loss(model(torch.cat([noisy, level], 1)).float(), clean)


def train(
    config: Config, data: Path, benchmarks: Path | None, runs: Path, start: Path | None = None
) -> nn.Module:
    """Train or resume; returns the averaged network."""
    torch.manual_seed(config.loop.seed)
    pictures = training_pictures(data, benchmarks)
    model = build(config)
    if start is not None:
        model.load_state_dict(state_dicts.read(start))
    trainer = MuonTrainer(model, config.loop, runs / "denoise", NOT_MUON)
    patches = config.mix.patches(pictures, lambda picture: (picture,), config.loop.seed)
    trainer.fit(functools.partial(loss_of, patches, config))
    return trainer.ema


def main() -> None:
    """Command line of this recipe."""
    parser = common.arguments(__doc__ or "", minutes=45.0)
    parser.add_argument("--start", type=Path, help="starter file to start from")
    options = common.read_options(parser, measured_on="benchmarks")
    if options.evaluate:
        path = common.measured_file(options, KEY)
        restore_eval.report(restore_eval.evaluate_denoise(path, options.benchmarks))
        return
    config = common.with_budget(Config(), options)
    model = train(config, options.data, options.benchmarks, options.runs, options.start)
    common.deliver(export(model, "denoise", common.destination(options, KEY)))


if __name__ == "__main__":
    main()
