"""Classify: a hybrid ViT on the maps of EfficientNet-Lite0, distilled from the answers of that CNN.

The network begins as its teacher (`core.nets.hybrid`), so no class has to be learned. From a
view, of which it gets only some patches, it learns to say what the teacher says of the whole
picture: Kullback-Leibler divergence at a temperature, a sharpened target that rewards attention to
where the evidence is, ImageNet's own labels where a picture has one, and a price on spread
attention.

    python -m training.classify --data DIR --minutes 25
    python -m training.classify --data DIR --evaluate
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from core.nets import hybrid, trunk
from core.sources import state_dicts
from training import classify_features as features
from training import common
from training.classify_features import Teacher, Views
from training.common import LoopConfig, Trainer
from training.recognition_data import epoch_order

log = logging.getLogger("training")

KEY = "classify-starter"


@dataclass(frozen=True)
class Config:
    """Everything that shapes a run."""

    views: int = 2400
    glance: float = 0.4  # share of the trunk's own vector in the answer, not in training
    dim: int = 192
    depth: int = 4
    heads: int = 8
    mlp_ratio: float = 2.0
    registers: int = 4
    layer_scale: float = 0.1  # blocks start close to the identity
    batch: int = 32
    dropped: float = 0.35  # largest share of patches that a step leaves out
    windows: float = 0.5  # share of steps that keep a window instead of scattered patches
    temperature: float = 2.0  # of the divergence
    sharp: float = 0.5  # weight of the sharpened target
    sharpness: float = 2.0  # factor on the teacher's logits there
    labelled: float = 0.1  # share of a true label in that target
    sparse: float = 0.05  # price on the entropy of the class attention, 1 = uniform
    loop: LoopConfig = field(
        default_factory=lambda: LoopConfig(
            minutes=25.0, lr=2e-3, weight_decay=0.02, warmup_steps=50, ema=0.99
        )
    )

    def arch(self) -> dict[str, Any]:
        """Arguments for `core.nets.hybrid.build`."""
        return {
            "grid": features.GRID,
            "channels": features.CHANNELS,
            "dim": self.dim,
            "depth": self.depth,
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "registers": self.registers,
            "layer_scale": self.layer_scale,
            "classes": len(features.wordnet_ids()),
            "glance": self.glance,
        }


def kept(config: Config, grid: int, rng: np.random.Generator) -> torch.Tensor:
    """(batch, N) numbers of the patches that each view of a step keeps: scattered ones, or those of
    a window, whose sides are the same for the whole step."""
    patches = np.arange(grid * grid)
    if rng.random() >= config.windows:
        count = round(len(patches) * (1 - rng.uniform(0, config.dropped)))
        chosen = rng.random((config.batch, len(patches))).argsort(1)[:, :count]
        return torch.from_numpy(np.sort(chosen, axis=1))
    shortest = math.ceil(grid * math.sqrt(1 - config.dropped))
    rows, columns = rng.integers(shortest, grid + 1, 2)
    top = rng.integers(0, grid - rows + 1, config.batch)
    left = rng.integers(0, grid - columns + 1, config.batch)
    window = patches.reshape(grid, grid)[:rows, :columns].ravel()
    return torch.from_numpy(window + (top * grid + left)[:, None])


def targets(
    answers: torch.Tensor, labels: torch.Tensor, config: Config
) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, 1000) softened probabilities of the teacher, and sharpened ones with the true labels.

    Args:
        answers: (B, 1000) logits of the teacher.
        labels: (B,) true classes, -1 for none.
    """
    soft = (answers / config.temperature).softmax(1)
    sharp = (answers * config.sharpness).softmax(1)
    share = config.labelled * (labels >= 0).float()[:, None]
    true = F.one_hot(labels.clamp(min=0), answers.shape[1])
    return soft, sharp * (1 - share) + true * share


def loss_of(
    views: Views, config: Config, step: int, model: nn.Module, rng: np.random.Generator
) -> torch.Tensor:
    """The loss on the views of this step."""
    network = cast(hybrid.HybridViT, model)
    chosen = np.sort(epoch_order(len(views.maps), config.batch, step, config.loop.seed))
    maps = features.as_maps(views.maps[chosen])
    answers = torch.from_numpy(views.answers[chosen].astype(np.float32))
    soft, sharp = targets(answers, torch.from_numpy(views.labels[chosen]), config)
    logits, weights = network.read(maps, keep=kept(config, maps.shape[-1], rng))
    divergence = F.kl_div((logits / config.temperature).log_softmax(1), soft, reduction="batchmean")
    entropy = -(weights * weights.clamp(min=1e-9).log()).sum(-1).mean() / math.log(
        weights.shape[-1]
    )
    return (
        divergence * config.temperature**2
        + config.sharp * F.cross_entropy(logits, sharp)
        + config.sparse * entropy
    )


def trainer_of(config: Config, classifier: nn.Linear, folder: Path) -> Trainer:
    """A new trainer that begins as the teacher, or one resumed from `folder`."""
    torch.manual_seed(config.loop.seed)
    model = hybrid.build(config.arch())
    hybrid.begin(model, classifier)
    return Trainer(model, config.loop, folder)


def train(trainer: Trainer, views: Views, config: Config, until_step: int | None = None) -> None:
    """Run the loop; the views of a step follow from its number."""

    def loss(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        return loss_of(views, config, trainer.step, model, rng)

    trainer.fit(loss, until_step)


def export(model: nn.Module, config: Config, path: Path) -> Path:
    """Write the starter without the trunk and its class layer: an installed package has them."""
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("head.")}
    view = {"size": features.VIEW.size, "crop": features.VIEW.crop}
    header = {"trunk": trunk.KEY, "arch": config.arch(), "view": view}
    state_dicts.save_starter(path, state, "classify", header)
    return path


def load(path: Path, classifier: nn.Linear) -> hybrid.HybridViT:
    """The model of a starter file, with the trunk's class layer."""
    _, header = state_dicts.read_header(path)
    with torch.device("meta"):
        model = hybrid.build(header["arch"])
    head = {f"head.{k}": v for k, v in classifier.state_dict().items()}
    filled = state_dicts.assign(model, state_dicts.read(path) | head, path.name)
    return cast(hybrid.HybridViT, filled.eval())


@torch.inference_mode()
def predict(model: hybrid.HybridViT, views: Views) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 1000) logits and (N, heads, grid * grid) class attention."""
    parts = [
        model.read(features.as_maps(views.maps[i : i + 50])) for i in range(0, len(views.maps), 50)
    ]
    logits, weights = zip(*parts, strict=True)
    # The class layer is linear: mixing the vectors is mixing the answers.
    trunk_answers = torch.from_numpy(views.answers.astype(np.float32))
    return torch.cat(logits).lerp(trunk_answers, model.glance), torch.cat(weights)


def evaluate(model: hybrid.HybridViT, data: Path) -> dict[str, float]:
    """Shares in %, with the trunk's own.

    Of the sample photographs; of ImageNet's validation pictures among Imagenette's, ten classes of
    which training knew labels; and of pictures of Caltech-101 that were not learned from, in
    folders with the name of a class.

    Raises:
        SystemExit: data are missing.
    """
    loop = Config().loop
    learned = set(features.chosen_files(data, Config().views, loop.seed))
    named, classes = features.named_files(data, learned)
    sets = {
        "samples": features.measured(data, features.sample_files(data), "sample"),
        "held out": features.measured(data, features.held_out_files(data), "held-out"),
        "Caltech-101": replace(features.measured(data, named, "named"), labels=classes),
    }
    found = dict[str, float]()
    for name, views in sets.items():
        logits, _ = predict(model, views)
        teacher = torch.from_numpy(views.answers.astype(np.float32))
        truth = torch.from_numpy(views.labels)
        for who, answer in (("", logits), (", trunk", teacher)):
            best = answer.topk(5, 1).indices
            found[f"{name}, top-1{who}"] = 100 * float((best[:, 0] == truth).float().mean())
            found[f"{name}, top-5{who}"] = 100 * float(
                (best == truth[:, None]).any(1).float().mean()
            )
        same = logits.argmax(1) == teacher.argmax(1)
        found[f"{name}, agreement"] = 100 * float(same.float().mean())
    return found


def main() -> None:
    """Train and export, or measure the exported starter."""
    parser = common.arguments(__doc__ or "", 25.0)
    parser.add_argument("--export", action="store_true", help="export the run as it stands")
    args = common.read_options(parser)
    path = common.measured_file(args, KEY)
    classifier = Teacher().classifier
    if not args.evaluate:
        config = common.with_budget(Config(), args)
        views = features.cached(args.data, config.views, config.loop.seed)
        trainer = trainer_of(config, classifier, args.runs / "classify")
        if not args.export:
            train(trainer, views, config)
        path = export(trainer.ema, config, common.destination(args, KEY))
        log.info("%d steps, %.0f s", trainer.step, trainer.seconds)
        common.deliver(path)
    common.measured(lambda: evaluate(load(path, classifier), args.data), needed=args.evaluate)


if __name__ == "__main__":
    main()
