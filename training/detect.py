"""Train the small DETR: `python -m training.detect --data DIR --minutes 40`.

`training.detect_data` describes the layout of `DIR`. The model is transformers'
`DetrForObjectDetection` over a timm ResNet-10-T cut at stride 16, all from random weights.
What makes a DETR learn in CPU time here: a short sequence, 12 queries, losses on every decoder
layer, batch norm that learns (frozen only in the exported file), and a head on the encoder's
tokens, dropped at export, that predicts class and box of the object under each token.

`--evaluate` scores the exported file on held-out pictures and scenes with a baseline. `--start
FILE` starts a new run from a starter's weights instead of random ones.
Source: Carion et al., "End-to-End Object Detection with Transformers", 2020.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss
from transformers import DetrConfig, DetrForObjectDetection
from transformers.loss.loss_for_object_detection import ForObjectDetectionLoss

from core.sources import state_dicts
from training import common, detect_data, detect_eval, detect_scenes
from training.common import LoopConfig, Trainer, log
from training.detect_data import CLASSES, MEAN, STD, normalise
from training.muon import MuonTrainer

KEY = "detect-starter"
#: weight of queries without an object; with few queries the usual weight leaves duplicates
EOS, USUAL_EOS = 0.3, 0.1
NOT_MUON = ("position_embeddings", "classifier", "bbox_predictor", "token_")
SIZE = {"shortest_edge": 144, "longest_edge": 224}


@dataclass(frozen=True)
class Config:
    """Pictures per step, and the possible canvases (H, W); one shape per step.

    During the first `warm_up` of the run only the backbone learns, from the head on the tokens.
    """

    batch: int = 8
    canvases: tuple[tuple[int, int], ...] = (
        (144, 144), (144, 192), (144, 208), (192, 144), (112, 160), (128, 176),
        (96, 224), (96, 208),
    )  # fmt: skip
    token_loss: float = 2.0
    warm_up: float = 0.2
    ground: float = 0.4  # weight of tokens outside all objects
    whole: float = 0.3  # share of unmodified photographs among the pictures


def detr_config() -> DetrConfig:
    """The architecture; building it downloads nothing."""
    return DetrConfig(
        backbone_config={
            "model_type": "timm_backbone",
            "backbone": "resnet10t",
            "features_only": True,
            "out_indices": [3],
        },
        d_model=128,
        num_queries=12,
        encoder_layers=2,
        encoder_ffn_dim=512,
        encoder_attention_heads=4,
        decoder_layers=3,
        decoder_ffn_dim=512,
        decoder_attention_heads=4,
        dropout=0.0,
        auxiliary_loss=False,
        eos_coefficient=EOS,
        id2label=dict(enumerate(CLASSES)),
        label2id={name: i for i, name in enumerate(CLASSES)},
    )


def set_batch_norm(module: nn.Module) -> None:
    """Replace the frozen batch norms of transformers with trainable ones, keeping the names."""
    for name, child in module.named_children():
        if type(child).__name__ == "DetrFrozenBatchNorm2d":
            setattr(module, name, nn.BatchNorm2d(len(child.state_dict()["weight"])))
        else:
            set_batch_norm(child)


def start_weights(detr: DetrForObjectDetection) -> None:
    """Initialise like the paper's code: training from transformers' normal(0, 0.02) is far slower.

    Above all, the queries must differ from the first step.
    """
    for module in detr.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.normal_(detr.model.query_position_embeddings.weight)
    nn.init.xavier_uniform_(detr.model.input_projection.weight)


class Learner(nn.Module):
    """The DETR with the parts for training only: batch norm and the head on the tokens."""

    def __init__(self) -> None:
        super().__init__()
        config = detr_config()
        self.detr = DetrForObjectDetection(config)
        self.detr.config.auxiliary_loss = True
        set_batch_norm(self.detr.model.backbone)
        start_weights(self.detr)
        self.token_class = nn.Linear(config.d_model, len(CLASSES) + 1)
        self.token_box = nn.Sequential(
            nn.Linear(config.d_model, config.d_model), nn.ReLU(), nn.Linear(config.d_model, 4)
        )

    def exported(self) -> dict[str, torch.Tensor]:
        """The state of a plain `DetrForObjectDetection`, whose batch norms are frozen.

        The odds of "no object" are converted to those of the usual weight, so that a threshold
        means the same as for other DETRs.
        """
        state = {name: value.clone() for name, value in self.detr.state_dict().items()}
        state["class_labels_classifier.bias"][-1] -= math.log(EOS / USUAL_EOS)
        return {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}

    def begin_with(self, path: Path) -> None:
        """Take the weights of a starter file; the heads on the tokens stay random."""
        state = state_dicts.read(path)
        state["class_labels_classifier.bias"][-1] += math.log(EOS / USUAL_EOS)
        missing, surplus = self.detr.load_state_dict(state, strict=False)
        state_dicts.refuse_mismatch(
            path.name, [k for k in missing if not k.endswith("num_batches_tracked")], surplus
        )


@dataclass
class Batch:
    """`pixels` (B, 3, H, W) normalised; `targets` in the format of DETR's loss, cxcywh in 0..1."""

    pixels: torch.Tensor
    targets: list[dict[str, torch.Tensor]]


def make_batch(stock: detect_data.Stock, config: Config, rng: np.random.Generator) -> Batch:
    """Scenes and whole photographs on canvases of one shape."""
    h, w = config.canvases[rng.integers(len(config.canvases))]
    scenes = []
    for _ in range(config.batch):
        whole = rng.random() < config.whole and detect_scenes.whole_photograph(stock, h, w, rng)
        scenes.append(whole or detect_scenes.make_scene(stock, h, w, rng))
    targets = []
    for scene in scenes:
        boxes = np.array(scene.boxes, float).reshape(-1, 4) / [w, h, w, h]
        centred = np.concatenate(
            [(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1
        )
        targets.append(
            {
                "class_labels": torch.tensor(scene.labels, dtype=torch.long),
                "boxes": torch.tensor(centred, dtype=torch.float32),
            }
        )
    return Batch(normalise(np.stack([scene.image for scene in scenes])), targets)


def to_corners(boxes: torch.Tensor) -> torch.Tensor:
    """cxcywh -> xyxy."""
    return torch.cat([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def token_targets(
    target: dict[str, torch.Tensor], grid: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """For each token, the class and box of the smallest object under it.

    Returns (h*w,) classes, len(CLASSES) for the background, and (h*w, 4) boxes.
    """
    h, w = grid
    y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    x, y = x.flatten(), y.flatten()
    labels = torch.full((h * w,), len(CLASSES))
    boxes = torch.zeros(h * w, 4)
    areas = target["boxes"][:, 2:].prod(1)
    for i in areas.argsort(descending=True):
        left, top, right, bottom = to_corners(target["boxes"][i])
        inside = (x > left) & (x < right) & (y > top) & (y < bottom)
        labels[inside] = target["class_labels"][i]
        boxes[inside] = target["boxes"][i]
    return labels, boxes


def token_loss(learner: Learner, tokens: torch.Tensor, batch: Batch, ground: float) -> torch.Tensor:
    """Class and box losses of the head on tokens (B, h*w, d) of a map at stride 16."""
    grid = (-(-batch.pixels.shape[2] // 16), -(-batch.pixels.shape[3] // 16))
    pairs = [token_targets(target, grid) for target in batch.targets]
    labels = torch.stack([p[0] for p in pairs])
    boxes = torch.stack([p[1] for p in pairs])
    classes = learner.token_class(tokens).float()
    found = learner.token_box(tokens).float().sigmoid()
    weights = torch.ones(len(CLASSES) + 1)
    weights[-1] = ground
    loss = F.cross_entropy(classes.flatten(0, 1), labels.flatten(), weights)
    on = labels < len(CLASSES)
    if not on.any():
        return loss
    near = (found[on] - boxes[on]).abs().sum(1).mean()
    overlap = generalized_box_iou_loss(to_corners(found[on]), to_corners(boxes[on]), "mean")
    return loss + 2 * near + overlap


def warm_up_loss(learner: Learner, batch: Batch, config: Config) -> torch.Tensor:
    """The loss on the backbone's own tokens, before the transformer."""
    model = learner.detr.model
    pixels = batch.pixels.contiguous(memory_format=torch.channels_last)
    mask = torch.ones(len(pixels), *pixels.shape[2:], dtype=torch.bool)
    features, _ = model.backbone(pixels, mask)[-1]
    tokens = model.input_projection(features).flatten(2).transpose(1, 2)
    return token_loss(learner, tokens, batch, config.ground)


def step_loss(learner: Learner, batch: Batch, config: Config) -> torch.Tensor:
    """DETR's loss on every decoder layer, in fp32, plus the loss on the tokens."""
    detr = learner.detr
    outputs = detr.model(batch.pixels.contiguous(memory_format=torch.channels_last))
    layers = outputs.intermediate_hidden_states  # (L, B, Q, d)
    logits = detr.class_labels_classifier(layers).float()
    boxes = detr.bbox_predictor(layers).float().sigmoid()
    with torch.autocast("cpu", enabled=False):
        matched, _, _ = ForObjectDetectionLoss(
            logits[-1], batch.targets, logits.device, boxes[-1], detr.config, logits, boxes
        )
    tokens = token_loss(learner, outputs.encoder_last_hidden_state, batch, config.ground)
    return matched + config.token_loss * tokens


def train(data: Path, loop: LoopConfig, folder: Path, start: Path | None = None) -> Trainer:
    """Train from `folder`'s last state, if any, or from `start`, until the budget is spent."""
    config = Config() if start is None else Config(warm_up=0.0)
    torch.manual_seed(loop.seed)
    stock, _ = detect_data.load(data)
    learner = Learner()
    if start is not None:
        learner.begin_with(start)
    trainer = MuonTrainer(learner, loop, folder, NOT_MUON)

    def loss_of(model: nn.Module, rng: np.random.Generator) -> torch.Tensor:
        assert isinstance(model, Learner)
        batch = make_batch(stock, config, rng)
        if trainer.progress < config.warm_up:
            return warm_up_loss(model, batch, config)
        return step_loss(model, batch, config)

    trainer.fit(loss_of)
    return trainer


def export(trainer: Trainer, path: Path) -> None:
    """Write the averaged weights as a starter file."""
    config: dict[str, Any] = {
        "detr": detr_config().to_dict(),
        "size": SIZE,
        "mean": MEAN,
        "std": STD,
    }
    assert isinstance(trainer.ema, Learner)
    state_dicts.save_starter(path, trainer.ema.exported(), "detect", config)


def main() -> None:
    """Command line."""
    parser = common.arguments(__doc__ or "", minutes=40)
    parser.add_argument("--start", type=Path, help="starter file to start from")
    options = common.read_options(parser)
    if options.evaluate:
        detect_eval.report(common.measured_file(options, KEY), options.data)
        return
    loop = common.budgeted(LoopConfig(lr=1e-3, plain_lr=0.5, weight_decay=1e-4), options)
    log.info("detect: %s", asdict(loop))
    path = common.destination(options, KEY)
    export(train(options.data, loop, options.runs / "detect", options.start), path)
    common.deliver(path)


if __name__ == "__main__":
    main()
