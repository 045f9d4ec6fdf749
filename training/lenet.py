"""LeNet-5 on the digits of MNIST, moved and redrawn so that it also reads strangers' digits.

Cross-entropy with the digit; on pictures of none of the digits with the uniform answer (outlier
exposure: Hendrycks et al., "Deep Anomaly Detection with Outlier Exposure", 2019).

    python -m training.lenet --data DIR --minutes 5
    python -m training.lenet --data DIR --evaluate
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.nets.lenet import DIGITS, SIDE, LeNet, normalised
from core.sources import state_dicts
from training import common, digits
from training.common import LoopConfig, Trainer
from training.recognition_data import epoch_order

log = logging.getLogger("training")

KEY = "lenet-starter"


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    batch: int = 128
    doubtful: int = 32  # pictures of none of the digits beside each batch
    doubt: float = 0.5  # weight of their loss
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            lr=3e-3, weight_decay=1e-3, ema=0.998, bf16=False, save_seconds=15.0
        )
    )


def loss_of(
    pictures: torch.Tensor, labels: torch.Tensor, config: Config, step: int, model: nn.Module
) -> torch.Tensor:
    """The loss on the digits of this step, and on pictures of none."""
    count = min(config.batch, len(pictures))
    chosen = torch.from_numpy(epoch_order(len(pictures), count, step, config.loop.seed))
    some = pictures[chosen]
    none = digits.doubtful(some[: config.doubtful])
    logits = model(torch.cat([digits.batch(some), none]))
    known = F.cross_entropy(logits[:count], labels[chosen])
    uniform = -logits[count:].log_softmax(1).mean()
    return known + config.doubt * uniform


def trainer_of(config: Config, folder: Path) -> Trainer:
    """A new trainer, or one resumed from `folder`."""
    torch.manual_seed(config.loop.seed)
    return Trainer(LeNet(), config.loop, folder)


def train(
    trainer: Trainer,
    pictures: torch.Tensor,
    labels: torch.Tensor,
    config: Config,
    until_step: int | None = None,
) -> None:
    """Run the loop on (N, 1, 28, 28) uint8; the digits of a step follow from its number."""

    def loss(model: nn.Module, _: np.random.Generator) -> torch.Tensor:
        return loss_of(pictures, labels, config, trainer.step, model)  # torch's generator draws

    trainer.fit(loss, until_step)


def export(model: nn.Module, path: Path) -> Path:
    """Write the starter: its header names the network and the classes."""
    header = {"network": "lenet", "labels": DIGITS}
    state_dicts.save_starter(path, dict(model.state_dict()), "classify", header)
    return path


def load(path: Path) -> LeNet:
    """The network of a starter file."""
    model = LeNet()
    state_dicts.assign(model, state_dicts.read(path), path.name)
    return model


@torch.inference_mode()
def evaluate(model: nn.Module, data: Path) -> dict[str, float]:
    """Errors in % on MNIST's 10,000 test digits.

    With two black pixels around, as in the paper; enlarged to 32 pixels instead, as the app does
    with a file of 28; dark on light, turned, scaled and in poor light, as in training.

    Raises:
        SystemExit: data are missing.
    """
    pictures, labels = digits.read(data, "test")
    small = digits.padded(pictures)
    large = F.interpolate(pictures.float() / 255, (SIDE, SIDE), mode="bilinear")
    torch.manual_seed(0)
    views = {
        "errors": normalised(small),
        "errors, enlarged": normalised(large),
        "errors, dark on light": normalised(1 - small),
        "errors, moved and redrawn": normalised(digits.drawn(digits.moved(small))),
    }
    return {
        name: 100 * float((model(x).argmax(1) != labels).float().mean())
        for name, x in views.items()
    }


def main() -> None:
    """Train and export, or measure the exported starter."""
    args = common.read_options(common.arguments(__doc__ or "", 5.0))
    path = common.measured_file(args, KEY)
    if not args.evaluate:
        config = common.with_budget(Config(), args)
        pictures, labels = digits.read(args.data, "train")
        trainer = trainer_of(config, args.runs / "lenet")
        train(trainer, pictures, labels, config)
        path = export(trainer.ema, common.destination(args, KEY))
        log.info("%d steps, %.0f s", trainer.step, trainer.seconds)
        common.deliver(path)
    common.measured(lambda: evaluate(load(path), args.data), needed=args.evaluate)


if __name__ == "__main__":
    main()
