"""Super-resolve: small Compact networks (spandrel) for x2 and x4 of bicubically reduced pictures.

The architecture is SRVGGNetCompact (Wang et al., Real-ESRGAN, 2021); trained with L1 on small
patches, which gives more steps in the same time. Pictures are reduced by Pillow's bicubic filter
(antialiased, a = -0.5). Drawn pictures, noise and other colours are mixed into the photographs.
`--start FILE` starts a new run from a starter's weights; `--teacher FILE` also learns from a
starter's answers, averaged over rotations and reflections.

    python -m training.super_resolve --scale 2 --data DIR --benchmarks DIR --minutes 25
    python -m training.super_resolve --scale 2 --data DIR --benchmarks DIR --minutes 9 --lr 6e-4 \
        --start FILE --teacher FILE
    python -m training.super_resolve --evaluate --benchmarks DIR
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from spandrel.architectures.Compact import Compact
from torch import nn
from torch.nn import functional as F

from core.sources import state_dicts
from training import common, restore_eval
from training.common import LoopConfig
from training.degradations import crop_to_multiple, reduce
from training.muon import MuonTrainer
from training.restore_data import Mix, Patches, Pyramid, training_pictures
from training.restore_export import export

KEYS = {2: "super-resolve-x2-starter", 4: "super-resolve-x4-starter"}
NOT_MUON = ("body.0.",)  # the first layer, whose input is the picture


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    scale: int = 2
    features: int = 48
    convs: int = 12
    batch: int = 8
    patch: int = 32  # side of the reduced patch; in smaller ones the border affects most pixels
    mix: Mix = field(default_factory=Mix)
    noisy: float = 0.05  # share of the patches with noise, which is to be kept
    sigma_max: float = 60.0  # of that noise, of 255
    turns: int = 2  # answers of the teacher that are averaged
    taught: float = 0.7  # weight of the teacher beside the truth, where it is trusted
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(minutes=25.0, lr=1.5e-3, final_lr=0.0)
    )


def build(config: Config) -> nn.Module:
    """A Compact whose output starts close to the repeated pixels that it is added to.

    He initialisation preserves the signal's scale through all layers; with PyTorch's default it
    vanishes within a dozen, and the network does not learn.
    """
    model = Compact(num_feat=config.features, num_conv=config.convs, upscale=config.scale)
    convolutions = [layer for layer in model.body if isinstance(layer, nn.Conv2d)]
    for layer in convolutions:
        nn.init.kaiming_normal_(layer.weight, a=0.25)  # PReLU's initial slope
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    with torch.no_grad():
        convolutions[-1].weight.mul_(0.05)
    return model.to(memory_format=torch.channels_last)


def pairs(pictures: list[np.ndarray], config: Config) -> Patches:
    """Patches of each photograph, and of drawn pictures, with their reduced copies."""

    def levels(picture: np.ndarray) -> Pyramid:
        whole = crop_to_multiple(picture, config.scale)
        return whole, reduce(whole, config.scale)

    return config.mix.patches(pictures, levels, config.loop.seed)


def with_noise(
    large: torch.Tensor, small: torch.Tensor, config: Config, rng: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Some patches get white noise, and their targets the same noise enlarged bicubically.

    Nothing can tell such grain from texture, so the network learns to keep it instead of drawing
    lines through it. The result at full size is not clipped, so that it stays linear in the noise.
    """
    chosen = rng.random(len(small)) < config.noisy
    sigma = np.where(chosen, rng.uniform(0, config.sigma_max, len(small)) / 255.0, 0.0)
    if not chosen.any():
        return large, small
    grain = torch.from_numpy(sigma).float()[:, None, None, None] * torch.randn_like(small)
    noisy = (small + grain).clamp(0, 1)
    size = (large.shape[-2], large.shape[-1])
    added = F.interpolate(noisy - small, size, mode="bicubic", antialias=True)
    return large + added, noisy.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def turned_mean(model: nn.Module, small: torch.Tensor, turns: Sequence[int]) -> torch.Tensor:
    """The mean of `model`'s answers to `small` in some of the eight rotations and reflections
    (0..7), each turned back. It is closer to the truth than each of them."""
    answers = []
    for turn in turns:
        x = torch.rot90(small.flip(3) if turn >= 4 else small, turn % 4, (2, 3))
        y = torch.rot90(model(x), -turn % 4, (2, 3))
        answers.append(y.flip(3) if turn >= 4 else y)
    return torch.stack(answers).mean(0)


def loss_of(
    patches: Patches,
    config: Config,
    teacher: nn.Module | None,
    model: nn.Module,
    rng: np.random.Generator,
) -> torch.Tensor:
    """Mean absolute error on the full-size patch.

    The teacher's answers replace a part of the truth in those patches where they are closer to it
    than the model's: they lack the truth's detail that nothing in the small patch tells, which is
    noise to the gradient. Where the teacher fails (colours unknown to it), only the truth counts.
    """
    large, small = patches.draw(rng, config.batch, config.patch)
    with torch.autocast("cpu", enabled=False):
        large, small = with_noise(large, small, config, rng)
    answer = model(small).float()
    wrong = (answer - large).abs().mean((1, 2, 3))
    if teacher is None:
        return wrong.mean()
    better = turned_mean(
        teacher, small, rng.choice(8, config.turns, replace=False).tolist()
    ).float()
    trusted = (better - large).abs().mean((1, 2, 3)) < wrong.detach()
    trusted &= (better - 0.5).abs().amax((1, 2, 3)) < 0.6  # beyond black or white it is failing
    apart = (answer - better).abs().mean((1, 2, 3))
    return torch.lerp(wrong, apart, config.taught * trusted.float()).mean()


def train(
    config: Config,
    data: Path,
    benchmarks: Path | None,
    runs: Path,
    start: Path | None = None,
    teacher: Path | None = None,
) -> nn.Module:
    """Train from `runs`' last state, if any, or from the starter `start`; the averaged network.

    Another starter, or the same, can be the `teacher`.
    """
    torch.manual_seed(config.loop.seed)
    pictures = training_pictures(data, benchmarks)
    folder = runs / f"super-resolve-x{config.scale}"
    model = build(config)
    known = copy.deepcopy(model).eval() if teacher else None
    if start is not None:
        model.load_state_dict(state_dicts.read(start))
    if known and teacher:
        known.load_state_dict(state_dicts.read(teacher))
    trainer = MuonTrainer(model, config.loop, folder, NOT_MUON)
    trainer.fit(functools.partial(loss_of, pairs(pictures, config), config, known))
    return trainer.ema


def main() -> None:
    """Command line of this recipe."""
    parser = common.arguments(__doc__ or "", minutes=25.0)
    parser.add_argument("--scale", type=int, choices=sorted(KEYS), nargs="+", default=sorted(KEYS))
    parser.add_argument("--start", type=Path, help="starter file of that scale to start from")
    parser.add_argument("--teacher", type=Path, help="starter file of that scale to learn from")
    options = common.read_options(parser, measured_on="benchmarks")
    if (options.start or options.teacher or options.weights) and len(options.scale) != 1:
        parser.error(
            "--start, --teacher and --weights belong to a single scale: choose it with --scale."
        )
    if options.evaluate:
        for scale in options.scale:
            path = common.measured_file(options, KEYS[scale])
            restore_eval.report(restore_eval.evaluate_super_resolve(path, options.benchmarks))
        return
    for scale in options.scale:
        config = common.with_budget(Config(scale=scale), options)
        model = train(
            config,
            options.data,
            options.benchmarks,
            options.runs,
            options.start,
            options.teacher,
        )
        path = common.destination(options, KEYS[scale])
        common.deliver(export(model, "super_resolve", path))


if __name__ == "__main__":
    main()
